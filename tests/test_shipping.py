"""Copies to a real S3 store: everything, once, in order, whatever is killed, away, refused or deleted."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import time
from pathlib import Path

import msgspec
import pytest

from events.clock import ManualClock
from pipeline.shipping_status import read_status
from storage.pacing import Hours, Schedule
from storage.papers import papers_key, read_papers
from storage.retention import Limits, plan, sweep
from storage.s3client import S3Place
from storage.s3objects import S3Objects
from testbed.s3 import S3
from tests.clipmaker import START_US
from tests.servers import started
from tests.shipworks import PART, Box, place, rounds


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    opened = Box(tmp_path / "data", ManualClock(START_US))
    yield opened
    opened.close()


@pytest.fixture
def clock(box: Box) -> ManualClock:
    assert isinstance(box.clock, ManualClock)
    return box.clock


@pytest.fixture
def there(s3: S3, bucket: str) -> S3Place:
    return place(s3, bucket)


def footage_in(objects: S3Objects) -> set[str]:
    """Paths of segments that are there with their papers, each compared with what the box has told."""
    keys = set(objects.keys("footage/"))
    found = {key.removeprefix("footage/") for key in keys if key.endswith(".mp4")}
    for path in found:
        papers = read_papers(objects.get(papers_key(path)) or b"", path)
        data = objects.get(f"footage/{path}")
        assert data is not None
        assert hashlib.sha256(data).hexdigest() == papers.row.sha256
    return found


def said(box: Box) -> list[tuple[str, str]]:
    return [(data.state, data.message) for data in box.health()]


# --- what is sent


def test_all_is_there_once_and_in_order(box: Box, clock: ManualClock, there: S3Place) -> None:
    old = box.segment(0)
    shipper = box.shipper(there)
    rounds(shipper, clock)  # the first look takes what the index has
    paths = {old} | {box.segment(n, size=PART + 10 if n == 2 else 1000) for n in range(1, 4)}
    box.objects.put("pictures/a1.jpg", b"picture")
    box.objects.put("clips/a1.mp4", b"clip")
    box.objects.put("health/e1-before.jpg", b"still")
    clock.advance(10)
    order: list[str] = []
    put_file = shipper._objects.put_file

    def noted(key: str, *args: Path) -> object:
        order.append(key)
        return put_file(key, *args)

    shipper._objects.put_file = noted  # type: ignore[method-assign,assignment]
    rounds(shipper, clock)
    objects = S3Objects(there)
    assert footage_in(objects) == paths
    others = [key for key in list(objects.keys()) if "footage" not in key]
    assert {key: objects.get(key) for key in others} == {
        "clips/a1.mp4": b"clip",
        "health/e1-before.jpg": b"still",
        "pictures/a1.jpg": b"picture",
    }
    assert {key.split("/")[0] for key in order[:3]} == {"clips", "health", "pictures"}
    assert order[3:] == sorted(order[3:])
    assert len(order) == 6
    status = shipper.status()
    assert (status.waiting, status.sent, status.failures, status.lost) == (0, 7, 0, 0)
    assert status.done == 7
    assert said(box) == []
    rounds(box.shipper(there), clock)
    assert sorted(order) == sorted(set(order)), "nothing is sent twice"


def test_faces_stay(box: Box, clock: ManualClock, there: S3Place) -> None:
    box.objects.put("faces/gate/c1.jpg", b"pixelated")
    box.objects.put("faces/gate/c1.age", b"sealed")
    box.objects.put("pictures/a1.jpg", b"picture")
    rounds(box.shipper(there), clock)
    assert list(S3Objects(there).keys()) == ["pictures/a1.jpg"]


def test_only_what_the_site_says(box: Box, clock: ManualClock, there: S3Place) -> None:
    box.segment(0)
    box.objects.put("pictures/a1.jpg", b"picture")
    box.objects.put("clips/a1.mp4", b"clip")
    rounds(box.shipper(there, ship=("clips",)), clock)
    assert list(S3Objects(there).keys()) == ["clips/a1.mp4"]


def test_a_picture_that_was_replaced_is_sent_again(box: Box, clock: ManualClock, there: S3Place) -> None:
    shipper = box.shipper(there)
    for content in (b"first", b"other"):
        box.objects.put("pictures/a1.jpg", content)
        clock.advance(10)
        rounds(shipper, clock)
        assert S3Objects(there).get("pictures/a1.jpg") == content
    box.objects.delete("pictures/a1.jpg")
    clock.advance(10)
    rounds(shipper, clock)
    assert S3Objects(there).get("pictures/a1.jpg") == b"other", "the store keeps what the box deletes"
    assert box.spool.stamps("picture") == {}


def test_a_box_without_its_spool_sends_nothing_again(box: Box, clock: ManualClock, there: S3Place) -> None:
    box.segment(0)
    rounds(box.shipper(there), clock)
    with box.spool._transaction() as tx:
        tx.execute("DELETE FROM items")
        tx.execute("DELETE FROM positions")
    again = box.shipper(there)
    rounds(again, clock)
    assert again.status().sent == 1
    assert again.status().sent_bytes == 0


# --- what the store refuses


def test_a_store_that_was_away(tmp_path: Path, box: Box, clock: ManualClock) -> None:
    with started(S3(tmp_path / "s3")) as s3:
        there = place(s3, s3.new_bucket())
        s3.kill()
        shipper = box.shipper(there)
        paths = {box.segment(n) for n in range(4)}
        before = clock.monotonic()
        for _ in range(400):
            clock.advance(shipper.step() or 0.01)
        assert clock.monotonic() - before < 500
        assert [state for state, _ in said(box)] == ["raised"]
        assert "no connection; start it" in said(box)[0][1]
        status = shipper.status()
        assert (status.state, status.waiting) == ("waiting", 4)
        assert 5 < status.failures < 25, "it is asked more and more seldom"
        assert s3.endpoint in status.problem
        s3.start()
        rounds(shipper, clock)
        assert footage_in(S3Objects(there)) == paths
        assert [state for state, _ in said(box)] == ["raised", "cleared"]
        assert shipper.status().problem == ""
        s3.remove()


def test_a_bucket_that_is_missing_is_told_at_once(box: Box, clock: ManualClock, s3: S3) -> None:
    there = place(s3, "not-made-yet")
    box.segment(0)
    shipper = box.shipper(there)
    shipper.step()
    assert [state for state, _ in said(box)] == ["raised"]
    assert "linli objects apply" in said(box)[0][1]
    S3Objects(there)._client.make_bucket("not-made-yet")
    rounds(shipper, clock)
    assert len(footage_in(S3Objects(there))) == 1
    assert [state for state, _ in said(box)] == ["raised", "cleared"]


def test_denied_is_told_at_once_and_tried_slowly(box: Box, clock: ManualClock, s3: S3, bucket: str) -> None:
    box.segment(0)
    for wrong in (
        place(s3, bucket, secret="not this"),
        place(s3, bucket, access=s3.reader_access, secret=s3.reader_secret),
    ):
        clock.advance(200)
        shipper = box.shipper(wrong)
        shipper.step()
        assert shipper.status().state == "waiting"
        began = clock.monotonic()
        while shipper.status().failures == 1:
            clock.advance(shipper.step() or 0.01)
        assert clock.monotonic() - began > 20
    assert [state for state, _ in said(box)] == ["raised", "raised"], "a process that starts tells it anew"
    assert "not this" not in said(box)[0][1]
    clock.advance(200)
    rounds(box.shipper(place(s3, bucket)), clock)
    assert [state for state, _ in said(box)] == ["raised", "raised", "cleared"]


def test_one_that_cannot_be_read_holds_up_no_other(box: Box, clock: ManualClock, there: S3Place) -> None:
    first = box.segment(0)
    (box.footage / first).unlink()
    (box.footage / first).mkdir()
    paths = {box.segment(n) for n in range(1, 4)}
    shipper = box.shipper(there)
    for _ in range(60):
        clock.advance(shipper.step() or 0.01)
    assert {
        key.removeprefix("footage/") for key in S3Objects(there).keys("footage/") if key.endswith("mp4")
    } == paths
    assert shipper.status().waiting == 1


def test_another_trouble_is_told_anew(tmp_path: Path, box: Box, clock: ManualClock) -> None:
    with started(S3(tmp_path / "s3")) as s3:
        there = place(s3, "made-too-late")
        box.segment(0)
        shipper = box.shipper(there)
        s3.kill()
        while len(said(box)) < 1:
            clock.advance(shipper.step() or 0.01)
        s3.start()
        while len(said(box)) < 2:
            clock.advance(shipper.step() or 0.01)
        assert [state for state, _ in said(box)] == ["raised", "raised"]
        assert "is not reached" in said(box)[0][1]
        assert "has no bucket" in said(box)[1][1]
        s3.remove()


# --- what the box lost


def test_damaged_footage_is_told_and_not_sent(box: Box, clock: ManualClock, there: S3Place) -> None:
    damaged, sound = box.segment(0), box.segment(1)
    path = box.footage / damaged
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    shipper = box.shipper(there)
    rounds(shipper, clock)
    assert footage_in(S3Objects(there)) == {sound}
    assert S3Objects(there).stat(f"footage/{damaged}") is None
    assert [state for state, _ in said(box)] == ["note"]
    assert damaged in said(box)[0][1]
    assert shipper.status().lost == 1


def test_what_retention_deleted_is_told_and_holds_up_nothing(box: Box, clock: ManualClock, s3: S3) -> None:
    there = place(s3, "away-for-long")
    shipper = box.shipper(there)
    paths = [box.segment(n) for n in range(30)]
    shipper.step()
    rows = box.journal.segments()
    chosen = plan(rows, clock.wall_us(), 1 << 40, Limits(max_bytes=10_000))
    sweep(box.footage, box.journal, chosen.delete)
    clock.advance(61)
    shipper.step()
    notes = [data for data in box.health() if data.state == "note"]
    assert len(notes) == 1
    assert notes[0].detail == {"files": 20, "bytes": 20_000}
    assert "were deleted here before they were copied" in notes[0].message
    assert shipper._spool.counts().waiting == 10
    S3Objects(there)._client.make_bucket("away-for-long")
    rounds(shipper, clock)
    assert footage_in(S3Objects(there)) == set(paths[20:])
    assert (shipper._spool.counts().done, shipper._spool.counts().lost) == (10, 20)


# --- when, and how fast


def test_by_day_nothing_by_night_all(box: Box, clock: ManualClock, there: S3Place) -> None:
    night = Schedule(0.0, (Hours(time(22), time(6), None),))
    box.segment(0)
    shipper = box.shipper(there, night)
    clock.advance((12 * 3600 - START_US // 1_000_000 % 86_400) % 86_400)  # noon
    began = clock.wall_us()
    sent_at = 0
    while not sent_at and clock.wall_us() - began < 86_400_000_000:
        shipper.step()
        if shipper.status().sent:
            sent_at = clock.wall_us()
        else:
            assert shipper.status().state == "paused"
            clock.advance(60)
    assert (sent_at - began) // 3_600_000_000 == 10
    assert said(box) == []


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    import time as clock

    clock.tzset()


def test_an_hour_that_ends_stops_in_the_middle(box: Box, clock: ManualClock, there: S3Place) -> None:
    hour = clock.wall_us() // 3_600_000_000 % 24
    allowed = Schedule(0.0, (Hours(time(hour), time((hour + 1) % 24), 100_000.0),))
    path = box.segment(0, size=2 * PART)
    shipper = box.shipper(there, allowed)
    clock.advance(3600 - clock.wall_us() / 1e6 % 3600 - 30)  # 30 s are left, and 105 s needed
    shipper.step()
    assert shipper.status().sent == 0
    assert 2_500_000 < shipper.status().sent_bytes < 3_100_000
    assert shipper.step() > 0
    assert shipper.status().state == "paused"
    objects = S3Objects(there)
    assert objects.stat(f"footage/{path}") is None
    clock.advance(23 * 3600 + 60)
    began = clock.monotonic()
    rounds(shipper, clock)
    assert footage_in(objects) == {path}
    assert clock.monotonic() - began == pytest.approx(2 * PART / 100_000, rel=0.05)


# --- killed


def sound(objects: S3Objects) -> None:
    """Each object that is to be seen is whole."""
    for key in list(objects.keys()):
        assert objects.get(key) is not None  # compares the hash


Take = Callable[[int], None]
KILLS = int(os.environ.get("LINLI_KILLS", "20"))


@pytest.mark.slow
def test_killed_at_random_points(tmp_path: Path, there: S3Place) -> None:
    """The shipper's process, by SIGKILL between any two steps, `LINLI_KILLS` times (20)."""
    rng = random.Random(20)
    box = Box(tmp_path / "data", ManualClock(START_US))
    numbers = itertools.count()

    def more() -> set[str]:
        sizes = [1000, 300_000, PART - 1, PART + 200_000]
        return {box.segment(next(numbers), size=rng.choice(sizes)) for _ in range(4)}

    paths = more()
    box.objects.put("clips/a1.mp4", rng.randbytes(400_000))
    objects = S3Objects(there)
    killed = 0
    points: list[int] = []
    while killed < KILLS:
        point = rng.choice((rng.randrange(1, 40), rng.randrange(1, 900)))
        code = _ship(box.data, there, point)
        if code == 0:
            paths |= more()
            continue
        assert code == -signal.SIGKILL
        killed += 1
        points.append(point)
        sound(objects)
    assert _ship(box.data, there, 0) == 0
    assert footage_in(objects) == paths
    assert objects.get("clips/a1.mp4") == box.objects.get("clips/a1.mp4")
    for path in paths:
        assert objects.get(f"footage/{path}") == (box.footage / path).read_bytes()
    left = objects._client._list_multipart_uploads(there.bucket).uploads
    assert left == [], "an upload was left unfinished"
    print(f"killed {killed} times at points {points}; {len(paths)} segments compared byte by byte")
    box.close()


def _ship(data: Path, there: S3Place, point: int) -> int:
    command = [sys.executable, "-m", "tests.shipworks", str(data), str(point)]
    done = subprocess.run(command, input=msgspec.json.encode(there), capture_output=True, timeout=240)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def test_the_store_killed_while_a_segment_is_sent(tmp_path: Path, box: Box, clock: ManualClock) -> None:
    with started(S3(tmp_path / "s3")) as s3:
        there = place(s3, s3.new_bucket())
        paths = {box.segment(n, size=PART + 500_000) for n in range(3)}
        shipper = box.shipper(there)
        for at in (100, 200, 400):
            before = shipper._bucket.taken
            take = shipper._bucket.take

            def kill(count: int, at: int = at, before: int = before, take: Take = take) -> None:
                if shipper._bucket.taken - before > at * 16_384 and s3.running:
                    s3.kill()
                take(count)

            shipper._bucket.take = kill  # type: ignore[method-assign]
            while s3.running and shipper.status().state != "idle":
                clock.advance(shipper.step() or 0.01)
            shipper._bucket.take = take  # type: ignore[method-assign]
            s3.start()
            sound(S3Objects(there))
        rounds(shipper, clock)
        assert footage_in(S3Objects(there)) == paths
        assert S3Objects(there)._client._list_multipart_uploads(there.bucket).uploads == []
        s3.remove()


# --- the service


def test_a_service_that_starts_sends_tells_and_stops(box: Box, there: S3Place) -> None:
    path = box.segment(0)
    shipper = box.shipper(there)
    shipper.start()
    waited = threading.Event()
    for _ in range(200):
        if shipper.status().sent:
            break
        waited.wait(0.05)
    assert shipper.alive
    shipper.stop()
    assert not shipper.alive
    assert footage_in(S3Objects(there)) == {path}
    status = read_status(box.data / "status.json")
    assert status is not None
    assert (status.sent, status.waiting, status.problem) == (1, 0, "")


def test_a_stop_breaks_off_what_would_take_long(box: Box, there: S3Place) -> None:
    path = box.segment(0, size=PART)
    shipper = box.shipper(there, Schedule(10_000.0))
    real = threading.Event()
    box.clock.sleep = lambda seconds: (box.clock.advance(seconds), real.wait(0.001))  # type: ignore[assignment,attr-defined,method-assign]
    shipper.start()
    for _ in range(400):
        if shipper.status().sent_bytes > 30_000:
            break
        real.wait(0.01)
    shipper.stop()
    assert not shipper.alive
    assert shipper.status().sent == 0
    assert S3Objects(there).stat(f"footage/{path}") is None
    assert [item.state for item in box.spool.of_state("waiting", 9)] == ["waiting"]
