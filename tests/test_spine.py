"""The whole way, as an installer starts it: RTSP, processes, journal, store, evidence; and replayed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.people import default_model, people_clip

RULES = """
[[camera.rules]]
kind = "line"
name = "middle"
points = [[0.1, 0.5], [0.9, 0.5]]

[[camera.rules]]
kind = "line"
name = "across"
points = [[0.5, 0.0], [0.5, 1.0]]

[[camera.rules]]
kind = "intrusion"
name = "square"
polygon = [[0.2, 0.3], [0.8, 0.3], [0.8, 0.95], [0.2, 0.95]]
"""


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    default_model()
    clip = people_clip()
    calm = draw(tmp_path_factory.mktemp("spine") / "calm.mp4", 12, visits((60, 90)))
    mounts = {"gate": Mount(clip), "gate-sub": Mount(clip), "yard": Mount(clip, seed=1), "calm": Mount(calm)}
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()


def site(
    folder: Path,
    cameras: GstServer,
    names: tuple[str, ...] = ("gate", "yard"),
    decode: str = "full",
    processes: int = 1,
) -> Path:
    """A site file; the gate has a sub-stream, which is analysed."""
    text = '[site]\nid = "town"\ndata = "data"\n[recording]\nsegment_s = 4\n[console]\nenabled = false\n'
    text += f"[workers]\nprocesses = {processes}\n"
    text += "[analysis]\ninterval_s = 10\n"
    for name in names:
        text += f'[[camera]]\nid = "{name}"\nurl = "{cameras.url(name)}"\ndecode = "{decode}"\n'
        text += f'sub_url = "{cameras.url("gate-sub")}"\n' if name == "gate" else ""
        text += RULES
    path = folder / "site.toml"
    path.write_text(text)
    return path


def linli(*args: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def replayed(path: Path, camera: str) -> dict[str, float]:
    done = linli("replay", path, "--camera", camera, "--as-seen", "--json")
    assert done.stdout, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def tail(path: Path, *families: str) -> list[dict[str, object]]:
    args = [part for family in families for part in ("--type", family)]
    done = linli("tail", path, *args)
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_sequences_have_no_hole(events: list[dict[str, object]]) -> None:
    seen: dict[tuple[object, object, str], list[int]] = {}
    for event in events:
        family = str(event["type"]).split(".")[1]
        key = event["source"], event["linliepoch"], family
        seen.setdefault(key, []).append(int(str(event["sequence"])))
    assert seen
    for key, numbers in seen.items():
        assert numbers == list(range(len(numbers))), key


def stored_ids(path: Path) -> list[str]:
    with sqlite3.connect(path.parent / "data" / "store.db") as store:
        return [row[0] for row in store.execute("SELECT id FROM events ORDER BY n")]


def test_live_and_replay_give_the_same_bytes(cameras: GstServer, tmp_path: Path) -> None:
    path = site(tmp_path, cameras)
    done = linli("run", path, "--for", "22")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["cameras"] == 2
    assert said["frames_inferred"] > 40
    assert sum(said["counts"].values()) > 0
    assert said["alerts"] > 0
    assert said["events_journaled"] == said["events_stored"] > 10
    events = tail(path)
    assert_sequences_have_no_hole(events)
    assert stored_ids(path) == [e["id"] for e in events]
    for camera in ("gate", "yard"):
        figures = replayed(path, camera)
        assert figures["missing"] == figures["extra"] == 0
        assert figures["same"] > 5
    alerts = [e for e in events if e["type"] == "linli.alert.raised.v1"]
    for alert in alerts:
        assert (tmp_path / "data" / "objects" / "pictures" / f"{alert['subject']}.jpg").stat().st_size > 2000
        assert (tmp_path / "data" / "objects" / "clips" / f"{alert['subject']}.mp4").stat().st_size > 10_000


def test_lazy_decoding_in_two_processes_replays_the_same_too(cameras: GstServer, tmp_path: Path) -> None:
    path = site(tmp_path, cameras, ("yard", "calm"), decode="lazy", processes=2)
    done = linli("run", path, "--for", "22")
    assert done.returncode == 0, done.stderr
    assert_sequences_have_no_hole(tail(path))
    statuses = [json.loads(p.read_bytes()) for p in sorted((tmp_path / "data" / "run").glob("worker-*.json"))]
    calm = next(c for s in statuses for c in s["cameras"] if c["camera"] == "calm")
    assert len(statuses) == 2
    assert calm["wakes"] > 0
    assert 0 < calm["probed"] < calm["decoded"] < calm["packets"]
    for camera in ("yard", "calm"):
        figures = replayed(path, camera)
        assert figures["missing"] == figures["extra"] == 0
        assert figures["same"] > 1


def test_a_killed_worker_resumes_and_nothing_is_lost_or_doubled(cameras: GstServer, tmp_path: Path) -> None:
    """The worker is killed twice under way; its supervisor starts it again and it resumes by itself."""
    path = site(tmp_path, cameras)
    command = [sys.executable, "-m", "cli.main", "run", str(path), "--for", "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        for after in (14.0, 13.0):
            time.sleep(after)
            os.kill(worker_of(run.pid).pid, signal.SIGKILL)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["events_stored"] > 10
    events = tail(path)
    assert_sequences_have_no_hole(tail(path, "count", "alert"))
    assert stored_ids(path) == [e["id"] for e in events]
    assert len({e["id"] for e in events}) == len(events)
    with sqlite3.connect(tmp_path / "data" / "journal.db") as journal:
        reasons = [r[0] for r in journal.execute("SELECT reason FROM epochs")]
    assert reasons.count("killed") >= 4  # two cameras, two kills
    assert None not in reasons
    assert not list((tmp_path / "data" / "footage").rglob("*.part"))
    for camera in ("gate", "yard"):
        figures = replayed(path, camera)  # what was resumed is in the journal as if there had been no kill
        assert figures["missing"] == figures["extra"] == 0
        assert figures["same"] > 5


def worker_of(supervisor: int) -> psutil.Process:
    children = psutil.Process(supervisor).children()
    return next(child for child in children if "worker" in child.cmdline())
