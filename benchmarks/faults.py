"""The whole fault suite: real broker, boxes and centre, killed, stopped, hung, emptied, cut off, out of disk.

    python -m benchmarks.faults --json [--only boxes_killed] [--short] [--seed 1]

Each disaster prints what it injected and what it compared: the store, event by event, with the journals. The
store is SQLite's, and PostGIS where this machine has one (`--postgis`).
"""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.common import add_json_flag, run, say
from storage.migrating import migrate
from storage.pglink import Address
from testbed import faultruns
from testbed.postgis import PostGIS
from testbed.process import ServerMissing

GOAL = "the store equals the journals after every disaster: nothing lost, doubled, reordered or changed"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--only", action="append", choices=faultruns.NAMES, help="this one; may be repeated")
    parser.add_argument("--short", action="store_true", help="as short as in the tests")
    parser.add_argument("--postgis", action="store_true", help="into PostGIS")
    parser.add_argument("--seed", type=int, default=20261128)
    args = parser.parse_args()
    size = faultruns.SHORT if args.short else faultruns.FULL
    names = tuple(args.only or faultruns.NAMES)
    return run(partial(measure, names, size, args.seed, args.postgis), GOAL, args.json)


def measure(names: tuple[str, ...], size: faultruns.Size, seed: int, postgis: bool) -> dict[str, Any]:
    """Each disaster in turn."""
    outcomes: dict[str, Any] = {}
    server = PostGIS() if postgis else None
    try:
        if server is not None:
            server.start()
        for name in names:
            with TemporaryDirectory(prefix="linli-bench-") as folder:
                where: Path | str = Path(folder) / "store.db"
                if server is not None:
                    where = server.new_database()
                    migrate(Address(where))
                try:
                    outcome = faultruns.run(name, Path(folder), where, size, seed)
                except ServerMissing as error:
                    outcomes[name] = {"skipped": str(error)}
                    say(f"{name}: skipped: {error}")
                    continue
                say(str(outcome))
                outcomes[name] = msgspec.to_builtins(outcome)
    finally:
        if server is not None:
            server.remove()
    done = [found for found in outcomes.values() if "skipped" not in found]
    return {
        "store": "postgis" if postgis else "sqlite",
        "events": sum(found["events"] for found in done),
        "disasters": outcomes,
        "reached": bool(done) and all(found["whole"] for found in done),
    }


if __name__ == "__main__":
    raise SystemExit(main())
