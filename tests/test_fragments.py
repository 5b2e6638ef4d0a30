"""Following a file that grows: only whole fragments, and everything in the end."""

import io
import os
import shutil
from base64 import b64encode
from pathlib import Path

import av
import pytest

from events.errors import StorageError
from storage.fragments import codec_string, fragments, init_segment, live_offset, locate, whole_length
from storage.segments import SegmentWriter
from tests.clipmaker import MemoryIndex, make_clip, packets_of

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def segment(tmp_path: Path, **kind: object) -> Path:
    info, packets = packets_of(make_clip(tmp_path / "clip.mp4", **kind))  # type: ignore[arg-type]
    index = MemoryIndex()
    writer = SegmentWriter(tmp_path / "footage", "gate", "sub", 7, info, index)
    for packet in packets:
        writer.write(packet)
    writer.close()
    return tmp_path / "footage" / index.segments()[0].path


def test_a_tail_sees_whole_fragments_only_and_all_of_them(tmp_path: Path) -> None:
    data = segment(tmp_path, gop=25).read_bytes()
    growing = tmp_path / "growing"
    init, offset, got = b"", 0, b""
    for end in range(0, len(data) + 997, 997):
        growing.write_bytes(data[:end])
        init = init or init_segment(growing)
        offset, more = fragments(growing, offset)
        got += more
        if more:
            with av.open(io.BytesIO(init + got), "r") as so_far:
                assert sum(1 for _ in so_far.decode(video=0)) % 5 == 0  # whole fragments: 1 s or 0.5 s
    assert init + got == data
    assert whole_length(growing) == len(data)


def test_a_limit_answers_in_parts(tmp_path: Path) -> None:
    path = segment(tmp_path)
    offset, got, calls = 0, b"", 0
    while True:
        offset, more = fragments(path, offset, limit=1)
        if not more:
            break
        got += more
        calls += 1
    assert calls == 4
    assert init_segment(path) + got == path.read_bytes()


def test_a_live_view_begins_at_the_last_keyframe(tmp_path: Path) -> None:
    path = segment(tmp_path, seconds=6, gop=25)  # keyframes at 0, 2.5 and 5 s; fragments of at most 1 s
    start = live_offset(path)
    _, data = fragments(path, start)
    with av.open(io.BytesIO(init_segment(path) + data), "r") as tail:
        packets = [p for p in tail.demux(video=0) if p.size]
    assert packets[0].is_keyframe
    assert packets[0].pts == 5 * 90_000
    assert len(packets) == 10


def test_an_empty_or_foreign_file_has_no_fragments(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"\0\0\0\1", b"hello, this is no film at all", bytes(100)):
        path.write_bytes(content)
        assert (init_segment(path), fragments(path), whole_length(path), live_offset(path)) == (
            b"",
            (0, b""),
            0,
            0,
        )


@pytest.mark.parametrize(("codec", "expected"), [("libx264", r"avc1.64000B"), ("libx265", "hvc1.1.6.L60.90")])
def test_codec_string(tmp_path: Path, codec: str, expected: str) -> None:
    assert codec_string(init_segment(segment(tmp_path, codec=codec))) == expected


def test_codec_string_of_nothing_is_an_error() -> None:
    with pytest.raises(StorageError, match=r"no H\.264"):
        codec_string(b"")


def test_locate_finds_the_file_under_either_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(StorageError, match="is gone"):
        locate(path)
    part = tmp_path / "a.mp4.part"
    part.touch()
    assert locate(path) == part
    part.rename(path)
    assert locate(path) == path


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian package chromium, or CHROMIUM=path)")
def test_a_browser_plays_the_tail(tmp_path: Path) -> None:
    """Media Source Extensions take the init segment and, from the last keyframe on, the fragments."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the test extra: playwright")
    path = segment(tmp_path, seconds=6, gop=25, b_frames=2)
    init, (_, tail) = init_segment(path), fragments(path, live_offset(path))
    script = """async ([codecs, parts]) => {
        const type = `video/mp4; codecs="${codecs}"`;
        if (!MediaSource.isTypeSupported(type)) return 'unsupported ' + type;
        const video = document.createElement('video');
        video.muted = true;
        const source = new MediaSource();
        video.src = URL.createObjectURL(source);
        await new Promise(done => source.onsourceopen = done);
        const buffer = source.addSourceBuffer(type);
        for (const part of parts) {
            buffer.appendBuffer(Uint8Array.from(atob(part), c => c.charCodeAt(0)));
            await new Promise(done => buffer.onupdateend = done);
        }
        source.endOfStream();
        video.currentTime = buffer.buffered.start(0);
        await new Promise((done, fail) => {
            video.onseeked = done; video.onerror = () => fail(video.error.message);
        });
        await video.play();
        await new Promise(done => video.onended = done);
        return [buffer.buffered.start(0), buffer.buffered.end(0), video.videoWidth];
    }"""
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        parts = [b64encode(data).decode() for data in (init, tail)]
        start, end, width = page.evaluate(script, [codec_string(init), parts])
        browser.close()
    assert start == pytest.approx(5.2, abs=0.15)
    assert end == pytest.approx(6.1, abs=0.15)
    assert width == 320
