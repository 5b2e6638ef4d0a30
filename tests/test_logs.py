"""Log lines: JSON for a collector, text for a person, and no secret in either."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import logs

LOGGER = logging.getLogger("pipeline.something")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The root's handlers and the hooks come back after a test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_have_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(False)
    logs.of_site("json", "worker-0", "demo")
    LOGGER.warning("camera %s is away", "gate", extra={"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    (line,) = lines(capsys.readouterr().err)
    at = line.pop("time")
    assert at.endswith("Z")
    assert at[10] == "T"
    assert line == {
        "level": "WARNING",
        "logger": "pipeline.something",
        "message": "camera gate is away",
        "process": "worker-0",
        "site": "demo",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


def test_an_exception_is_one_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(False)
    logs.of_site("json", "services", "demo")
    try:
        raise ValueError("rtsp://admin:hunter2@10.0.0.1/stream is\nwrong")
    except ValueError:
        LOGGER.exception("it failed")
    (line,) = lines(capsys.readouterr().err)
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    assert "hunter2" not in json.dumps(line)


SECRETS = [
    ("rtsp://admin:hunter2@10.0.0.1/stream", "hunter2"),
    ("postgresql://linli:s3cr3t-word@db/linli cannot be reached", "s3cr3t-word"),
    ("sasl_plain_password='hunter2', retries=3", "hunter2"),
    ('{"user": "a", "password": "hunter2"}', "hunter2"),
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("identity AGE-SECRET-KEY-1QQPQQ", "1QQPQQ"),
    ("?access_token=abc123&x=1", "abc123"),
]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_no_secret_passes(
    capsys: pytest.CaptureFixture[str], form: logs.Form, text: str, secret: str
) -> None:
    logs.begin(False)
    logs.of_site(form, "console", "demo")
    LOGGER.error("%s", text)
    LOGGER.error("told", extra={"detail": {"said": text}, "password": secret})
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    assert secret not in said


def test_what_is_no_secret_stays(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(False)
    text = "the token's offset is 17; keys: 3; passed 4 of 5; user@example.org; mode 600"
    LOGGER.error("%s", text)
    assert text in capsys.readouterr().err


def test_a_thread_that_falls_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(False)
    logs.of_site("json", "services", "demo")

    def fall() -> None:
        raise RuntimeError("fell")

    thread = threading.Thread(target=fall, name="relay")
    thread.start()
    thread.join()
    (line,) = lines(capsys.readouterr().err)
    assert line["level"] == "CRITICAL"
    assert "relay" in line["message"]
    assert "RuntimeError: fell" in line["exception"]


def test_begun_twice_says_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(False)
    logs.begin(True)
    LOGGER.info("hello")
    assert capsys.readouterr().err.count("hello") == 1


def test_the_command_itself_speaks_json(tmp_path: Path) -> None:
    """A real process: what the site file asks for is what comes out, its refusal included."""
    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nid = "demo"\ndata = "data"\n[telemetry]\nlogs = "json"\n'
        '[[camera]]\nid = "gate"\nurl = "rtsp://127.0.0.1:9/x"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "worker", str(site), "--shard", "0/1"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "", "HOME": str(tmp_path), "LINLI_MODELS": str(tmp_path / "none")},
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2, done.stderr
    last = json.loads(told[-1])
    assert (last["level"], last["process"], last["site"]) == ("CRITICAL", "worker-0", "demo")


def test_without_a_site_it_is_text(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "run", str(tmp_path / "none.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("linli: cannot read the site file")
