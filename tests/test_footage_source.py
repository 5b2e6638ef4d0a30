"""A video file is the same kind of source as a camera."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from events.clock import ManualClock
from events.errors import SourceError, UnsupportedStream
from ingest.decode import LazyDecoder
from ingest.footage import FootageSource
from tests.conftest import shared

START = 1_750_000_000_000_000


@pytest.mark.parametrize("clip", ["plain", "bframes", "hevc"])
def test_packets_have_media_time_from_zero_and_capture_time_from_the_start(
    clips: SimpleNamespace, clip: str
) -> None:
    source = FootageSource(getattr(clips, clip), start_us=START)
    opened = source.open()
    assert (opened.info.width, opened.info.height, opened.info.fps) == (320, 180, 10)
    assert (opened.anchor.source, opened.anchor.pts, opened.anchor.capture_us) == ("file", 0, START)
    packets = list(source.packets())
    assert packets[0].dts == 0
    assert packets[0].keyframe
    assert all(b.dts > a.dts for a, b in pairwise(packets))
    assert all(p.pts >= p.dts for p in packets)
    assert all(p.capture_us == START + p.pts * 100 // 9 for p in packets)
    decoder = LazyDecoder(opened.info)
    frames = [f for p in packets for f in decoder.decode(p)] + decoder.drain()
    assert [f.pts for f in frames] == sorted(p.pts for p in packets)
    assert decoder.errors == 0


def test_several_files_are_one_stream(clips: SimpleNamespace) -> None:
    once = FootageSource(clips.plain)
    twice = FootageSource([clips.plain, clips.plain])
    once.open()
    twice.open()
    single, double = list(once.packets()), list(twice.packets())
    assert len(double) == 2 * len(single)
    assert {b.dts - a.dts for a, b in pairwise(double)} == {9000}


def test_files_of_different_size_are_not_one_stream(clips: SimpleNamespace) -> None:
    with pytest.raises(UnsupportedStream, match=r"wide\.mp4 has another"):
        FootageSource([clips.plain, clips.wide]).open()


def test_pacing_follows_the_clock(clips: SimpleNamespace) -> None:
    clock = ManualClock()
    source = FootageSource(clips.plain, clock=clock, speed=2.0)
    source.open()
    times = [(p.dts / 90_000, clock.monotonic()) for p in source.packets()]
    assert all(at == pytest.approx(dts / 2, abs=0.001) for dts, at in times)


def test_closing_ends_the_packets(clips: SimpleNamespace) -> None:
    source = FootageSource(clips.plain)
    source.open()
    packets = source.packets()
    next(packets)
    source.close()
    source.close()
    assert list(packets) == []


def test_another_codec_is_taken_only_when_told() -> None:
    path = shared("footage/vtest.avi")
    with pytest.raises(UnsupportedStream, match=r"msmpeg4.*H\.264"):
        FootageSource(path).open()
    source = FootageSource(path, any_codec=True)
    opened = source.open()
    decoder = LazyDecoder(opened.info)
    packets = list(source.packets())
    frames = [f.pts for p in packets for f in decoder.decode(p)] + [f.pts for f in decoder.drain()]
    assert frames == [n * 9000 for n in range(795)]


def test_bad_files_are_named(tmp_path: Path, clips: SimpleNamespace) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4"):
        FootageSource(tmp_path / "none.mp4").open()
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    with pytest.raises(SourceError, match=r"text\.mp4 cannot be read"):
        FootageSource(text).open()
    with pytest.raises(SourceError, match="open the source"):
        next(FootageSource(clips.plain).packets())
    with pytest.raises(SourceError, match="at least one"):
        FootageSource([])
