"""Cameras over real RTSP, sound and faulty. The server is GStreamer's (`testbed/rtsp.py`)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from events.clock import SystemClock
from events.errors import AuthError, SourceError, StreamChanged, UnsupportedStream
from events.media import TICKS, CaptureMap, Discontinuity
from ingest.credentials import Credentials
from ingest.decode import LazyDecoder
from ingest.packets import Packet
from ingest.rtsp import RtspSource
from ingest.source import Opened
from testbed.rtsp import GstServer


@contextmanager
def camera(url: str, **options: Any) -> Iterator[tuple[RtspSource, Opened]]:
    source = RtspSource(url, clock=SystemClock(), **options)
    try:
        yield source, source.open()
    finally:
        source.close()


def read(source: RtspSource, until: Callable[[Packet], bool]) -> list[Packet]:
    taken = []
    for packet in source.packets():
        taken.append(packet)
        if until(packet):
            break
    return taken


def run_out(packets: Iterator[Packet]) -> None:
    """Read on to the error that has to come within six seconds."""
    for n, _ in enumerate(packets):
        assert n < 60


def after(seconds: float) -> Callable[[Packet], bool]:
    return lambda p: p.dts >= seconds * TICKS


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("name", ["plain", "bframes", "hevc"])
def test_a_camera_gives_its_stream(
    gst_server: GstServer, name: str, transport: Literal["tcp", "udp"]
) -> None:
    with camera(gst_server.url(name), transport=transport) as (source, opened):
        assert opened.info.codec == ("hevc" if name == "hevc" else "h264")
        assert (opened.info.width, opened.info.height) == (320, 180)
        assert opened.info.extradata.startswith(b"\x00\x00\x00\x01")
        packets = read(source, after(1.5))
    assert packets[0].keyframe
    assert packets[0].dts == 0
    assert all(b.dts > a.dts for a, b in pairwise(packets))
    assert all(p.pts >= p.dts for p in packets)
    assert not any(p.corrupt for p in packets)
    assert {b - a for a, b in pairwise(sorted(p.pts for p in packets)[:-3])} == {9000}
    decoder = LazyDecoder(opened.info)
    shown = [f.pts for p in packets for f in decoder.decode(p)] + [f.pts for f in decoder.drain()]
    assert decoder.errors == 0
    assert shown == sorted(p.pts for p in packets)


def test_time_goes_on_across_the_loop_and_the_cameras_clock_is_taken(gst_server: GstServer) -> None:
    with camera(gst_server.url("extra")) as (source, opened):
        anchors, packets, late = [opened.anchor], [], []
        for packet in source.packets():
            anchors += source.anchors()
            packets.append(packet)
            late.append(time.time_ns() // 1000 - packet.capture_us)
            if packet.dts > 5.5 * TICKS:
                break
    assert {b.dts - a.dts for a, b in pairwise(packets)} == {9000}
    assert anchors[0].source == "arrival"
    mapped = CaptureMap(tuple(anchors))
    assert [mapped.at(p.pts) for p in packets] == [p.capture_us for p in packets]
    assert all(-20_000 < us < 150_000 for us in late[30:])
    assert [a.source for a in anchors[1:]] == ["rtcp"]
    assert source.clock_error_us is not None
    assert abs(source.clock_error_us) < 150_000


def test_credentials_open_a_locked_camera_and_wrong_ones_do_not(gst_server: GstServer) -> None:
    url = gst_server.url("locked")
    with camera(url, credentials=Credentials("guard", "p w@:/%")) as (_, opened):
        assert opened.info.width == 320
    with camera(gst_server.url("locked", login=True)) as (source, _):
        assert "guard" not in source.name
    with pytest.raises(AuthError, match="user and password") as e:
        RtspSource(url, clock=SystemClock(), credentials=Credentials("guard", "geheim")).open()
    assert "geheim" not in str(e.value)
    with pytest.raises(AuthError):
        RtspSource(url, clock=SystemClock()).open()


def test_what_cannot_be_analysed_is_named(gst_server: GstServer) -> None:
    with pytest.raises(UnsupportedStream, match=r"mjpeg.*H\.264"):
        RtspSource(gst_server.url("jpeg"), clock=SystemClock()).open()
    with pytest.raises(UnsupportedStream, match="no video"):
        RtspSource(gst_server.url("sound"), clock=SystemClock()).open()
    with pytest.raises(SourceError, match="check the path"):
        RtspSource(gst_server.url("plain") + "x", clock=SystemClock()).open()


def test_a_stalled_camera_is_noticed_in_time(gst_server: GstServer) -> None:
    with camera(gst_server.url("stalls"), stall_s=1.0) as (source, _):
        packets = source.packets()
        next(packets)
        for packet in packets:
            if packet.pts > 2 * TICKS:
                break
        gst_server.fault("stalls", "stall")
        since = time.monotonic()
        with pytest.raises(SourceError, match=r"sent nothing for 1 s"):
            list(packets)
        assert 0.9 < time.monotonic() - since < 1.5


def test_closing_from_another_thread_ends_a_reader_soon(gst_server: GstServer) -> None:
    with camera(gst_server.url("stops")) as (source, _):
        ended: list[float] = []

        def reading() -> None:
            for _ in source.packets():
                pass
            ended.append(time.monotonic())

        thread = threading.Thread(target=reading)
        thread.start()
        time.sleep(0.3)
        before = time.monotonic()
        source.close()
        source.close()
        thread.join(5)
        assert ended
        assert ended[0] - before < 0.5


def test_closing_releases_a_connection_whose_packets_are_half_read(gst_server: GstServer) -> None:
    with camera(gst_server.url("stops")) as (source, _):
        packets = source.packets()
        next(packets)
        source.close()
        assert list(packets) == []
        with pytest.raises(SourceError, match="not open"):
            next(source.packets())


def test_what_is_closed_while_it_is_opened_is_not_called_a_bad_camera(gst_server: GstServer) -> None:
    source = RtspSource(gst_server.url("stops"), clock=SystemClock())
    source.close()
    with pytest.raises(SourceError, match="closed while it was being opened"):
        source.open()


@pytest.mark.parametrize(
    ("name", "fault", "values", "error"),
    [
        ("closes", "close", {}, SourceError),
        ("jumps", "jump", {"seconds": -30}, Discontinuity),
    ],
)
def test_what_ends_an_epoch(
    gst_server: GstServer, name: str, fault: str, values: dict[str, float], error: type[Exception]
) -> None:
    with camera(gst_server.url(name)) as (source, _):
        packets = source.packets()
        next(packets)
        gst_server.fault(name, fault, **values)
        with pytest.raises(error):
            run_out(packets)


def test_a_change_of_size_ends_the_epoch_and_the_next_has_the_new_size(
    gst_server: GstServer, clips: SimpleNamespace
) -> None:
    with camera(gst_server.url("switches")) as (source, _):
        packets = source.packets()
        next(packets)
        gst_server.fault("switches", "switch", clip=clips.wide)
        with pytest.raises(StreamChanged, match="from 320x180 to 480x272"):
            run_out(packets)
    with camera(gst_server.url("switches")) as (_, opened):
        assert (opened.info.width, opened.info.height) == (480, 272)


def test_garbage_for_parameter_sets_is_marked_and_survived(gst_server: GstServer) -> None:
    with camera(gst_server.url("garbage")) as (source, opened):
        gst_server.fault("garbage", "sets")
        keyframes = [p.corrupt for p in read(source, after(4.5)) if p.keyframe]
    assert keyframes[0] is False
    assert keyframes.count(True) >= 2  # by chance the old sets may still serve
    assert opened.info.width == 320


def test_flipped_bits_are_survived(gst_server: GstServer) -> None:
    with camera(gst_server.url("flips")) as (source, opened):
        gst_server.fault("flips", "flip", share=0.5)
        packets = read(source, after(3))
    decoder = LazyDecoder(opened.info)
    shown = [f for p in packets for f in decoder.decode(p)] + decoder.drain()
    assert len(packets) == 31
    assert len(shown) > 10


def test_lost_pictures_leave_a_gap_in_media_time(gst_server: GstServer) -> None:
    with camera(gst_server.url("loses")) as (source, _):
        gst_server.fault("loses", "lose", units=7)
        packets = read(source, after(2.5))
    assert sorted({b.dts - a.dts for a, b in pairwise(packets)}) == [9000, 8 * 9000]
