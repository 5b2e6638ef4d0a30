"""Clips: the right span, playable, and nobody in them who should be hidden."""

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from events.errors import StorageError
from events.media import TICKS, Anchor
from ingest.packets import Packet
from storage import trace
from storage.clips import Clip, cut_clip, cut_pixelated
from storage.segments import SegmentWriter
from tests.clipmaker import FPS, START_US, MemoryIndex, make_clip, packets_of, walker
from tests.test_pictures import fine

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        "h264": make_clip(folder / "h264.mp4", seconds=8),
        "h264-b": make_clip(folder / "b.mp4", seconds=8, b_frames=3),
        "h265": make_clip(folder / "h265.mp4", seconds=8, codec="libx265"),
    }


def footage(root: Path, clip: Path, annexb: bool = True, epochs: tuple[int, ...] = (7,)) -> MemoryIndex:
    """The clip in segments of 2 s; each epoch repeats it, 10 s later."""
    index = MemoryIndex()
    for n, epoch in enumerate(epochs):
        info, packets = packets_of(clip, annexb)
        writer = SegmentWriter(root, "gate", "sub", epoch, info, index, segment_s=2)
        for p in packets:
            capture_us = p.capture_us + n * 10_000_000
            writer.write(Packet(p.pts, p.dts, capture_us, p.keyframe, False, p.size, p.av))
        writer.close()
    return index


def us(s: float) -> int:
    return START_US + round(s * 1e6)


def first_capture(index: MemoryIndex) -> int:
    return index.segments()[0].start_us


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def trace_of(root: Path, index: MemoryIndex, blind: range = range(0)) -> None:
    """Traces as the loop writes them: a look at every second picture, except in `blind`."""
    start = first_capture(index)
    for row in index.segments():
        writer = trace.TraceWriter(root / row.trace_path)
        anchor = Anchor(pts=index.segments()[0].first_pts, capture_us=start, source="file", uncertainty_us=0)
        writer.append(
            trace.Open(
                epoch=row.epoch,
                pts=row.first_pts,
                model="",
                settings="",
                width=320,
                height=180,
                anchors=(anchor,),
            )
        )
        n = round((row.start_us - start) * FPS / 1e6)
        for k in range(n, n + row.packets):
            pts = row.first_pts + (k - n) * TICKS // FPS
            x1, y1, x2, y2 = walker(k)
            if k in blind:
                writer.append(trace.Shed(from_pts=pts, to_pts=pts + TICKS // FPS, why="packets"))
            elif k % 2 == 0:
                track = (1, "person", 0.9, float(x1), float(y1), float(x2), float(y2), True)
                writer.append(trace.Frame(pts=pts, tracks=(track,)))
        writer.append(trace.Reached(pts=row.last_pts))
        writer.close()


@pytest.mark.parametrize("kind", ["h264", "h264-b"])
@pytest.mark.parametrize("annexb", [False, True], ids=["mp4", "annexb"])
def test_a_clip_holds_the_span_over_the_borders_of_segments(
    clips: dict[str, Path], tmp_path: Path, kind: str, annexb: bool
) -> None:
    index = footage(tmp_path, clips[kind], annexb)
    begin = first_capture(index)
    clip = cut_clip(tmp_path, index.segments(), begin + 1_500_000, begin + 6_250_000, tmp_path / "out.mp4")
    assert clip.start_us == begin + 1_000_000  # the keyframe before
    assert begin + 6_200_000 <= clip.end_us <= begin + 6_700_000  # what was decoded by then
    shown = frames(clip.path)
    assert len(shown) == clip.pictures
    times = [f.time for f in shown]
    assert times == pytest.approx([n / FPS for n in range(len(times))], abs=0.002)
    original = frames(clips[kind])[10 : 10 + len(shown)]
    same = [(a.to_ndarray() == b.to_ndarray()).all() for a, b in zip(shown, original, strict=True)]
    assert all(same[:-4])  # the last may lack the picture they are predicted from
    data = clip.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert not list(tmp_path.glob("*.tmp"))


def test_transcoding_cuts_exactly(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h265"])
    begin = first_capture(index)
    clip = cut_clip(
        tmp_path, index.segments(), begin + 1_500_000, begin + 6_250_000, tmp_path / "out.mp4", transcode=True
    )
    assert (clip.start_us, clip.end_us, clip.pictures) == (begin + 1_500_000, begin + 6_200_000, 48)
    shown = frames(clip.path)
    assert len(shown) == 48
    assert shown[0].time == 0
    original = frames(clips["h265"])[15:63]
    assert (
        np.mean(
            [
                np.abs(a.to_ndarray().astype(int) - b.to_ndarray()).mean()
                for a, b in zip(shown, original, strict=True)
            ]
        )
        < 3
    )


def test_h265_is_not_cut_as_it_is(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h265"])
    with pytest.raises(StorageError, match=r"browsers cannot play.*transcoded"):
        cut_clip(tmp_path, index.segments(), us(1), us(2), tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("transcode", [False, True])
def test_a_clip_over_a_reconnection_shows_the_gap(
    clips: dict[str, Path], tmp_path: Path, transcode: bool
) -> None:
    index = footage(tmp_path, clips["h264-b"], epochs=(7, 8))
    begin = first_capture(index)
    clip = cut_clip(
        tmp_path,
        index.segments(),
        begin + 6_000_000,
        begin + 12_000_000,
        tmp_path / "out.mp4",
        transcode=transcode,
    )
    times = [f.time for f in frames(clip.path)]
    steps = np.diff(times)
    assert steps.max() == pytest.approx(2.1, abs=0.01)
    assert sorted(steps)[-2] < 0.15
    assert times[-1] == pytest.approx(6, abs=0.35)


def test_a_changed_format_has_to_be_transcoded(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h264"])
    info, packets = packets_of(clips["h264-b"])
    writer = SegmentWriter(tmp_path, "gate", "sub", 9, info, index)
    for p in packets:
        writer.write(Packet(p.pts, p.dts, p.capture_us + 10_000_000, p.keyframe, False, p.size, p.av))
    writer.close()
    with pytest.raises(StorageError, match="transcoded"):
        cut_clip(tmp_path, index.segments(), us(6), us(12), tmp_path / "out.mp4")
    clip = cut_clip(tmp_path, index.segments(), us(6), us(12), tmp_path / "out.mp4", transcode=True)
    assert len(frames(clip.path)) == clip.pictures > 30


def test_a_clip_can_be_cut_while_the_segment_is_written(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"], annexb=True)
    index = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index)
    for p in packets[:45]:
        writer.write(p)
    clip = cut_clip(tmp_path, index.segments(), us(2), us(60), tmp_path / "out.mp4")
    assert clip.pictures == 20  # from 2 s to the end of the last whole fragment
    writer.close()


def test_no_footage_there_says_when(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h264"])
    with pytest.raises(StorageError, match=r"no footage between 2025-06-15"):
        cut_clip(tmp_path, index.segments(), us(100), us(110), tmp_path / "out.mp4")


def hidden(clip: Clip, first: int) -> list[bool]:
    """Whether the walker cannot be made out, picture by picture."""
    return [fine(f.to_ndarray(format="gray"), walker(n)) < 10 for n, f in enumerate(frames(clip.path), first)]


def wall_is_kept(frame: av.VideoFrame) -> bool:
    """The striped wall, where nobody walks, can still be seen."""
    return fine(frame.to_ndarray(format="gray"), (0, 5, 320, 25)) > 20


@pytest.mark.parametrize("kind", ["h264-b", "h265"])
def test_people_are_hidden_in_every_picture(clips: dict[str, Path], tmp_path: Path, kind: str) -> None:
    index = footage(tmp_path, clips[kind])
    trace_of(tmp_path, index)
    begin = first_capture(index)
    clip = cut_pixelated(
        tmp_path, index.segments(), begin + 1_000_000, begin + 6_000_000, tmp_path / "out.mp4"
    )
    assert clip.pictures == 51
    assert clip.hidden_whole == 0
    assert all(hidden(clip, 10))
    assert all(map(wall_is_kept, frames(clip.path)))
    plain = cut_clip(
        tmp_path,
        index.segments(),
        begin + 1_000_000,
        begin + 6_000_000,
        tmp_path / "plain.mp4",
        transcode=True,
    )
    assert not any(hidden(plain, 10))


def test_without_a_trace_everything_is_hidden(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h264"])
    clip = cut_pixelated(tmp_path, index.segments(), us(1), us(3), tmp_path / "out.mp4")
    assert clip.hidden_whole == clip.pictures == 21
    assert all(hidden(clip, 10))
    assert not any(map(wall_is_kept, frames(clip.path)))


def test_what_was_shed_is_hidden_whole(clips: dict[str, Path], tmp_path: Path) -> None:
    index = footage(tmp_path, clips["h264"])
    trace_of(tmp_path, index, blind=range(30, 40))
    clip = cut_pixelated(tmp_path, index.segments(), us(1), us(6), tmp_path / "out.mp4")
    assert clip.hidden_whole == 10
    assert all(hidden(clip, 10))


def test_the_main_stream_is_hidden_by_the_sub_streams_traces(clips: dict[str, Path], tmp_path: Path) -> None:
    sub = footage(tmp_path, clips["h264"])
    trace_of(tmp_path, sub)
    info, packets = packets_of(clips["h264-b"], annexb=True, offset=5 * TICKS)
    main = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "main", 77, info, main)
    for p in packets:
        delay_us = packets[0].capture_us - START_US  # B-frames come a little later
        writer.write(Packet(p.pts, p.dts, p.capture_us - delay_us, p.keyframe, False, p.size, p.av))
    writer.close()
    clip = cut_pixelated(
        tmp_path,
        main.segments(),
        us(2),
        us(5),
        tmp_path / "out.mp4",
        traces=[tmp_path / row.trace_path for row in sub.segments()],
    )
    assert clip.hidden_whole == 0
    assert all(hidden(clip, 20))


@pytest.mark.parametrize("skew_us", [-900_000, -400_000, 400_000, 900_000])
def test_the_main_streams_clock_may_be_off_by_what_its_anchors_allow(
    clips: dict[str, Path], tmp_path: Path, skew_us: int
) -> None:
    """Each stream has its own anchors: what the sub-stream saw is at another time in the main one."""
    sub = footage(tmp_path, clips["h264"])
    trace_of(tmp_path, sub)
    info, packets = packets_of(clips["h264"], annexb=True)
    main = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "main", 77, info, main)
    for p in packets:
        writer.write(Packet(p.pts, p.dts, p.capture_us + skew_us, p.keyframe, False, p.size, p.av))
    writer.close()
    traces = [tmp_path / row.trace_path for row in sub.segments()]
    start = first_capture(sub) + 2_000_000
    clip = cut_pixelated(
        tmp_path, main.segments(), start, start + 3_000_000, tmp_path / "out.mp4", traces=traces
    )
    assert clip.hidden_whole == 0
    assert all(hidden(clip, 20 - skew_us // 100_000))
    assert all(map(wall_is_kept, frames(clip.path)))


def test_a_streams_own_traces_need_no_room_for_clocks(clips: dict[str, Path], tmp_path: Path) -> None:
    """At the end of what was analysed nothing is hidden whole."""
    index = footage(tmp_path, clips["h264"])
    trace_of(tmp_path, index)
    traces = [tmp_path / row.trace_path for row in index.segments()]
    end = index.segments()[-1].end_us
    clip = cut_pixelated(
        tmp_path, index.segments(), end - 1_000_000, end, tmp_path / "out.mp4", traces=traces
    )
    assert clip.hidden_whole == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian package chromium, or CHROMIUM=path)")
def test_clips_play_in_a_browser(clips: dict[str, Path], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the test extra: playwright")
    for kind in ("h264-b", "h265"):
        index = footage(tmp_path / kind, clips[kind])
        trace_of(tmp_path / kind, index)
        if kind == "h264-b":
            cut_clip(tmp_path / kind, index.segments(), us(2.3), us(5), tmp_path / "plain.mp4")
        cut_pixelated(tmp_path / kind, index.segments(), us(2.2), us(5), tmp_path / f"{kind}.mp4")
    script = """async src => {
        const video = document.createElement('video');
        video.muted = true; video.src = src; video.playbackRate = 8;
        document.body.append(video);
        await video.play();
        await new Promise((done, fail) => {
            video.onended = done;
            video.onerror = () => fail(video.error.message);
        });
        return [video.videoWidth, video.videoHeight, video.duration,
                video.getVideoPlaybackQuality().totalVideoFrames];
    }"""
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        (tmp_path / "page.html").write_text("<body></body>")
        page.goto((tmp_path / "page.html").as_uri())
        for name in ("plain", "h264-b", "h265"):
            width, height, seconds, shown = page.evaluate(script, f"{name}.mp4")
            assert (width, height) == (320, 180)
            assert seconds == pytest.approx(3, abs=0.3)
            assert shown >= 20
        browser.close()
