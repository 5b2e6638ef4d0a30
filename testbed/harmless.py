"""What looks like a fault of a camera and is none, put on real footage as in `testbed/faults.py`."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from testbed.faults import Change, Grey, Synthetic, smooth, with_noise


def dusk(depth: float, seconds: float) -> Callable[[int], Change]:
    """The light goes down to `depth` in the first half and comes back; noise grows to sigma 5."""

    def make(seed: int) -> Change:
        rng = np.random.default_rng(seed)

        def change(picture: Grey, t: float) -> Grey:
            dark = min(1.0, max(0.0, 1.5 - abs(3 * t / seconds - 1.5)))
            gain = depth**dark
            return with_noise(16 + gain * (picture.astype(np.float32) - 16), 5 * dark, rng)

        return change

    return make


def infrared(seed: int) -> Change:
    """Night mode at once: other greys (dark foliage turns light), a lamp that falls off to the corners, noise
    of sigma 4, and the slight blur of light that the lens was not made for."""
    rng = np.random.default_rng(seed)
    tones = np.interp(np.arange(256), [0, 40, 110, 150, 255], [30, 45, 120, 105, 190]).astype(np.float32)

    lamps: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def change(picture: Grey, _: float) -> Grey:
        height, width = picture.shape
        if picture.shape not in lamps:
            y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
            lamps[picture.shape] = (1.1 - 0.35 * (x * x + y * y)).astype(np.float32)
        lit = tones[picture] * lamps[picture.shape]
        return with_noise(cv2.GaussianBlur(lit, (0, 0), 0.0008 * width), 4, rng)

    return change


def headlights(seed: int) -> Change:
    """At night (light at 0.3), every 20 s for 4 s two lamps cross, each 10 % wide with a halo."""
    rng = np.random.default_rng(seed)

    def change(picture: Grey, t: float) -> Grey:
        height, width = picture.shape
        out = 16 + 0.3 * (picture.astype(np.float32) - 16)
        if t % 20 < 4:
            y, x = np.mgrid[:height, :width].astype(np.float32)
            for side in (-0.08, 0.08):
                far = np.hypot(x / width - (0.2 + 0.15 * (t % 20) + side), (y - 0.6 * height) / width)
                out += np.where(far < 0.05, 300, 90 * np.exp(-(far - 0.05) / 0.05))
        return with_noise(out, 3, rng)

    return change


def rain(seed: int) -> Change:
    """Streaks that are new in each picture, and noise of sigma 4."""
    rng = np.random.default_rng(seed)

    def change(picture: Grey, _: float) -> Grey:
        height, width = picture.shape
        drops = (rng.random((height, width), np.float32) > 0.997).astype(np.float32)
        streak = np.zeros((max(3, height // 24), 3), np.float32)
        streak[:, 1] = 1
        return with_noise(picture + 35 * cv2.filter2D(drops, -1, streak), 4, rng)

    return change


def cloud(_seed: int) -> Change:
    """The light falls to 0.55 within 8 s, and comes back after 50 s."""

    def change(picture: Grey, t: float) -> Grey:
        shade = min(1.0, t / 8) if t < 50 else max(0.0, 1 - (t - 50) / 8)
        return np.clip(16 + (1 - 0.45 * shade) * (picture.astype(np.float32) - 16), 0, 255).astype(np.uint8)

    return change


def lamp(seed: int) -> Change:
    """From one picture to the next a lamp is switched on, brighter near by."""
    at = np.random.default_rng(seed).uniform(0.1, 0.9, 2)

    def change(picture: Grey, _: float) -> Grey:
        height, width = picture.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        far = np.hypot(x / width - at[0], (y - at[1] * height) / width)
        return np.clip(picture * (1.05 + 0.6 * np.exp(-far / 0.3)) + 5, 0, 255).astype(np.uint8)

    return change


def lamp_off(seed: int) -> Change:
    """From one picture to the next the light falls to 0.25, with noise of sigma 4."""
    rng = np.random.default_rng(seed)
    return lambda p, _: with_noise(16 + 0.25 * (p.astype(np.float32) - 16), 4, rng)


def lorry(seed: int) -> Change:
    """A lorry stands before half of the picture, with some lettering on it."""
    rng = np.random.default_rng(seed)
    left, tone = bool(rng.integers(2)), int(rng.integers(60, 200))

    def change(picture: Grey, _: float) -> Grey:
        out = picture.copy()
        height, width = out.shape
        x = 0 if left else width - width // 2
        cv2.rectangle(out, (x, height // 8), (x + width // 2, height), tone, -1)
        cv2.putText(
            out, "FREIGHT", (x + width // 12, height // 2), 0, width / 400, 255 - tone, max(1, width // 160)
        )
        return out

    return change


def crowd(seed: int) -> Change:
    """Thirty people of random dress wander over the lower two thirds and hide half of it."""
    rng = np.random.default_rng(seed)
    people = rng.random((30, 4))

    def change(picture: Grey, _: float) -> Grey:
        out = picture.copy()
        height, width = out.shape
        people[:, 0] += rng.normal(0, 0.02, len(people))
        for x, y, tone, phase in people:
            left = int((x % 1) * width)
            top = int((0.25 + 0.5 * y) * height)
            cv2.rectangle(out, (left, top), (left + width // 16, top + height // 3), int(255 * tone), -1)
            cv2.circle(out, (left + width // 32, top - height // 40), width // 50, int(200 * phase), -1)
        return out

    return change


def fog(least: float, seconds: float) -> Callable[[int], Change]:
    """Contrast falls slowly to `least` against a light grey, and comes back."""

    def make(_seed: int) -> Change:
        def change(picture: Grey, t: float) -> Grey:
            thick = min(1.0, max(0.0, 1.5 - abs(3 * t / seconds - 1.5)))
            clear = least**thick
            return np.rint(190 + clear * (picture.astype(np.float32) - 190)).astype(np.uint8)

        return change

    return make


def snow(seed: int) -> Change:
    """Flakes, large and small, new in each picture."""
    rng = np.random.default_rng(seed)

    def change(picture: Grey, _: float) -> Grey:
        out = picture.copy()
        height, width = out.shape
        for x, y, size in rng.random((150, 3)):
            cv2.circle(out, (int(x * width), int(y * height)), max(1, int(size**3 * width / 60)), 245, -1)
        return out

    return change


def wind(seed: int) -> Change:
    """The upper half sways by up to 0.8 % of the width, each place in its own way."""
    rng = np.random.default_rng(seed)

    def change(picture: Grey, _: float) -> Grey:
        height, width = picture.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        sway = (
            0.008 * width * (smooth((height, width), 0.15, rng) * 2 - 1) * np.clip(2 - 4 * y / height, 0, 1)
        )
        return np.asarray(cv2.remap(picture, x + sway.astype(np.float32), y, cv2.INTER_LINEAR), np.uint8)

    return change


def coarse(_seed: int) -> Change:
    """The camera's bit rate is turned down: JPEG quality 18 instead of none, noise and texture are gone."""

    def change(picture: Grey, _: float) -> Grey:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 18])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)

    return change


HARMLESS: dict[str, Synthetic] = {
    "dusk": Synthetic(
        found=(), strength="light to 0.15 in 15 min and back, noise to 5", make=dusk(0.15, 2700), seconds=2700
    ),
    "infra-red": Synthetic(
        found=(), strength="other greys at once, lamp's fall-off, noise 4", make=infrared, seconds=300
    ),
    "headlights": Synthetic(
        found=(), strength="at night, two lamps 10 % wide for 4 s", make=headlights, seconds=120
    ),
    "rain": Synthetic(found=(), strength="new streaks, noise 4", make=rain, seconds=180),
    "cloud": Synthetic(found=(), strength="light to 0.55 within 8 s", make=cloud, seconds=60),
    "lamp-on": Synthetic(found=(), strength="up to 1.65 times brighter at once", make=lamp, seconds=120),
    "lamp-off": Synthetic(found=(), strength="light to 0.25 at once, noise 4", make=lamp_off, seconds=120),
    "lorry": Synthetic(found=(), strength="half of the picture for a minute", make=lorry, seconds=60),
    "crowd": Synthetic(found=(), strength="30 people for a minute", make=crowd, seconds=60),
    "fog": Synthetic(
        found=(), strength="contrast to 0.4 in 10 min and back", make=fog(0.4, 1800), seconds=1800
    ),
    "snow": Synthetic(found=(), strength="150 flakes, new in each picture", make=snow, seconds=180),
    "wind": Synthetic(found=(), strength="upper half sways by 0.8 %", make=wind, seconds=180),
    "coarse": Synthetic(found=(), strength="quality down to JPEG 18", make=coarse, within=False, seconds=120),
}
