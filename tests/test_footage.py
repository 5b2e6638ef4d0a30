"""The demo's footage: found, fetched and checked, and re-encoded as a camera would send it."""

import hashlib
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from cli import footage
from cli.footage import VIEWS, View, cache_folder, demo_clips, encode, find_clip
from events.errors import ConfigError

RATE = 10
FRAMES = 50


def quiet(what: str, done: float) -> None:
    assert what
    assert 0 <= done <= 1


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 s of 320x240 whose brightness tells the frame: 40 + 3n on the left half, 20 on the right one."""
    path = tmp_path_factory.mktemp("ramp") / "ramp.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for n in range(FRAMES):
            picture = np.full((240, 320, 3), 20, np.uint8)
            picture[:, :160] = 40 + 3 * n
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def brightness(path: Path, part: slice = slice(None)) -> list[float]:
    """Mean grey level of the given columns, frame by frame."""
    with av.open(str(path)) as container:
        return [float(f.to_ndarray(format="gray")[:, part].mean()) for f in container.decode(video=0)]


def view(**changes: object) -> View:
    whole = View(camera="test", crop=(0, 0, 1, 1), main=(320, 240), sub=(160, 120), gop_s=2, start_s=0)
    return msgspec.structs.replace(whole, **changes)


def test_the_users_own_video_makes_one_camera_with_two_streams(ramp: Path, tmp_path: Path) -> None:
    (clip,) = demo_clips(tmp_path / "cache", ramp, quiet)
    assert clip.camera == "own"
    assert clip.sub is not None
    for path in (clip.main, clip.sub):
        levels = brightness(path, slice(0, 40))
        assert len(levels) == FRAMES
        assert all(b > a for a, b in pairwise(levels)), "frames lost or out of order"
    with av.open(str(clip.main)) as main, av.open(str(clip.sub)) as sub:
        assert (main.streams.video[0].width, main.streams.video[0].height) == (320, 240)
        assert (sub.streams.video[0].width, sub.streams.video[0].height) == (320, 240), "never enlarged"


def test_a_stream_is_what_a_camera_sends(ramp: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.part"
    encode(ramp, out, view(), (160, 120), lambda _: None)
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.profile) == ("h264", "Main")
        assert (video.width, video.height, video.average_rate) == (160, 120, RATE)
        assert video.codec_context.pix_fmt == "yuv420p"
        packets = [p for p in container.demux(video) if p.size]
    assert [n for n, p in enumerate(packets) if p.is_keyframe] == [0, 20, 40], "a keyframe every 2 s"
    assert all(p.pts == p.dts for p in packets), "no B-frames"
    for p in packets:
        if p.is_keyframe:
            types = nal_types(bytes(p))
            assert types.index(7) < types.index(8) < types.index(5), "parameter sets before each keyframe"


def nal_types(unit: bytes) -> list[int]:
    """H.264 NAL unit types of an access unit with four-byte lengths."""
    types, at = [], 0
    while at < len(unit):
        size = int.from_bytes(unit[at : at + 4], "big")
        types.append(unit[at + 4] & 31)
        at += 4 + size
    return types


def test_a_view_begins_at_its_moment_and_comes_round(ramp: Path, tmp_path: Path) -> None:
    encode(ramp, tmp_path / "out.part", view(start_s=3), (320, 240), lambda _: None)
    levels = brightness(tmp_path / "out.part", slice(0, 120))
    assert len(levels) == FRAMES
    straight = brightness(ramp, slice(0, 120))
    assert np.allclose(levels, straight[30:] + straight[:30], atol=3)


def test_a_view_shows_its_part_of_the_picture(ramp: Path, tmp_path: Path) -> None:
    encode(ramp, tmp_path / "out.part", view(crop=(0.5, 0.25, 0.5, 0.5)), (160, 120), lambda _: None)
    assert max(brightness(tmp_path / "out.part")) < 30, "the dark right half alone"


def test_clips_are_made_once(ramp: Path, tmp_path: Path) -> None:
    (first,) = demo_clips(tmp_path, ramp, quiet)
    before = first.main.stat().st_mtime_ns
    (again,) = demo_clips(tmp_path, ramp, lambda what, _: pytest.fail(f"{what} again"))
    assert again == first
    assert again.main.stat().st_mtime_ns == before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("content", [b"", b"this is no video", None])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "holiday.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"FOOTAGE=.*holiday\.mp4"):
        demo_clips(tmp_path / "cache", path, quiet)


def test_the_cache_follows_the_xdg_specification(tmp_path: Path) -> None:
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "linli" / "footage"
    for unset in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert cache_folder(unset) == Path.home() / ".cache" / "linli" / "footage"


def test_the_views_keep_the_pictures_shape() -> None:
    assert len({v.camera for v in VIEWS}) == len(VIEWS) == 3
    for v in VIEWS:
        x, y, w, h = v.crop
        assert 0 <= x <= x + w <= 1
        assert 0 <= y <= y + h <= 1
        for width, height in (v.main, v.sub):
            assert width * h * 576 == pytest.approx(height * w * 768, rel=0.01)
            assert width % 2 == height % 2 == 0


# --- fetching: the real dpkg-deb on a package made here, and an apt-get that has it -------------------


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(footage, "INSTALLED", tmp_path / "absent")
    monkeypatch.setattr(footage, "NEARBY", tmp_path / "absent")


def package(folder: Path, content: bytes) -> None:
    """An `apt-get` in `folder`, which knows one package that carries `content` as vtest.avi."""
    tree = folder / "tree"
    data = tree / "usr/share/doc/opencv-doc/examples/data"
    data.mkdir(parents=True)
    (data / "vtest.avi").write_bytes(content)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: opencv-doc\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: test\n"
    )
    deb = folder / "opencv-doc_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    apt = folder / "apt-get"
    apt.write_text(f"""#!/bin/sh
case "$*" in
  *--print-uris*) echo "'http://example.org/{deb.name}' {deb.name} {deb.stat().st_size} SHA256:0" ;;
  *download*) cp {deb} . ;;
esac
""")
    apt.chmod(0o755)


needs_dpkg = pytest.mark.skipif(not Path("/usr/bin/dpkg-deb").exists(), reason="not Debian: no dpkg-deb")


@needs_dpkg
@pytest.mark.usefixtures("nowhere")
def test_the_clip_is_fetched_from_debians_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = b"moving pictures" * 1000
    package(tmp_path, content)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(footage, "CLIP_SHA256", hashlib.sha256(content).hexdigest())
    cache = tmp_path / "cache"
    cache.mkdir()
    seen: list[float] = []
    assert find_clip(cache, lambda _, done: seen.append(done)).read_bytes() == content
    assert seen[-1] == 1
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_clip(cache, quiet).read_bytes() == content, "the second time without apt-get"


@needs_dpkg
@pytest.mark.usefixtures("nowhere")
def test_another_clip_of_that_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package(tmp_path, b"another clip")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "vtest.avi").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="FOOTAGE="):
        find_clip(cache, quiet)
    assert [p.name for p in cache.iterdir()] == ["vtest.avi"], "nothing half fetched is left"


@pytest.mark.usefixtures("nowhere")
def test_without_apt_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"opencv-doc.*make demo FOOTAGE="):
        demo_clips(tmp_path / "cache", None, quiet)


@pytest.mark.usefixtures("nowhere")
def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(ConfigError, match=r"sources\.list.*FOOTAGE="):
        find_clip(tmp_path, quiet)
