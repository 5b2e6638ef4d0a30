"""`events` and `storage` are common names: what is imported is ours, and what is installed is all of it."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ENGINES = ("kafka", "minio", "psycopg", "alembic", "sqlalchemy", "opentelemetry", "confluent_kafka")
"""Clients that a box without brokers, bucket and database need not have."""

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_that_is_imported_is_ours(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / room


def test_a_box_without_engines_needs_none_of_their_clients() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ENGINES}))\n"
    code += "from cli.main import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "replay" in done.stdout


def test_every_room_is_installed_typed_and_on_a_floor() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {
        "tests",
        "benchmarks",
        "testbed",
        "docs",
    }
    assert set(ROOMS) == rooms
    assert set(PROJECT["tool"]["mypy"]["packages"]) == rooms
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == rooms
    (layers,) = (contract["layers"] for contract in PROJECT["tool"]["importlinter"]["contracts"])
    assert {name.strip() for layer in layers for name in layer.split("|")} == rooms
