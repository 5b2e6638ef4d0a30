"""One running site with everything wrong that cameras can do: each is told by name, the others go on."""

import itertools
import json
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import psutil
import pytest

from cli import analysing, settings, wiring
from events.clock import SystemClock
from events.events import Crossing, Event, Health, Interval
from pipeline.replay import Replayer
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.noisemaker import encode_noise
from tests.siteworks import Site, linli, site_file, until

WRONG, RIGHT = "hunter2-is-wrong", "p w@:/%"
SOUND = ("gate", "bframes", "hevc")
"""Cameras with nothing wrong; one of them only needs its password."""


def black(_: int, grey: Any) -> None:
    grey[:] = 16 + (grey % 4)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    folder = tmp_path_factory.mktemp("footage")
    walk = visits((12, 36))
    plain = draw(folder / "plain.mp4", 5, walk)
    mounts = {
        name: Mount(plain) for name in ("gate", "stalls", "closes", "jumps", "switches", "garbage", "flips")
    }
    mounts |= {
        "bframes": Mount(draw(folder / "bframes.mp4", 5, walk, bf="2")),
        "hevc": Mount(draw(folder / "hevc.mp4", 5, walk, "libx265")),
        "locked": Mount(plain, user="guard", password=RIGHT),
        "refused": Mount(plain, user="guard", password=RIGHT),
        "jpeg": Mount(encode_noise(folder / "jpeg.avi", 1, codec="mjpeg")),
        "sound": Mount(None),
        "frozen": Mount(draw(folder / "frozen.mp4", 1, visits(), sigma=0.0)),
        "black": Mount(encode_noise(folder / "black.mp4", 2, paint=black)),
        "longgop": Mount(draw(folder / "long.mp4", 8, visits(), g="40")),
        "refresh": Mount(draw(folder / "refresh.mp4", 6, visits(), **{"intra-refresh": "1"})),
        "opengop": Mount(draw(folder / "open.mp4", 5, walk, bf="2", **{"x264-params": "open-gop=1"})),
    }
    wide = encode_noise(folder / "wide.mp4", 2, size=(480, 272))
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    server.wide = wide  # type: ignore[attr-defined]
    yield server
    server.close()


@contextmanager
def web_server() -> Iterator[int]:
    """Something at a port that does not speak RTSP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        over = threading.Event()

        def answer() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@dataclass
class Seen:
    """What the run left."""

    folder: Path
    events: list[Event]
    said: dict[str, Any]
    log: str
    faults_us: int
    drained_s: float
    argv: list[str] = field(default_factory=list)
    second: str = ""
    status: dict[str, dict[str, Any]] = field(default_factory=dict)

    def health(self, camera: str, what: str, state: str = "raised") -> list[str]:
        return [
            e.data.message
            for e in self.events
            if isinstance(e.data, Health) and (e.key, e.data.what, e.data.state) == (camera, what, state)
        ]


@pytest.fixture(scope="module")
def seen(cameras: GstServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Run the site, cause the faults, mend one, look, and let it drain."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "right").write_text(f"guard:{RIGHT}\n")
    (folder / "right").chmod(0o600)
    with web_server() as web:
        urls = {name: cameras.url(name) for name in cameras._mounts}
        urls |= {
            "nologin": cameras.url("locked"),
            "nobody": "rtsp://127.0.0.1:9/main",
            "nowhere": "rtsp://no-such-host.invalid/main",
            "web": f"rtsp://127.0.0.1:{web}/main",
            "nopath": cameras.url("gate") + "-not",
        }
        more = {
            "locked": 'credentials = "file:right"\ndecode = "lazy"',
            "refused": 'credentials = "env:REFUSED_LOGIN"',
            "nologin": 'credentials = "env:LINLI_NOT_SET"',
        }
        path = site_file(folder, urls, more)
        site = Site(path, {"REFUSED_LOGIN": f"guard:{WRONG}"})
        try:
            yield watched(site, cameras)
        finally:
            site.close()


def watched(site: Site, cameras: GstServer) -> Seen:
    for name in (*SOUND, "stalls", "jumps", "switches", "garbage", "flips", "closes"):
        until(lambda name=name: site.status(name).get("stream_s", 0) > 2, 40, f"{name} delivers")  # type: ignore[misc]
    faults_us = time.time_ns() // 1000
    cameras.fault("stalls", "stall")
    cameras.fault("closes", "close")
    cameras.fault("jumps", "jump", seconds=-1.5)
    cameras.fault("switches", "switch", clip=cameras.wide)  # type: ignore[attr-defined]
    cameras.fault("garbage", "sets")
    cameras.fault("flips", "flip", share=0.5)
    argv = [" ".join(p.cmdline()) for p in [psutil.Process(site.process.pid), *site.children()]]
    second = linli("run", site.path)
    assert second.returncode == 2
    until(lambda: site.health("stalls", "connection", "raised"), 15, "the stall is told")
    cameras.fault("stalls", "heal")
    until(lambda: site.health("flips", "corrupt", "raised"), 15, "the damage is told")
    cameras.fault("flips", "heal")
    for name, what in (("stalls", "connection"), ("closes", "connection"), ("flips", "corrupt")):
        until(lambda n=name, w=what: site.health(n, w, "cleared"), 20, f"{name} is mended")  # type: ignore[misc]
    until(lambda: site.health("longgop", "decode-mode", "raised"), 20, "the long GOP is told")
    until(lambda: site.health("frozen", "frozen", "raised"), 20, "the picture that stands still is told")
    status = {name: site.status(name) for name in cameras._mounts}
    started = time.monotonic()
    said = site.end()
    took = time.monotonic() - started
    return Seen(
        site.path.parent, site.events(), said, site.log(), faults_us, took, argv, second.stderr, status
    )


# --- the others go on


@pytest.mark.parametrize("camera", [*SOUND, "locked", "opengop"])
def test_the_other_cameras_go_on(seen: Seen, camera: str) -> None:
    """Their intervals follow one another without a hole, before, during and after the faults."""
    mine = [e for e in seen.events if e.key == camera]
    assert len({e.epoch for e in mine if e.family == "count"}) == 1
    intervals = [e.data for e in mine if isinstance(e.data, Interval)]
    assert len(intervals) > 3
    assert all(a.end_us == b.start_us for a, b in itertools.pairwise(intervals))
    assert intervals[-1].end_us > seen.faults_us + 5_000_000
    assert [e for e in mine if isinstance(e.data, Crossing) and e.time_us > seen.faults_us]
    assert not seen.health(camera, "connection")


@pytest.mark.parametrize("camera", SOUND)
def test_b_frames_and_h265_count_as_the_plain_stream(seen: Seen, camera: str) -> None:
    """One walks through in every five seconds; the lead-in and the end may cost one each."""
    mine = [e for e in seen.events if e.key == camera and isinstance(e.data, Crossing)]
    expected = seen.status[camera]["stream_s"] / 5
    assert abs(len(mine) - expected) <= 2
    assert {e.data.direction for e in mine} == {mine[0].data.direction}


def test_every_sequence_is_whole_and_the_store_has_it_all(seen: Seen) -> None:
    numbers: dict[tuple[str, str, int], list[int]] = {}
    for e in seen.events:
        numbers.setdefault((e.source, e.family, e.epoch), []).append(e.sequence)
    for key, found in numbers.items():
        assert found == list(range(len(found))), key
    with sqlite3.connect(seen.folder / "data" / "store.db") as store:
        stored = [row[0] for row in store.execute("SELECT id FROM events ORDER BY n")]
    assert stored == [e.id for e in seen.events]


# --- each fault by name


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ("nologin", ["LINLI_NOT_SET", "is not set", "user:password"]),
        ("nobody", ["127.0.0.1:9", "refused the connection", "check the port"]),
        ("nowhere", ["no-such-host.invalid", "unknown", "spelling"]),
        ("refused", ["/refused", "refused the credentials", "check the camera's user and password"]),
        ("web", ["does not speak RTSP", "check the port"]),
        ("nopath", ["404", "check the path"]),
        ("jpeg", ["mjpeg", "H.264 or H.265"]),
        ("sound", ["no video", "give the camera's video stream"]),
        ("stalls", ["sent nothing", "check the network"]),
        ("closes", ["closed the stream", "opened again"]),
        ("switches", ["320x180 to 480x272", "opened again"]),
    ],
)
def test_what_is_wrong_with_a_camera_is_a_health_event(seen: Seen, camera: str, words: list[str]) -> None:
    said = seen.health(camera, "connection")
    assert said, [e for e in seen.events if e.key == camera]
    for word in words:
        assert any(word in text for text in said), said
    assert len(said) == len(set(said))  # said once, not at each attempt


def test_a_stall_is_noticed_within_five_seconds(seen: Seen) -> None:
    raised = next(e for e in seen.events if e.key == "stalls" and getattr(e.data, "what", "") == "connection")
    assert 3.5 < (raised.time_us - seen.faults_us) / 1e6 < 5.2  # the fault itself takes a moment


@pytest.mark.parametrize("camera", ["stalls", "closes", "switches", "jumps"])
def test_after_a_fault_a_new_epoch_begins_and_the_gap_is_told(seen: Seen, camera: str) -> None:
    with sqlite3.connect(seen.folder / "data" / "journal.db") as journal:
        ends = journal.execute(
            "SELECT reason FROM epochs WHERE camera = ? ORDER BY epoch", (camera,)
        ).fetchall()
    assert len(ends) >= 2
    assert None not in [reason for (reason,) in ends]
    assert any("no video for" in text for text in seen.health(camera, "gap", "note"))


def test_timestamps_that_jump_back_are_told(seen: Seen) -> None:
    assert any("jumped by -" in text for text in seen.health("jumps", "gap", "note"))


def test_a_changed_size_is_analysed_in_its_own_size(seen: Seen) -> None:
    with sqlite3.connect(seen.folder / "data" / "journal.db") as journal:
        rows = journal.execute("SELECT body FROM segments WHERE camera = 'switches'").fetchall()
    assert {json.loads(body)["width"] for (body,) in rows} == {320, 480}


def test_damaged_packets_are_told_and_mended(seen: Seen) -> None:
    assert "damaged packets" in seen.health("flips", "corrupt")[0]
    assert seen.health("flips", "corrupt", "cleared")


@pytest.mark.parametrize(
    "camera", ["gate", "bframes", "hevc", "opengop", "refresh", "longgop", "flips", "garbage"]
)
def test_the_run_replays_as_it_was(seen: Seen, camera: str) -> None:
    """Byte for byte, damage and all."""
    loaded = settings.load(seen.folder / "site.toml")
    clock = SystemClock()
    journal = wiring.open_journal(loaded, clock)
    try:
        model = analysing.detector(loaded)
        footage = wiring.Paths(loaded.data).footage
        replayer = Replayer("town", camera, "main", journal, footage, model)
        found = replayer.as_seen(analysing.lane_maker(loaded, loaded.camera(camera), model, clock))
    finally:
        journal.close()
    assert (found.missing, found.extra) == ((), ())
    assert found.same > 2


def test_noise_for_parameter_sets_ends_no_epoch(seen: Seen) -> None:
    """They are damage like another; the stream's own size is not believed to have changed."""
    assert not seen.health("garbage", "connection")
    assert len({e.epoch for e in seen.events if e.key == "garbage" and e.family == "count"}) == 1


@pytest.mark.parametrize("what", ["frozen", "black"])
def test_a_frozen_or_black_picture_is_told(seen: Seen, what: str) -> None:
    assert len(seen.health(what, what)) == 1


@pytest.mark.parametrize(("camera", "why"), [("longgop", "4.0 s apart"), ("refresh", "intra refresh")])
def test_what_cannot_be_decoded_lazily_is_decoded_fully_and_says_so(
    seen: Seen, camera: str, why: str
) -> None:
    said = seen.health(camera, "decode-mode")
    assert len(said) == 1
    assert "everything is decoded" in said[0]
    assert why in said[0]
    assert seen.status[camera]["mode"] == "full"


# --- secrets, the second instance, the drain


def test_secrets_are_nowhere(seen: Seen) -> None:
    """Not in a file of the data folder, not in the log, not in what `ps` shows."""
    spelled = [WRONG, RIGHT, quote(RIGHT, safe=""), quote(RIGHT)]
    assert all(secret not in seen.log for secret in spelled)
    assert not [line for line in seen.argv if any(secret in line for secret in spelled)]
    assert len(seen.argv) == 3  # supervisor, worker, services
    files = [p for p in (seen.folder / "data").rglob("*") if p.is_file()]
    assert len(files) > 50
    for path in files:
        data = path.read_bytes()
        assert not [s for s in spelled if s.encode() in data], path


def test_a_second_run_on_the_same_folder_is_refused(seen: Seen) -> None:
    assert "another `linli run` uses" in seen.second
    assert "LINLI_DATA" in seen.second


def test_sigterm_drains(seen: Seen) -> None:
    assert seen.drained_s < 20
    assert seen.said["events_journaled"] == seen.said["events_stored"]
    assert not list((seen.folder / "data").rglob("*.part"))
    with sqlite3.connect(seen.folder / "data" / "journal.db") as journal:
        assert journal.execute("SELECT count(*) FROM epochs WHERE end_pts IS NULL").fetchone() == (0,)
        states = Counter(
            json.loads(body)["state"] for (body,) in journal.execute("SELECT body FROM segments").fetchall()
        )
    assert set(states) == {"closed"}


def test_every_segment_can_be_read_to_its_end(seen: Seen) -> None:
    """Also those of the faulty cameras: what was recorded before the fault is there."""
    recorded = list((seen.folder / "data" / "footage").rglob("*.mp4"))
    assert {p.relative_to(seen.folder / "data" / "footage").parts[0] for p in recorded} >= {"stalls", "flips"}
    for path in recorded[::5]:
        with av.open(str(path)) as container:
            assert sum(1 for packet in container.demux(video=0) if packet.size) > 0


def test_the_log_names_cameras_not_tracebacks(seen: Seen) -> None:
    assert "Traceback" not in seen.log
    assert "refused/main: " in seen.log
