"""The models at hand: what there is, getting one, and how fast it is here. Behind `linli models`."""

from collections.abc import Sequence
from pathlib import Path

import av
import msgspec
import numpy as np

from detectors import fetch, manifest
from detectors.letterbox import Letterbox
from detectors.onnx_detector import DEFAULT, load
from detectors.runtime import CPU
from events.clock import Clock


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `linli models list`."""

    name: str
    description: str
    licence: str
    source: str
    """npm or PyPI package or address it is pulled from."""
    path: str
    """Where the file is; empty: it is not here yet."""
    default: bool


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a model takes on this machine, milliseconds for one picture (medians)."""

    model: str
    providers: tuple[str, ...]
    threads: int
    width: int
    height: int
    """Of the picture that was looked at."""
    letterbox_ms: float
    inference_ms: float
    decode_ms: float
    total_ms: float
    """Of the whole `detect`, measured by itself."""


def catalogue(place: Path | None = None) -> tuple[Entry, ...]:
    """Every bundled model, the default first."""
    entries = []
    for known in manifest.bundled().values():
        path = fetch.present(known, place)
        source = known.source
        where = (source.url if isinstance(source, manifest.UrlSource) else source.package) if source else ""
        entries.append(
            Entry(
                name=known.name,
                description=known.description,
                licence=known.licence,
                source=where,
                path=str(path or ""),
                default=known.name == DEFAULT,
            )
        )
    return tuple(entries)


def pull(name: str = DEFAULT, progress: fetch.Progress | None = None) -> Path:
    """Get a bundled model unless it is here already; see `detectors.fetch.pull`.

    Raises:
        ModelError: no such model, not reachable, or another checksum.
    """
    known = manifest.named(name)
    return fetch.pull(known, progress) if progress else fetch.pull(known)


def bench(
    model: str | Path,
    clock: Clock,
    *,
    size: tuple[int, int] = (768, 576),
    rounds: int = 30,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
) -> Speed:
    """Time a model on a picture of `size` (width, height).

    Raises:
        ModelError: the model is not here or cannot be run.
    """
    detector = load(model, threads=threads, providers=providers)
    letterbox = Letterbox(detector.manifest.input)
    frame = _noise(size)
    times: list[tuple[float, float, float, float]] = []
    for _ in range(rounds + 3):
        start = clock.monotonic()
        tensor, place = letterbox.fill(frame)
        filled = clock.monotonic()
        outputs = detector.infer(tensor, place)
        inferred = clock.monotonic()
        detector.decode(outputs, place)
        decoded = clock.monotonic()
        detector.detect(frame)
        times.append((filled - start, inferred - filled, decoded - inferred, clock.monotonic() - decoded))
    fill, infer, decode, total = (1000 * float(np.median(column)) for column in zip(*times[3:], strict=True))
    return Speed(
        model=detector.manifest.name,
        providers=detector.runtime.providers,
        threads=threads,
        width=size[0],
        height=size[1],
        letterbox_ms=round(fill, 3),
        inference_ms=round(infer, 3),
        decode_ms=round(decode, 3),
        total_ms=round(total, 3),
    )


def _noise(size: tuple[int, int]) -> av.VideoFrame:
    """A picture that is the same every time."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
