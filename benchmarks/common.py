"""What the benchmarks share: how they are called and how they answer.

Each is a module run by `python -m benchmarks.NAME --json`. Progress goes to stderr; the last line of stdout
is one JSON object with the figures, the `goal` in words and `reached`, true or false.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Footage, truth and models for development, beside the repository; not everybody has them."""


class Missing(Exception):
    """Something that the benchmark needs is not on this machine; says what and where it comes from."""


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def shared(name: str) -> Path:
    """A file of `../shared`.

    Raises:
        Missing: it is not there.
    """
    path = SHARED / name
    if not path.exists():
        raise Missing(
            f"{name} is not in {SHARED}; see the project's notes on footage for where it comes from"
        )
    return path


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """`--json`: print the answer on one line (without it, indented for people)."""
    parser.add_argument("--json", action="store_true", help="answer on one line of JSON")


def run(measure: Callable[[], Mapping[str, Any]], goal: str, as_json: bool) -> int:
    """Measure and print the answer; answers the process's exit status.

    `measure` answers the figures with `reached` among them. What is missing on this machine makes an answer
    with `skipped`, `reached` false and exit status 0; a goal that was not reached is no failure of the run.
    """
    try:
        answer = {**measure(), "goal": goal}
    except Missing as missing:
        answer = {"skipped": str(missing), "goal": goal, "reached": False}
    print(json.dumps(answer, ensure_ascii=False, indent=None if as_json else 2), flush=True)
    return 0
