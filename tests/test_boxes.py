"""Two whole boxes as an installer starts them, real cameras, a real Kafka: who reads what, what counts."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from events.events import ClaimTaken, Crossing, Event
from pipeline.cluster_status import read_status
from testbed.kafka import Kafka
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.boxes import LightBox, count_once, make_topics
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.siteworks import Site, linli, site_file, until

CAMERAS = ("gate", "hall", "road", "yard")
CLUSTER = """
[bus]
bootstrap = ["{bootstrap}"]
prefix = "{prefix}"
[cluster]
shares = 4
box = "{box}"
"""


class Box(Site):
    """One of the boxes, in a folder of its own. A mount is for one client: each box has its own mounts."""

    def __init__(self, path: Path) -> None:
        self.name = path.parent.name
        self.started_at = time.time()
        super().__init__(path)

    def claims(self, after: int = 0) -> list[Event]:
        """What it said of its claims, from so many on."""
        return [e for e in self.events() if isinstance(e.data, ClaimTaken)][after:]

    def reads(self) -> set[int]:
        status = read_status(self.data / "run" / "cluster.json")
        return set(status.shares) if status else set()

    def kill(self) -> None:
        """Everything of it at once, as when the power fails."""
        family = [psutil.Process(self.process.pid), *self.children()]
        for one in family:
            one.kill()
        psutil.wait_procs(family, 10)
        self.process.wait(10)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    """Each camera twice: as the first box reads it, and as the second."""
    clip = draw(tmp_path_factory.mktemp("boxes") / "walk.mp4", 5, visits((3, 40)))
    mounts = {f"{camera}-{box}": Mount(clip) for camera in CAMERAS for box in ("east", "west")}
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()


def box_file(folder: Path, name: str, cameras: GstServer, kafka: Kafka, prefix: str) -> Path:
    """The site file of a box."""
    (folder / name).mkdir()
    path = site_file(folder / name, {camera: cameras.url(f"{camera}-{name}") for camera in CAMERAS})
    cluster = CLUSTER.format(bootstrap=kafka.bootstrap, prefix=prefix, box=name)
    path.write_text(path.read_text().replace("[console]", cluster + "[console]"))
    return path


def crossings(box: Box) -> list[Event]:
    return [e for e in box.events() if isinstance(e.data, Crossing)]


def took_over(box: Box, before: int, wanted: int, since: float, seconds: float) -> float:
    """Wait until the box has opened so many streams more; answers the seconds from `since` until the first
    picture of the last of them."""
    until(lambda: len(box.claims(before)) >= wanted, seconds, f"{box.name} reads {wanted} cameras more")
    return max(e.time_us for e in box.claims(before)) / 1e6 - since


@pytest.mark.slow
def test_two_boxes(cameras: GstServer, kafka: Kafka, topic_prefix: str, tmp_path: Path) -> None:
    """The second takes its share; hangs, is relieved, comes back; is killed; and the first ends in order."""
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 4)
    files = [box_file(tmp_path, name, cameras, kafka, prefix) for name in ("east", "west")]
    boxes = [Box(files[0])]
    east = boxes[0]
    try:
        until(lambda: len(east.claims()) == 4, 60, "the first box reads all cameras")
        boxes.append(west := Box(files[1]))
        until(lambda: len(west.claims()) == 2, 60, "the second box has its share")
        assert len(east.claims()) == 4  # no stream that stayed began anew
        until(lambda: len(east.reads()) == 2, 10, "the first box knows")
        until(lambda: crossings(west), 30, "the second box counts")

        os.kill(west.process.pid, signal.SIGSTOP)  # not its workers: they read on
        hung_at = time.time()
        relieved_s = took_over(east, 4, 2, hung_at, 40)
        seen = len(crossings(west))
        until(lambda: len(crossings(west)) >= seen + 2, 30, "both see the same cameras")
        os.kill(west.process.pid, signal.SIGCONT)
        until(lambda: len(west.claims()) >= 4, 60, "the second box has a share again, under new tokens")
        assert min(e.data.token for e in west.claims(2)) > max(e.data.token for e in east.claims())
        time.sleep(12)  # the first box has spare workers again

        opened = len(east.claims())
        killed_at = time.time()
        west.kill()
        killed_s = took_over(east, opened, 2, killed_at, 40)
        print(f"read by the other after {relieved_s:.1f} s (hung) and {killed_s:.1f} s (killed)")

        boxes.append(back := Box(files[1]))
        until(lambda: len(back.claims()) >= 6, 90, "the killed box has a share again")
        opened = len(back.claims())
        ended_at = time.time()
        assert east.end(60)["cameras"] == 2
        handed_s = took_over(back, opened, 2, ended_at, 40)
        print(f"read by the other {handed_s:.1f} s after an orderly end")
        back.end(60)
        for box in (east, back):
            with sqlite3.connect(box.data / "journal.db") as journal:
                ends = journal.execute("SELECT epoch, reason FROM epochs").fetchall()
            assert None not in [reason for _, reason in ends]  # what the kill left is finished
            assert sorted(e.epoch for e in box.claims()) == sorted(epoch for epoch, _ in ends)
            assert {e.sequence for e in box.claims()} == {0}
        said = [east.events(), back.events()]
        counted, superseded = count_once(said, tmp_path / "store.db", 3)
        print(f"{counted} crossings counted, {superseded} events superseded")
        assert counted > 8
        assert superseded >= 2
    finally:
        for box in boxes:
            if box.process.poll() is None:
                box.process.send_signal(signal.SIGCONT)
            box.close()


def test_two_boxes_of_one_name(cameras: GstServer, kafka: Kafka, topic_prefix: str, tmp_path: Path) -> None:
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 4)
    path = box_file(tmp_path, "east", cameras, kafka, prefix)
    first = LightBox(kafka, prefix, "east", tmp_path / "first").start()
    try:
        until(lambda: len(first.shares) == 4, 40, "the first box has its shares")
        done = linli("run", path, timeout_s=90)
        assert done.returncode == 2
        assert "two boxes are called 'east'" in done.stderr
        assert "127.0.0.1" in done.stderr
        assert len(first.shares) == 4
        assert first.end() == 0
    finally:
        first.close()


def test_a_topic_with_too_few_partitions(
    cameras: GstServer, kafka: Kafka, topic_prefix: str, tmp_path: Path
) -> None:
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 3)
    done = linli("run", box_file(tmp_path, "east", cameras, kafka, prefix))
    assert done.returncode == 2
    assert f"the topic {prefix}.shares has 3 partitions, and [cluster] shares is 4" in done.stderr
