"""`kill -9` at random moments of a run: is any committed event lost or doubled, how much footage, does it
resume?

A real site (two cameras over RTSP, one supervised worker, the services) runs; the worker, and every fifth
time the services, are killed again and again, at random moments of start, resume and work, and the
supervisor starts them each time. Before each kill the journal is read: what it holds then is committed. In
the end every such event must be in journal and store once, in order, without a hole; each killed epoch's
recovered footage must reach to within a second of its kill (a fragment of the analysed stream is a quarter
of a second, packets gather for up to another quarter before they are read, and the camera's own delay is in
it too); no `.part` is left and nothing was done by hand. Each camera's footage is then replayed as seen and
must give the journal's bytes.

    python -m benchmarks.kill --json [--kills 200]
"""

import argparse
import json
import random
import sqlite3
import threading
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.common import Missing, add_json_flag, run, say
from benchmarks.replay import linli
from benchmarks.rigs import busy_clips
from cli import running, settings, wiring
from events.clock import SystemClock
from pipeline.supervisor import Restart, Supervisor
from testbed.rtsp import GstServer, Mount, ServerMissing

GOAL = "no committed event lost or doubled, at most one fragment of footage lost, no hand needed"
LOST_S = 1.0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--kills", type=int, default=200)
    args = parser.parse_args()
    return run(partial(measure, args.kills), GOAL, args.json)


def measure(kills: int) -> dict[str, Any]:
    """Kill so many times, then look."""
    sub, _ = busy_clips()
    try:
        server = GstServer({"gate": Mount(sub), "yard": Mount(sub, seed=1)}).__enter__()
    except ServerMissing as error:
        raise Missing(str(error)) from None
    try:
        with TemporaryDirectory(prefix="linli-bench-") as folder:
            return _measure(kills, Path(folder), server)
    finally:
        server.close()


def _measure(kills: int, folder: Path, server: GstServer) -> dict[str, Any]:
    site = folder / "site.toml"
    text = '[site]\nid = "bench"\ndata = "data"\n[recording]\nsegment_s = 4\n[analysis]\ninterval_s = 2\n'
    text += "[console]\nenabled = false\n"
    for name in ("gate", "yard"):
        text += f'[[camera]]\nid = "{name}"\nurl = "{server.url(name)}"\n'
        text += '[[camera.rules]]\nkind = "line"\nname = "across"\npoints = [[0.5, 0.0], [0.5, 1.0]]\n'
        text += '[[camera.rules]]\nkind = "intrusion"\nname = "inside"\n'
    site.write_text(text)
    committed: dict[str, int] = {}
    killed_us: list[int] = []
    chance, clock = random.Random(7), SystemClock()
    loaded = settings.load(site)
    wiring.Paths(loaded.data).make()
    stop = threading.Event()
    # The product's supervisor and processes; only the pause before a restart is made short, to get done.
    supervisor = Supervisor(running.children(loaded), clock, Restart(first_s=0.1, most_s=0.1))
    watching = threading.Thread(target=supervisor.run, args=(stop,))
    watching.start()
    done = 0
    while done < kills:
        clock.sleep(chance.uniform(0.2, 7.0))
        victim = _child("services" if done % 5 == 4 else "worker")
        if victim is None:
            continue
        _note(folder / "data", committed)
        killed_us.append(clock.wall_us())
        victim.kill()
        done += 1
        if done % 10 == 0:
            say(f"{done} kills, {len(committed)} events committed so far")
    clock.sleep(12.0)
    stop.set()
    watching.join(120)
    return _verdict(site, folder / "data", committed, killed_us)


def _child(name: str) -> psutil.Process | None:
    children = psutil.Process().children()
    return next((child for child in children if name in child.cmdline()), None)


def _note(data: Path, committed: dict[str, int]) -> None:
    """What is committed now."""
    journal = data / "journal.db"
    if journal.exists():
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=30) as db:
            committed.update(db.execute("SELECT id, offset FROM events").fetchall())


def _footage_lost_s(db: sqlite3.Connection, killed_us: list[int]) -> list[float]:
    """For each killed epoch, from its recovered footage's end to the kill that ended it."""
    ends = db.execute(
        "SELECT max(s.end_us) FROM segments s JOIN epochs e USING (camera, stream, epoch)"
        " WHERE e.reason = 'killed' GROUP BY s.camera, s.stream, s.epoch"
    ).fetchall()
    return [
        min(kill - end for kill in killed_us if kill >= end) / 1e6 for (end,) in ends if end <= killed_us[-1]
    ]


def _verdict(site: Path, data: Path, committed: dict[str, int], killed_us: list[int]) -> dict[str, Any]:
    with sqlite3.connect(data / "journal.db") as db:
        journal = [row[0] for row in db.execute("SELECT id FROM events ORDER BY offset")]
        numbers = db.execute(
            "SELECT source, family, epoch, count(*), max(sequence) FROM events GROUP BY source, family, epoch"
        ).fetchall()
        killed = db.execute("SELECT count(*) FROM epochs WHERE reason = 'killed'").fetchone()[0]
        lost_s = _footage_lost_s(db, killed_us)
        unended = db.execute("SELECT count(*) FROM epochs WHERE end_pts IS NULL").fetchone()[0]
    with sqlite3.connect(data / "store.db") as db:
        stored = [row[0] for row in db.execute("SELECT id FROM events ORDER BY n")]
    holes = sum(count != last + 1 for *_, count, last in numbers)
    parts = len(list((data / "footage").rglob("*.part")))
    replays = [json.loads(linli("replay", site, "--camera", c, "--json")) for c in ("gate", "yard")]
    differences = sum(r["missing"] + r["extra"] for r in replays)
    lost = len(set(committed) - set(journal))
    doubled = len(stored) - len(set(stored)) + len(journal) - len(set(journal))
    worst = max(lost_s, default=0.0)
    return {
        "kills": len(killed_us),
        "epochs_resumed": killed,
        "events": len(journal),
        "committed_before_a_kill": len(committed),
        "lost": lost,
        "doubled": doubled,
        "holes": holes,
        "store_is_journal": stored == journal,
        "footage_lost_s": {"median": round(median(lost_s or [0.0]), 2), "worst": round(worst, 2)},
        "parts_left": parts,
        "epochs_unended": unended,
        "replayed_same": sum(r["same"] for r in replays),
        "replay_differences": differences,
        "reached": not (lost or doubled or holes or parts or unended or differences)
        and stored == journal
        and worst <= LOST_S,
    }


if __name__ == "__main__":
    raise SystemExit(main())
