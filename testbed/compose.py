"""Composed footage: real people and cars pass through a real empty scene, at moments that are known exactly.

For the benchmark of what lazy decoding loses. A pass goes from behind one edge of cover to behind another;
the edges lie as far apart as its dwell needs at a natural pace, but for brief passes, which hurry.
Passes begin at any phase of the GOP and fill at most `busy` of the time; sensor noise is fresh in each frame.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.sprites import Image, Sprite, empty_scene, sprites

Scene = Literal["room", "yard", "road"]

_ROOM, _YARD, _ROAD = "one-by-one-person-detection.mp4", "vtest.avi", "car-detection.mp4"
_SCENES: dict[Scene, tuple[str, tuple[str, ...], tuple[float, float]]] = {
    "room": (_ROOM, (_ROOM, _YARD), (0.28, 0.65)),
    "yard": (_YARD, (_YARD,), (0.15, 0.28)),
    "road": (_ROAD, (_ROAD,), (0.2, 0.35)),
}
"""Scene: the clip that is empty, the clips whose objects pass, least and most height over the picture's."""

SHOWS = 0.25
"""An object counts as there while this share of its width is out of cover: less is a sliver to anybody."""
PACE = 0.9
"""Heights of itself that a walking person covers in a second (1.5 m/s at 1.7 m)."""


class ComposeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to compose. The same spec and libraries give the same file."""

    seed: int
    scene: Scene = "room"
    size: tuple[int, int] = (640, 360)
    fps: int = 12
    gop_s: float = 1.0
    codec: Literal["h264", "hevc"] = "h264"
    cbr_kbps: int = 0
    """0: variable bit rate at constant quality."""
    b_frames: int = 0
    dwells: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    """Dwell over GOP of the passes, each `repeats` times, in random order."""
    repeats: int = 10
    busy: float = 0.18
    """Largest share of the frames in which somebody is there."""
    min_gap_s: float = 4.0
    """Least time between two passes."""
    noise: float = 2.5
    """Standard deviation of the sensor noise in grey levels."""

    @property
    def gop(self) -> int:
        """Frames from keyframe to keyframe."""
        return round(self.gop_s * self.fps)


class PassTruth(msgspec.Struct, frozen=True, kw_only=True):
    """One pass, as composed."""

    first: int
    """Index of the first frame in which it is there (`SHOWS`)."""
    frames: int
    start_s: float
    end_s: float
    """`start_s` plus dwell: the time of the first frame without it."""
    dwell_s: float
    dwell_gops: float
    boxes: tuple[tuple[float, float, float, float], ...]
    """One box per frame, what shows of it: x1, y1, x2, y2 as fractions of the picture."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """A planned pass: where it goes and what it shows."""

    first: int
    frames: int
    sprite: Sprite
    height: int
    width: int
    foot: int
    """Lowest row, pixels."""
    cover: tuple[int, int]
    """It shows between these columns."""
    rightwards: bool


def standard_set(seed: int = 1) -> dict[str, ComposeSpec]:
    """The benchmark's variants: 328 passes of a GOP or longer, 246 shorter ones, 76 minutes of video."""
    s = seed * 100
    return {
        "h264-gop1-vbr": ComposeSpec(seed=s + 1, repeats=14),
        "h264-gop1-cbr": ComposeSpec(seed=s + 2, repeats=14, cbr_kbps=400),
        "h264-gop2-vbr": ComposeSpec(seed=s + 3, repeats=14, gop_s=2, scene="yard"),
        "h264-gop2-cbr": ComposeSpec(seed=s + 4, repeats=14, gop_s=2, cbr_kbps=400),
        "hevc-gop1": ComposeSpec(seed=s + 5, repeats=13, codec="hevc"),
        "h264-gop1-b": ComposeSpec(seed=s + 6, repeats=13, b_frames=2, scene="road"),
    }


def compose(out: Path, spec: ComposeSpec, footage: Path) -> list[PassTruth]:
    """Write the composed clip to `out` (MP4) and return its passes in order.

    Args:
        footage: the folder that holds the three clips.

    Raises:
        FileNotFoundError: a clip is missing.
        ValueError: a clip gives no whole object.
    """
    clip, sources, _ = _SCENES[spec.scene]
    background = cv2.resize(empty_scene(footage / clip), spec.size, interpolation=cv2.INTER_AREA)
    objects = [sprite for source in sources for sprite in sprites(footage / source)]
    rng = np.random.default_rng(spec.seed)
    length, passes = plan(rng, spec, objects)
    truth = [_truth(p, spec) for p in passes]
    encode(out, spec, _pictures(rng, spec, background, length, passes))  # type: ignore[arg-type]
    return truth


# --- the plan -----------------------------------------------------------------------------------------


def plan(rng: np.random.Generator, spec: ComposeSpec, objects: list[Sprite]) -> tuple[int, list[Pass]]:
    """Length of the clip in frames, and its passes in order."""
    dwells = rng.permutation(np.repeat(spec.dwells, spec.repeats))
    frames = np.maximum(2, np.ceil(dwells * spec.gop - 1e-9)).astype(int)
    total, least = int(frames.sum()), round(spec.min_gap_s * spec.fps)
    # A share of each gap is drawn at random: passes begin at any phase of the GOP.
    quiet = max(int(np.ceil(total / spec.busy)) - total, (len(frames) + 1) * (least + spec.gop))
    spread = quiet - (len(frames) + 1) * least
    cuts = np.sort(rng.integers(0, spread + 1, len(frames)))
    firsts = cuts + least * np.arange(1, len(frames) + 1) + np.concatenate(([0], np.cumsum(frames)[:-1]))
    made = [_pass(rng, spec, objects, int(f), int(n)) for f, n in zip(firsts, frames, strict=True)]
    return total + quiet, made


def _pass(
    rng: np.random.Generator, spec: ComposeSpec, objects: list[Sprite], first: int, frames: int
) -> Pass:
    picture_w, picture_h = spec.size
    low, high = _SCENES[spec.scene][2]
    sprite = objects[int(rng.integers(len(objects)))]
    height = round(picture_h * rng.uniform(low, high))
    width = round(height * max(p.shape[1] / p.shape[0] for p in sprite.pictures))
    if spec.scene == "road":
        width = round(height * min(p.shape[0] / p.shape[1] for p in sprite.pictures))
    travel = PACE * height * frames / spec.fps
    gap = int(np.clip(travel - 2 * (0.5 - SHOWS) * width, 0.8 * width, picture_w))
    # Half of the passes come from or go to the picture's edge, the others stay within.
    left = (
        int(rng.choice([0, picture_w - gap]))
        if rng.random() < 0.5
        else int(rng.integers(picture_w - gap + 1))
    )
    return Pass(
        first=first,
        frames=frames,
        sprite=sprite,
        height=height,
        width=width,
        foot=round(picture_h * rng.uniform(max(0.6, high), 0.98)),
        cover=(left, left + gap),
        rightwards=bool(rng.random() < 0.5),
    )


def _column(p: Pass, k: int) -> int:
    """Left edge of the object in its k-th frame; in the first and the last `SHOWS` of its width is out."""
    start = p.cover[0] - p.width + int(np.ceil(SHOWS * p.width))
    end = p.cover[1] - int(np.ceil(SHOWS * p.width))
    share = k / (p.frames - 1)
    return round(start + (end - start) * (share if p.rightwards else 1 - share))


def _shown(p: Pass, k: int) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 in pixels of what shows of the object."""
    x = _column(p, k)
    return max(x, p.cover[0]), max(p.foot - p.height, 0), min(x + p.width, p.cover[1]), p.foot


def _truth(p: Pass, spec: ComposeSpec) -> PassTruth:
    w, h = spec.size
    boxes = tuple(
        (round(x1 / w, 4), round(y1 / h, 4), round(x2 / w, 4), round(y2 / h, 4))
        for x1, y1, x2, y2 in (_shown(p, k) for k in range(p.frames))
    )
    return PassTruth(
        first=p.first,
        frames=p.frames,
        start_s=p.first / spec.fps,
        end_s=(p.first + p.frames) / spec.fps,
        dwell_s=p.frames / spec.fps,
        dwell_gops=p.frames / spec.gop,
        boxes=boxes,
    )


# --- the pictures -------------------------------------------------------------------------------------


def _pictures(
    rng: np.random.Generator, spec: ComposeSpec, background: Image, length: int, passes: list[Pass]
) -> Iterator[Image]:
    """Planar YUV 4:2:0, [h * 3 / 2, w], frame by frame."""
    noise = Noise(rng, spec)
    empty = cv2.cvtColor(background, cv2.COLOR_BGR2YUV_I420).astype(np.int16)
    upcoming = iter(passes)
    current = next(upcoming, None)
    draw: Callable[[int], Image] | None = None
    for n in range(length):
        if current is not None and n >= current.first + current.frames:
            current, draw = next(upcoming, None), None
        if current is None or n < current.first:
            yield noise.on(empty)
            continue
        draw = draw or _painter(background, current, spec)
        picture = draw(n - current.first)
        yield noise.on(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.int16))


class Noise:
    """Gaussian noise on luma: windows at random places of one larger field, which is cheap."""

    def __init__(self, rng: np.random.Generator, spec: ComposeSpec) -> None:
        self._rng, (self._w, self._h) = rng, spec.size
        field = rng.normal(0, spec.noise, (self._h + 257, self._w + 257))
        self._field = np.rint(field).astype(np.int16)

    def on(self, yuv: NDArray[np.int16]) -> Image:
        x, y = self._rng.integers(0, 257, 2)
        noisy = yuv.copy()
        noisy[: self._h] += self._field[y : y + self._h, x : x + self._w]
        return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _painter(background: Image, p: Pass, spec: ComposeSpec) -> Callable[[int], Image]:
    """Paints the k-th frame of a pass: BGR, [h, w, 3]."""
    flip, turn = p.sprite.rightwards != p.rightwards, spec.scene == "road"
    layers = [
        _fitted(picture, alpha, (p.width, p.height), flip, turn)
        for picture, alpha in zip(p.sprite.pictures, p.sprite.alphas, strict=True)
    ]
    there_and_back = [*layers, *layers[-2:0:-1]]

    def paint(k: int) -> Image:
        picture, alpha = there_and_back[k % len(there_and_back)]
        x1, y1, x2, y2 = _shown(p, k)
        dx, dy = x1 - _column(p, k), y1 - (p.foot - p.height)
        part = np.s_[dy : dy + y2 - y1, dx : dx + x2 - x1]
        frame = background.copy()
        under = frame[y1:y2, x1:x2].astype(np.float32)
        frame[y1:y2, x1:x2] = np.rint(under + (picture[part] - under) * alpha[part])
        return frame

    return paint


def _fitted(
    picture: Image, alpha: NDArray[np.float32], size: tuple[int, int], flip: bool, turn: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A sprite's frame scaled to `size` (width, height), with alpha as [h, w, 1]."""
    if turn:  # cars seen from above drive up or down in their clip; here they cross
        picture, alpha = np.rot90(picture), np.rot90(alpha)
    if flip:
        picture, alpha = picture[:, ::-1], alpha[:, ::-1]
    big = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(np.ascontiguousarray(alpha), size, interpolation=cv2.INTER_AREA)
    return big.astype(np.float32), soft[..., None].astype(np.float32)


def encode(out: Path, spec: ComposeSpec, pictures: Iterator[Image]) -> None:
    """Write planar YUV 4:2:0 pictures [h * 3 / 2, w] as the spec says: codec, GOP and rate."""
    gop, encoder = spec.gop, "libx264" if spec.codec == "h264" else "libx265"
    params = [f"keyint={gop}", f"min-keyint={gop}", "scenecut=0", "open-gop=0", f"bframes={spec.b_frames}"]
    options = {"preset": "veryfast" if spec.codec == "h264" else "ultrafast", "crf": "26"}
    if spec.cbr_kbps:
        del options["crf"]
        options["b"] = f"{spec.cbr_kbps}k"
        params += [f"vbv-maxrate={spec.cbr_kbps}", f"vbv-bufsize={spec.cbr_kbps}"]
        params += ["nal-hrd=cbr"] if spec.codec == "h264" else ["strict-cbr=1"]
    if spec.codec == "hevc":
        params += ["log-level=error", "pools=2"]
    options["x264-params" if spec.codec == "h264" else "x265-params"] = ":".join(params)
    with av.open(str(out), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=spec.fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = spec.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, spec.fps)
        stream.codec_context.thread_count = 2
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, spec.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
