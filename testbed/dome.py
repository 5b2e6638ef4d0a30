"""A simulated dome: a window that pans, tilts and zooms over real footage on a scripted tour, and the truth.

What it cannot show: parallax (the window moves over a flat picture), refocusing after a move, the mechanics'
overshoot, and detail beyond the clip's own pixels. Motion blur is made by averaging positions within a
frame's exposure. Everything is drawn from `seed`: the same spec and libraries give the same file.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import pi, sin
from pathlib import Path
from typing import Any, Literal, cast

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.sprites import Image

EXPOSURE = 0.3
"""Share of a frame's time for which the shutter is open: while the window moves, that much is blurred."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the dome rests, and how it gets there."""

    preset: str
    """Empty: a place that is no preset."""
    x: float
    y: float
    """Middle of the window, fractions of the clip's picture."""
    width: float
    """Of the window, as a fraction of the clip's width; smaller is zoomed in."""
    dwell_s: float
    move_s: float = 1.0
    """Time that the way to here takes."""


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    """Something large drives through the picture and stops there for a while; it is not there while the
    dome moves (it is painted on the picture, and would go with it)."""

    start_s: float
    cover: float = 0.35
    """Share of the picture's width that it covers, over its whole height."""
    cross_s: float = 3.0
    """Time for the way in and out together."""
    stay_s: float = 4.0
    """Time that it stands in the middle."""


class DomeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tour and how it is filmed."""

    stops: tuple[Stop, ...]
    """In order, over and over until `seconds` are full."""
    seconds: float
    size: tuple[int, int] = (640, 360)
    gop_s: float = 1.0
    seed: int = 1
    jitter: float = 0.004
    """Standard deviation of where a return ends, as a fraction of the window's width; the zoom's is half."""
    noise: float = 2.0
    """Standard deviation of the sensor noise in grey levels."""
    light: float = 0.2
    """Amplitude of a slow change of brightness, as a share of it."""
    light_s: float = 45.0
    """Its period."""
    steps: tuple[tuple[float, float], ...] = ()
    """Seconds at which the exposure jumps, and to how much of what it was at the beginning."""
    buses: tuple[Bus, ...] = ()
    fixed: str = ""
    """Stay at this preset, without jitter, all the time: what a fixed camera would have seen."""
    first: int = 0
    """The clip's frame that is shown first; it is played in a loop."""


class Pose(msgspec.Struct, frozen=True, kw_only=True):
    """The truth of one frame."""

    state: Literal["settled", "moving"]
    preset: str
    """Where it rests; empty while moving and at a place that is no preset."""
    x: float
    y: float
    width: float
    """The window as in `Stop`."""
    rests_s: float
    """For how long it has rested; 0 while moving."""


def plan(spec: DomeSpec, fps: float) -> list[Pose]:
    """The truth, frame by frame."""
    rng = np.random.default_rng(spec.seed)
    frames = round(spec.seconds * fps)
    if spec.fixed:
        stop = next(s for s in spec.stops if s.preset == spec.fixed)
        return [_rest(stop, (stop.x, stop.y, stop.width), n / fps) for n in range(frames)]
    poses: list[Pose] = []
    here: tuple[float, float, float] | None = None
    turn = 0
    while len(poses) < frames:
        stop = spec.stops[turn % len(spec.stops)]
        there = _landing(rng, stop, spec.jitter)
        if here is not None:
            n = max(1, round(stop.move_s * fps))
            poses += [_moving(here, there, k / n) for k in range(1, n)]
        rest = round(stop.dwell_s * fps)
        poses += [_rest(stop, there, k / fps) for k in range(rest)]
        here, turn = there, turn + 1
    return poses[:frames]


def _landing(rng: np.random.Generator, stop: Stop, jitter: float) -> tuple[float, float, float]:
    """Where a return to the stop ends; the first landing is as far off as any."""
    dx, dy, dz = np.clip(rng.normal(0, 1, 3), -2, 2) * jitter
    return (
        stop.x + float(dx) * stop.width,
        stop.y + float(dy) * stop.width,
        stop.width * (1 + float(dz) / 2),
    )


def _rest(stop: Stop, at: tuple[float, float, float], rests_s: float) -> Pose:
    return Pose(state="settled", preset=stop.preset, x=at[0], y=at[1], width=at[2], rests_s=rests_s)


def _moving(a: tuple[float, float, float], b: tuple[float, float, float], share: float) -> Pose:
    """On the way: motors run up and slow down (a smooth step); the zoom's logarithm likewise."""
    eased = share * share * (3 - 2 * share)
    x, y = (a[i] + (b[i] - a[i]) * eased for i in (0, 1))
    return Pose(state="moving", preset="", x=x, y=y, width=a[2] * (b[2] / a[2]) ** eased, rests_s=0.0)


def film(out: Path, source: Sequence[Image], fps: Fraction, spec: DomeSpec) -> list[Pose]:
    """Write what the dome sees of a clip (`read_clip`) to `out`: MP4, H.264, closed GOPs, no B-frames.

    Answers the truth, frame by frame.
    """
    poses = plan(spec, float(fps))
    gop = round(spec.gop_s * fps)
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0"
    options = {"preset": "veryfast", "crf": "24", "x264-params": params}
    with av.open(str(out), "w", format="mp4") as container:
        stream = cast(Any, container.add_stream("libx264", rate=fps, options=options))
        stream.width, stream.height = spec.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / fps
        for n, planes in enumerate(pictures(source, spec, poses, float(fps))):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = n, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return poses


def read_clip(clip: Path) -> tuple[list[Image], Fraction]:
    """All frames of a clip as planar YUV 4:2:0, [h * 3 / 2, w], and its rate.

    Raises:
        FileNotFoundError: the clip is missing.
    """
    if not clip.exists():
        raise FileNotFoundError(clip)
    with av.open(str(clip)) as container:
        rate = container.streams.video[0].average_rate or Fraction(10)
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    return cast(list[Image], frames), Fraction(rate)


def steadied(source: Sequence[Image]) -> list[Image]:
    """The frames without the shake and drift of a camera that was not fixed: shifts, against the first.

    Optical flow at corners (Lucas and Kanade's in pyramids, Bouguet 2001) of pictures without shading:
    another method than the one that is to be tested with what comes out.
    """
    rows = source[0].shape[0] * 2 // 3
    first = _relief(source[0][:rows])
    corners = cv2.goodFeaturesToTrack(first, 800, 0.01, 8)
    shift = np.zeros(2, np.float32)
    out = []
    for planes in source:
        now = _relief(planes[:rows])
        found, ok, _ = cv2.calcOpticalFlowPyrLK(
            first, now, corners, corners + shift, maxLevel=2, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
        )
        moves = (found - corners)[ok[:, 0] == 1][:, 0]
        same = np.abs(moves - np.median(moves, axis=0)).max(axis=1) < 1.5
        if same.mean() > 0.2:
            shift = moves[same].mean(axis=0)
        wide, high = planes.shape[1], rows
        x, y = 0.5 + float(shift[0]) / wide, 0.5 + float(shift[1]) / high
        out.append(_window(planes, x, y, 1.0, (wide, high)))
    return out


def _relief(luma: Image) -> Image:
    real = luma.astype(np.float32)
    return np.clip(128 + 6 * (real - cv2.GaussianBlur(real, (0, 0), 8)), 0, 255).astype(np.uint8)


def pictures(source: Sequence[Image], spec: DomeSpec, poses: list[Pose], fps: float) -> Iterator[Image]:
    """Planar YUV 4:2:0 of what the dome sees, frame by frame; `source` as `read_clip` gives it."""
    rng = np.random.default_rng(spec.seed + 1000)
    w, h = spec.size
    field = np.rint(rng.normal(0, spec.noise, (h + 257, w + 257))).astype(np.int16)
    bus = _livery(rng, h)
    for n, pose in enumerate(poses):
        planes = source[(spec.first + n) % len(source)]
        before = poses[n - 1] if n else pose
        view = _view(planes, before, pose, spec.size)
        for one in spec.buses if pose.state == "settled" else ():
            _drive(view, one, bus, n / fps, spec.size)
        y, x = rng.integers(0, 257, 2)
        luma = view[:h].astype(np.float32) * _light(spec, n / fps)
        noisy = luma + field[y : y + h, x : x + w]
        view[:h] = np.clip(noisy, 0, 255).astype(np.uint8)
        yield view


def _light(spec: DomeSpec, at_s: float) -> float:
    step = 1.0
    for start_s, gain in spec.steps:
        step = gain if at_s >= start_s else step
    return step * (1 + spec.light * sin(2 * pi * at_s / spec.light_s))


def _view(planes: Image, before: Pose, pose: Pose, size: tuple[int, int]) -> Image:
    """The window at `pose`; blurred by the way from `before` while the shutter was open."""
    view = _window(planes, pose.x, pose.y, pose.width, size)
    if pose.state != "moving":
        return view
    exposures = [view.astype(np.float32)]
    for k in (1, 2):
        s = EXPOSURE * k / 2
        exposures.append(
            _window(
                planes,
                pose.x + (before.x - pose.x) * s,
                pose.y + (before.y - pose.y) * s,
                pose.width + (before.width - pose.width) * s,
                size,
            ).astype(np.float32)
        )
    return np.rint(sum(exposures) / len(exposures)).astype(np.uint8)


def _window(planes: Image, x: float, y: float, width: float, size: tuple[int, int]) -> Image:
    """Cut out and scale a window of planar YUV, plane by plane."""
    rows, columns = planes.shape
    rows = rows * 2 // 3
    chroma = planes[rows:].reshape(2, rows // 2, columns // 2)
    w, h = size
    out = np.empty((h * 3 // 2, w), np.uint8)
    out[:h] = _warp(planes[:rows], x, y, width, (w, h))
    small = out[h:].reshape(2, h // 2, w // 2)
    for plane in (0, 1):
        small[plane] = _warp(chroma[plane], x, y, width, (w // 2, h // 2))
    return out


def _warp(plane: Image, x: float, y: float, width: float, size: tuple[int, int]) -> Image:
    rows, columns = plane.shape
    scale = width * columns / size[0]  # source pixels for each output pixel
    left, top = x * columns - scale * size[0] / 2, y * rows - scale * size[1] / 2
    matrix = np.array([[scale, 0, left], [0, scale, top]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cast(Image, cv2.warpAffine(plane, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT))


def _livery(rng: np.random.Generator, height: int) -> Image:
    """The side of a bus: panels, dark windows, letters; [height, 2 * height]."""
    side = np.full((height, 2 * height), 150, np.uint8)
    side[height // 6 : height // 2] = 45
    for x in range(0, 2 * height, height // 3):
        side[:, x : x + 4] = 90
    letters = rng.integers(0, 256, (height // 24, height // 6)).astype(np.uint8)
    side[height * 5 // 8 : height * 7 // 8] = cv2.resize(
        letters, (2 * height, height * 7 // 8 - height * 5 // 8), interpolation=cv2.INTER_NEAREST
    )
    return side


def _drive(view: NDArray[np.uint8], bus: Bus, side: Image, at_s: float, size: tuple[int, int]) -> None:
    """Paint the bus over the luma where it is at this moment."""
    w, h = size
    cover = round(bus.cover * w)
    since = at_s - bus.start_s
    half = bus.cross_s / 2
    if not 0 <= since < bus.cross_s + bus.stay_s:
        return
    middle = (w - cover) / 2
    if since < half:
        left = -cover + (middle + cover) * since / half
    elif since < half + bus.stay_s:
        left = middle
    else:
        left = middle + (w - middle) * (since - half - bus.stay_s) / half
    x1, x2 = max(0, round(left)), min(w, round(left) + cover)
    if x2 > x1:
        part = cv2.resize(side, (cover, h), interpolation=cv2.INTER_AREA)
        view[h:].reshape(2, h // 2, w // 2)[:, :, x1 // 2 : x2 // 2] = 128
        view[:h, x1:x2] = part[:, x1 - round(left) : x2 - round(left)]
