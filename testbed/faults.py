"""Faults of a camera, put on the luma of real footage, at strengths that are stated.

What is no fault is in `testbed/harmless.py`.

A change is a function of the picture, the seconds since it began and a generator of random numbers; it may
keep state in its closure, so make a new one for each use (`FAULTS[name].make(seed)`). Pictures are luma,
[height, width], 0-255. Lengths are shares of the picture's width, so that a fault is as strong at any size.
"""

from collections.abc import Callable

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Change = Callable[[Grey, float], Grey]


class Synthetic(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, or a harmless change (`found` is empty then)."""

    found: tuple[str, ...]
    """Under which of these names it has to be found."""
    strength: str
    make: Callable[[int], Change]
    """Seed -> the change."""
    within: bool = True
    """Before the sensor, whose noise is to be added afterwards; else behind it."""
    lead_s: float = 0.0
    """From when on it can be seen at all: a loop's first round is what the camera sees."""
    seconds: float = 60.0
    """How long a harmless change lasts."""


def with_noise(picture: NDArray[np.generic], sigma: float, rng: np.random.Generator) -> Grey:
    """Sensor noise, fresh in each pixel."""
    noise = rng.standard_normal(picture.shape, np.float32)
    return np.clip(np.rint(picture + sigma * noise), 0, 255).astype(np.uint8)


class NoiseField:
    """Cheap noise for long runs: windows at random places of one larger field."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self._rng = rng
        self._field = rng.standard_normal((shape[0] + 257, shape[1] + 257), np.float32)
        self._scaled: dict[float, NDArray[np.int16]] = {}

    def on(self, picture: Grey, sigma: float) -> Grey:
        """The picture with noise of standard deviation `sigma` (to a tenth), as a sensor gives it."""
        sigma = round(sigma, 1)
        if sigma not in self._scaled:
            self._scaled[sigma] = np.rint(sigma * self._field).astype(np.int16)
        y, x = self._rng.integers(0, 257, 2)
        window = self._scaled[sigma][y : y + picture.shape[0], x : x + picture.shape[1]]
        return np.asarray(cv2.add(picture, window, dtype=cv2.CV_8U), np.uint8)


def _moved(picture: Grey, dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0) -> Grey:
    """Shifted by shares of the width, turned by degrees, enlarged; what is missing is mirrored in."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[:, 2] += (dx * width, dy * width)
    out = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(out, np.uint8)


def smooth(shape: tuple[int, int], blob: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random field from 0 to 1 whose patches are `blob` of the width."""
    small = rng.random((max(2, round(shape[0] / shape[1] / blob)), max(2, round(1 / blob))), np.float32)
    return np.clip(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)


def black(seed: int) -> Change:
    """Video black with the noise of the dark."""
    rng = np.random.default_rng(seed)
    return lambda p, _: with_noise(np.full(p.shape, 17, np.float32), 2, rng)


def frozen(_seed: int) -> Change:
    """The first picture again and again."""
    kept: list[Grey] = []

    def change(picture: Grey, _: float) -> Grey:
        if not kept:
            kept.append(picture.copy())
        return kept[0]

    return change


def still(seed: int, clock: bool = True) -> Change:
    """One picture under a running clock, as a recorder draws it."""
    hold = frozen(seed)

    def change(picture: Grey, t: float) -> Grey:
        out = hold(picture, t).copy()
        if clock:
            scale = out.shape[1] / 640
            text = f"2026-01-31 08:{int(t) // 60 % 60:02d}:{int(t) % 60:02d}"
            cv2.rectangle(out, (0, 0), (int(300 * scale), int(30 * scale)), 20, -1)
            cv2.putText(out, text, (4, int(22 * scale)), 0, 0.75 * scale, 235, max(1, round(2 * scale)))
        return out

    return change


def loop(seconds: float) -> Callable[[int], Change]:
    """What the camera saw in the first `seconds`, round and round."""

    def make(_seed: int) -> Change:
        kept: dict[int, Grey] = {}

        def change(picture: Grey, t: float) -> Grey:
            at = round(1000 * (t % seconds))
            if t < seconds - 1e-6:
                kept[at] = picture.copy()
            return kept[min(kept, key=lambda k: abs(k - at))]

        return change

    return make


def cover(share: float, level: float) -> Callable[[int], Change]:
    """Something out of focus before the lens, over `share` of the picture from one side."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)
        side = int(rng.integers(4))
        cache: dict[tuple[int, ...], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

        def change(picture: Grey, _: float) -> Grey:
            if picture.shape not in cache:
                height, width = picture.shape
                y, x = np.mgrid[:height, :width].astype(np.float32)
                way = (x / width, 1 - x / width, y / height, 1 - y / height)[side]
                alpha = np.clip((share - way) / 0.03 + 0.5, 0, 1).astype(np.float32)
                cloth = level + 25 * (smooth((height, width), 0.4, rng) - 0.5)
                cache[picture.shape] = alpha, cloth
            alpha, cloth = cache[picture.shape]
            mixed = picture + (cloth - picture) * alpha
            return with_noise(mixed, 1.5, rng)

        return change

    return make


def spray(share: float) -> Callable[[int], Change]:
    """Paint in blots over `share` of the picture; it lets 6 % through, blurred."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)
        cache: dict[tuple[int, ...], NDArray[np.float32]] = {}
        tone = float(rng.integers(40, 200))

        def change(picture: Grey, _: float) -> Grey:
            if picture.shape not in cache:
                field = smooth(picture.shape, 0.25, rng)
                edge = float(np.quantile(field, 1 - share))
                cache[picture.shape] = np.clip((field - edge) / 0.08 + 0.5, 0, 1)
            alpha = cache[picture.shape]
            blurred = cv2.GaussianBlur(picture, (0, 0), 0.02 * picture.shape[1])
            paint = tone + 0.06 * (blurred.astype(np.float32) - tone)
            return with_noise(picture + (paint - picture) * alpha, 1.5, rng)

        return change

    return make


def glare(radius: float, veil: float) -> Callable[[int], Change]:
    """A lamp or the sun: white within `radius` of the width, and a veil that falls off around it."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)
        at = rng.uniform(0.3, 0.7, 2)
        cache: dict[tuple[int, ...], NDArray[np.float32]] = {}

        def change(picture: Grey, _: float) -> Grey:
            if picture.shape not in cache:
                height, width = picture.shape
                y, x = np.mgrid[:height, :width].astype(np.float32)
                far = np.hypot(x / width - at[0], (y - at[1] * height) / width)
                light = np.where(far < radius, 400, veil * np.exp(-(far - radius) / 0.25))
                cache[picture.shape] = light.astype(np.float32)
            return np.clip(0.7 * picture + cache[picture.shape], 0, 255).astype(np.uint8)

        return change

    return make


def blur(sigma: float) -> Callable[[int], Change]:
    """Out of focus: a Gaussian of `sigma` of the width; the sensor's noise stays sharp."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)

        def change(picture: Grey, _: float) -> Grey:
            return with_noise(cv2.GaussianBlur(picture, (0, 0), sigma * picture.shape[1]), 1.5, rng)

        return change

    return make


def turn(dx: float = 0.0, dy: float = 0.0, angle: float = 0.0, zoom: float = 1.0) -> Callable[[int], Change]:
    """Turned away by shares of the width, degrees, or a factor; left or right by the seed."""
    return lambda seed: lambda p, _: _moved(p, dx if seed % 2 else -dx, dy, angle, zoom)


def elsewhere(_seed: int) -> Change:
    """Another view altogether: the scene mirrored, upside down."""
    return lambda p, _: np.ascontiguousarray(p[::-1, ::-1])


def shake(amplitude: float) -> Callable[[int], Change]:
    """Each picture elsewhere, with a standard deviation of `amplitude` of the width, and smeared by half."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)

        def change(picture: Grey, _: float) -> Grey:
            dx, dy = rng.normal(0, amplitude, 2)
            length = max(1, round(0.5 * amplitude * picture.shape[1]))
            kernel = np.full((1, length), 1 / length, np.float32)
            return _moved(np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8), dx, dy)

        return change

    return make


FAULTS: dict[str, Synthetic] = {
    "black": Synthetic(found=("black",), strength="luma 17, noise 2", make=black),
    "frozen": Synthetic(found=("frozen",), strength="one picture", make=frozen, within=False),
    "still-clock": Synthetic(
        found=("still",), strength="one picture under a running clock", make=still, within=False
    ),
    "loop-4s": Synthetic(
        found=("still",), strength="4 s round and round", make=loop(4.0), within=False, lead_s=4.0
    ),
    "cover-90": Synthetic(found=("covered",), strength="90 % by something grey", make=cover(0.9, 90)),
    "cover-100-dark": Synthetic(found=("covered",), strength="all, dark (luma 50)", make=cover(1.2, 50)),
    "cover-80": Synthetic(found=("covered",), strength="80 % by something light", make=cover(0.8, 150)),
    "spray-85": Synthetic(found=("covered",), strength="paint in blots on 85 %", make=spray(0.85)),
    "glare-sun": Synthetic(found=("glare",), strength="disc 60 % wide, veil 150", make=glare(0.3, 150)),
    "glare-all": Synthetic(found=("glare",), strength="disc 90 % wide, veil 220", make=glare(0.45, 220)),
    "blur-0.5": Synthetic(found=("defocused",), strength="sigma 0.5 % of the width", make=blur(0.005)),
    "blur-1": Synthetic(found=("defocused",), strength="sigma 1 %", make=blur(0.01)),
    "blur-2": Synthetic(found=("defocused",), strength="sigma 2 %", make=blur(0.02)),
    "turn-5": Synthetic(found=("turned",), strength="shifted by 5 %", make=turn(0.05)),
    "turn-15": Synthetic(found=("turned",), strength="shifted by 15 %", make=turn(0.15, 0.03)),
    "turn-40": Synthetic(found=("turned",), strength="shifted by 40 %", make=turn(0.4)),
    "turn-roll": Synthetic(found=("turned",), strength="rolled by 15 degrees", make=turn(angle=15)),
    "turn-away": Synthetic(found=("turned",), strength="another view", make=elsewhere),
    "shake-1": Synthetic(found=("shaken",), strength="sigma 1 % of the width", make=shake(0.01)),
    "shake-2": Synthetic(found=("shaken",), strength="sigma 2 %", make=shake(0.02)),
}
