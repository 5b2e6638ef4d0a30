"""Face tracks whose best frame is known: real faces, moved, turned, blurred and covered by a script, pass
through a real empty room.

A face is cut from a photograph and drawn into each frame at a scripted size, turn (the photograph as the
front of an upright cylinder, which is turned), blur (Gaussian, as a part of the face's width) and cover (a
plain object over part of it). How good a frame then is, is measured against the photograph itself: the
structural similarity (Wang et al. 2004) of the encoded face to the sharp, uncovered original turned alike,
both at the same place and size, times the squared cosine of the turn beyond 15 degrees (the photographs
themselves look at the camera to within about as much) and the share that is not covered. Small size, blur,
cover and the encoder's losses lower the first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.detections import Detector
from testbed.compose import ComposeSpec, Noise, encode
from testbed.sprites import Image, empty_scene

EFFECTS = ("scale", "blur", "turn", "cover", "all")
SIZE, FPS, GOP_S = (1280, 720), 25, 2.0
REFERENCE = 112
"""Width in pixels at which a face is compared with its original."""
FRONTAL = 15.0
"""Degrees of turn up to which a face counts as looking at the camera."""
CYLINDER = 0.66
"""Radius of a head, in widths of its face's box."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """A face with its surroundings, cut from a photograph."""

    picture: Image
    """[h, w, 3] BGR."""
    alpha: Floats
    """[h, w] 0 to 1: an oval, soft at the rim."""
    box: tuple[float, float, float, float]
    """x, y, width, height of the face within it."""

    def reference(self, turn: float) -> Image:
        """[h, 112] grey: the face itself, sharp and turned by so many degrees."""
        x, _, w, _ = self.box
        head = _turned(self.picture.astype(np.float32), x + w / 2, CYLINDER * w, turn)
        grey = cv2.cvtColor(np.rint(head).astype(np.uint8), cv2.COLOR_BGR2GRAY)
        return placed(grey.astype(np.uint8, copy=False), self.box)


class Moment(msgspec.Struct, frozen=True):
    """A face in one frame."""

    x: float
    y: float
    """Middle of the face, pixels."""
    width: float
    """Of the face, pixels."""
    turn: float
    """Degrees; 0 looks at the camera as in the photograph."""
    blur: float
    """Sigma as a part of the face's width."""
    cover: float
    """Share of the face that is covered, from `side`."""


class FacePass(msgspec.Struct, frozen=True, kw_only=True):
    """One face's way through the picture."""

    cut: int
    """Which of the cuts."""
    effect: str
    first: int
    """Index of its first frame."""
    side: int
    """Covered from below (0), from the left (1) or from the right (2)."""
    moments: tuple[Moment, ...]

    def box(self, k: int, cut: Cut) -> tuple[float, float, float, float]:
        """x, y, width, height of the face in its k-th frame, pixels."""
        m = self.moments[k]
        height = m.width * cut.box[3] / cut.box[2]
        return m.x - m.width / 2, m.y - height / 2, m.width, height


def cut_faces(pictures: Sequence[Path], detector: Detector) -> list[Cut]:
    """The faces that are large and look at the camera, in the order of the pictures."""
    cuts: list[Cut] = []
    for path in pictures:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        found = detector.detect(frame)
        assert found.landmarks is not None
        whole = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        order = sorted(range(len(found)), key=lambda n: found.boxes[n, 0])
        for n in order:
            if found.scores[n] >= 0.8 and _frontal(found.landmarks[n]):
                cuts.append(_cut(whole, [float(v) for v in found.boxes[n]]))
    return [cut for cut in cuts if cut.box[2] >= 85]


def _frontal(marks: Floats) -> bool:
    right, left, nose, *mouth = marks
    eyes, middle = left - right, (left + right) / 2
    down = (mouth[0] + mouth[1]) / 2 - middle
    aside = abs(float((nose - middle) @ eyes)) / float(eyes @ eyes)
    level = abs(float(eyes[1])) / max(float(eyes[0]), 1e-3)
    return aside < 0.2 and level < 0.27 and float(np.hypot(*eyes)) > 0.8 * float(np.hypot(*down))


def _cut(whole: Image, box: list[float]) -> Cut:
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    left, right = max(round(x1 - 0.4 * w), 0), min(round(x2 + 0.4 * w), whole.shape[1])
    top, bottom = max(round(y1 - 0.35 * h), 0), min(round(y2 + 0.3 * h), whole.shape[0])
    picture = whole[top:bottom, left:right].copy()
    rows, columns = picture.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    away = np.hypot((x - (x1 + x2) / 2 + left) / (0.72 * w), (y - (y1 + y2) / 2 + top) / (0.72 * h))
    alpha = np.clip((1.12 - away) / 0.16, 0, 1).astype(np.float32)
    return Cut(picture, alpha, (x1 - left, y1 - top, w, h))


def placed(grey: Image, box: tuple[float, float, float, float]) -> Image:
    """The inner part of a face at `box` (x, y, width, height), 112 px wide, [h, 112]."""
    x, y, w, h = box
    x, y, w, h = x + 0.08 * w, y + 0.15 * h, 0.84 * w, 0.8 * h
    scale = REFERENCE / w
    if scale < 1:  # shrink by means, not by single pixels
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
        x, y, w, h, scale = x * scale, y * scale, w * scale, h * scale, 1.0
    size = (REFERENCE, round(REFERENCE * h / w))
    move = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    return cv2.warpAffine(grey, move, size, flags=flags, borderMode=border).astype(np.uint8)


def similarity(a: Image, b: Image) -> float:
    """Structural similarity of two grey pictures of one size, -1 to 1 (Wang et al. 2004, sigma 1.5)."""

    def mean(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(of, (11, 11), 1.5)  # type: ignore[return-value]

    p, q = a.astype(np.float64), b.astype(np.float64)
    mp, mq = mean(p), mean(q)
    vp, vq, both = mean(p * p) - mp * mp, mean(q * q) - mq * mq, mean(p * q) - mp * mq
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mp * mq + c1) * (2 * both + c2) / ((mp * mp + mq * mq + c1) * (vp + vq + c2))
    return float(score.mean())


def truth(grey: Image, cut: Cut, one: FacePass, k: int) -> float:
    """How good the k-th frame of a pass is, from 0 to 1; `grey`: the luma of the frame as encoded."""
    m = one.moments[k]
    alike = similarity(placed(grey, one.box(k, cut)), cut.reference(m.turn))
    turn = max(abs(m.turn) - FRONTAL, 0.0)
    return max(alike, 0.0) * float(np.cos(np.radians(turn))) ** 2 * (1 - m.cover)


# --- the script


def script(
    seed: int, cuts: Sequence[Cut], passes: int, gap_s: tuple[float, float] = (5.0, 9.0)
) -> list[FacePass]:
    """So many passes one after the other, the effects in turn; between them nobody is there."""
    random = np.random.default_rng(seed)
    at, made = round(3 * FPS), []
    for n in range(passes):
        frames = int(random.integers(round(1.6 * FPS), round(4.5 * FPS)))
        made.append(_pass(random, n % len(cuts), EFFECTS[n % len(EFFECTS)], at, frames))
        at += frames + round(random.uniform(*gap_s) * FPS)
    return made


def _pass(random: np.random.Generator, cut: int, effect: str, first: int, frames: int) -> FacePass:
    t = np.linspace(0, 1, frames)
    every = effect == "all"
    width = np.full(frames, random.uniform(75, 115))
    if effect == "scale" or every:
        near = random.uniform(95, 130)
        width = np.interp(t, (0, random.uniform(0.6, 1), 1.01), (random.uniform(34, 48), near, 0.8 * near))
        width = width[::-1] if random.random() < 0.3 else width
    best = random.uniform(0.25, 0.75)
    turn, blur, cover = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    if effect == "turn" or every:
        way = random.choice((-1, 1))
        turn = way * np.interp(t, (0, best - 0.08, best + 0.08, 1), (65, 0, 0, -random.uniform(25, 60)))
    if effect == "blur" or every:
        blur = np.interp(t, (0, best - 0.1, best + 0.1, 1), (random.uniform(0.04, 0.09), 0, 0, 0.06))
    if effect == "cover" or every:
        cover = np.where(np.abs(t - best) < 0.2, 0.0, random.uniform(0.35, 0.55))
    start, end = random.uniform(200, 500), random.uniform(700, 1080)
    x = np.interp(t, (0, 1), (start, end) if random.random() < 0.5 else (end, start))
    y = random.uniform(200, 420) + random.uniform(-60, 60) * t + 6 * np.sin(2 * np.pi * 2 * t * frames / FPS)
    rows = zip(x, y, width, turn, blur, cover, strict=True)
    moments = tuple(Moment(*(round(float(v), 3) for v in row)) for row in rows)
    return FacePass(cut=cut, effect=effect, first=first, side=int(random.integers(3)), moments=moments)


def compose(out: Path, room: Path, cuts: Sequence[Cut], passes: Sequence[FacePass], seed: int) -> None:
    """Write the clip: 1280 x 720, 25 frames/s, H.264 with a keyframe each two seconds, sensor noise.

    `room`: the clip whose empty scene is the background.
    """
    spec = ComposeSpec(seed=seed, size=SIZE, fps=FPS, gop_s=GOP_S, dwells=(), noise=2.0)
    background = cv2.resize(empty_scene(room), SIZE, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    noise = Noise(np.random.default_rng(seed), spec)
    encode(out, spec, _frames(background, cuts, passes, noise.on))


def _frames(
    background: Image,
    cuts: Sequence[Cut],
    passes: Sequence[FacePass],
    noisy: Callable[[NDArray[np.int16]], Image],
) -> Iterator[Image]:
    empty = cv2.cvtColor(background, cv2.COLOR_BGR2YUV_I420).astype(np.int16)
    at = 0
    for one in passes:
        for _ in range(at, one.first):
            yield noisy(empty)
        for k in range(len(one.moments)):
            picture = draw(background, cuts[one.cut], one, k)
            yield noisy(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.int16))
        at = one.first + len(one.moments)
    for _ in range(3 * FPS):
        yield noisy(empty)


def draw(background: Image, cut: Cut, one: FacePass, k: int) -> Image:
    """The k-th frame of a pass: BGR, [h, w, 3]."""
    m = one.moments[k]
    scale = m.width / cut.box[2]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    head = cv2.resize(cut.picture, None, fx=scale, fy=scale, interpolation=way).astype(np.float32)
    alpha = cv2.resize(cut.alpha, None, fx=scale, fy=scale, interpolation=way).astype(np.float32)
    x, y, w, h = (v * scale for v in cut.box)
    if m.turn:
        head = _turned(head, x + w / 2, CYLINDER * w, m.turn)
    if m.cover:
        _cover(head, (x, y, w, h), m.cover, one.side)
    if m.blur:
        sigma = m.blur * m.width
        head, alpha = (cv2.GaussianBlur(v, (0, 0), sigma) for v in (head, alpha))  # type: ignore[assignment]
    left, top = m.x - x - w / 2, m.y - y - h / 2
    move = np.array([[1, 0, left], [0, 1, top]])  # whole and parts of pixels: no step in the motion
    layer = cv2.warpAffine(head, move, SIZE, flags=cv2.INTER_LINEAR)
    over = cv2.warpAffine(alpha, move, SIZE, flags=cv2.INTER_LINEAR)[..., None]
    return np.rint(background + (layer - background) * over).astype(np.uint8)


def _turned(head: Floats, middle: float, radius: float, degrees: float) -> Floats:
    """The picture on the front of an upright cylinder, turned; what comes from behind repeats the rim."""
    rows, columns = head.shape[:2]
    across = (np.arange(columns) - middle) / radius
    angle = np.arcsin(np.clip(across, -1, 1)) - np.radians(degrees)
    source = middle + radius * np.sin(np.clip(angle, -np.pi / 2, np.pi / 2))
    source = np.where(np.abs(across) < 1, source, middle + radius * across).astype(np.float32)
    maps = np.tile(source, (rows, 1)), np.tile(np.arange(rows, dtype=np.float32)[:, None], (1, columns))
    return cv2.remap(head, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _cover(head: Floats, box: tuple[float, float, float, float], share: float, side: int) -> None:
    x, y, w, h = box
    x1, y1, x2, y2 = x - 0.3 * w, y - 0.2 * h, x + 1.3 * w, y + 1.25 * h
    if side == 0:
        y1 = y + (1 - share) * h
    elif side == 1:
        x2 = x + share * w
    else:
        x1 = x + (1 - share) * w
    rows, columns = slice(max(round(y1), 0), round(y2)), slice(max(round(x1), 0), round(x2))
    head[rows, columns] = (96, 84, 70)
