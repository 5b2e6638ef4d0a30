"""`kill -9` at random moments of a run: is any committed event lost or doubled, how much footage, does it
resume?

A real site (two cameras over RTSP, one supervised worker) runs; the worker is killed again and again, at
random moments of its start, resume and work, and its supervisor starts it each time. Before each kill the
journal is read: what it holds then is committed. In the end every such event must be in journal and store
once, in order, without a hole; footage of each killed epoch may end at most a fragment before its last
packet; no `.part` is left and nothing was done by hand. Each camera's footage is then replayed as seen and
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
FRAGMENT_S = 1.0
SLACK_S = 0.6
"""A fragment is closed by the packet after it, and packets gather up to a quarter of a second."""


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
    lost_s: list[float] = []
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
        worker = _worker()
        if worker is None:
            continue
        lost_s += _kill(worker, folder / "data", committed, clock)
        done += 1
        if done % 10 == 0:
            say(f"{done} kills, {len(committed)} events committed so far")
    clock.sleep(12.0)
    stop.set()
    watching.join(120)
    return _verdict(site, folder / "data", done, committed, lost_s)


def _worker() -> psutil.Process | None:
    children = psutil.Process().children()
    return next((child for child in children if "worker" in child.cmdline()), None)


def _kill(worker: psutil.Process, data: Path, committed: dict[str, int], clock: SystemClock) -> list[float]:
    """Note what is committed, kill; answers by how much each open segment then lags behind the clock."""
    journal = data / "journal.db"
    if journal.exists():
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=30) as db:
            committed.update(db.execute("SELECT id, offset FROM events").fetchall())
    worker.suspend()  # so that nothing is written between the look and the kill
    now, started = clock.wall_us() / 1e6, worker.create_time()
    grown = [path.stat().st_mtime for path in (data / "footage").rglob("*.part")]
    worker.kill()
    return [now - at for at in grown if at > started]  # the others are of a kill before, not yet recovered


def _verdict(
    site: Path, data: Path, kills: int, committed: dict[str, int], lost_s: list[float]
) -> dict[str, Any]:
    with sqlite3.connect(data / "journal.db") as db:
        journal = [row[0] for row in db.execute("SELECT id FROM events ORDER BY offset")]
        numbers = db.execute(
            "SELECT source, family, epoch, count(*), max(sequence) FROM events GROUP BY source, family, epoch"
        ).fetchall()
        killed = db.execute("SELECT count(*) FROM epochs WHERE reason = 'killed'").fetchone()[0]
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
        "kills": kills,
        "epochs_resumed": killed,
        "events": len(journal),
        "committed_before_a_kill": len(committed),
        "lost": lost,
        "doubled": doubled,
        "holes": holes,
        "store_is_journal": stored == journal,
        "footage_lost_s_worst": round(worst, 2),
        "parts_left": parts,
        "epochs_unended": unended,
        "replayed_same": sum(r["same"] for r in replays),
        "replay_differences": differences,
        "reached": not (lost or doubled or holes or parts or unended or differences)
        and stored == journal
        and worst <= FRAGMENT_S + SLACK_S,
    }


if __name__ == "__main__":
    raise SystemExit(main())
