"""Pictures of a still scene with sensor noise, and clips of them, coded as cameras do."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def scene(size: tuple[int, int]) -> Grey:
    """A still scene, [height, width]: a slope of grey with blocks and stripes."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    grey = 90 + 50 * x // width + 20 * y // height
    grey += 25 * ((x // (width // 8) + y // (height // 6)) % 2)
    grey[height // 3 : height // 3 + 4] = 40
    return grey.astype(np.uint8)


def noisy(size: tuple[int, int], sigma: float = 3.0, seed: int = 1) -> Iterator[Grey]:
    """The scene for ever, each time with other noise."""
    rng = np.random.default_rng(seed)
    base = scene(size).astype(np.int16)
    pool = [rng.normal(0, sigma, base.shape).astype(np.int16) for _ in range(17)]
    while True:
        for noise in pool:
            yield (base + noise).clip(0, 255).astype(np.uint8)


def encode_noise(
    path: Path,
    seconds: float,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    paint: Callable[[int, Grey], None] | None = None,
) -> Path:
    """A clip of 10 pictures a second and GOP 10; `paint(n, grey)` may draw on each."""
    width, height = size
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 10
        stream.codec_context.max_b_frames = 0
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "sc_threshold": "0"} | (options or {"crf": "26"})
        pictures = noisy(size)
        for n in range(round(seconds * 10)):
            grey = next(pictures)
            if paint is not None:
                paint(n, grey)
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = grey
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            out.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        out.mux(stream.encode(None))
    return path
