"""Tours of the simulated dome over the three clips, and what its presets look like: for `presets`."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import av
import msgspec
import numpy as np

from benchmarks.common import shared
from cli.footage import cache_folder
from events.media import TICKS
from ingest.gate import Luma, luma
from testbed.dome import Bus, DomeSpec, Pose, Stop, film, pictures, plan, read_clip, steadied
from testbed.sprites import Image

RECIPE = 2
"""Part of the cached files' names: raise it when the pictures below change."""


class Tour(msgspec.Struct, frozen=True, kw_only=True):
    """A tour over one clip."""

    clip: str
    spec: DomeSpec
    taught: int
    """The clip's frame at which the presets are taught: nobody stands close, as the guide asks for."""
    steady: bool = False
    """The clip's own camera was held by hand: its drift is taken out first."""


def _stops(rows: Sequence[tuple[str, float, float, float, float, float]]) -> tuple[Stop, ...]:
    """preset, x, y, width, dwell_s, move_s"""
    return tuple(Stop(preset=p, x=x, y=y, width=w, dwell_s=d, move_s=m) for p, x, y, w, d, m in rows)


_YARD = _stops(
    [
        ("path", 0.30, 0.30, 0.50, 9, 2.0),
        ("road", 0.70, 0.36, 0.50, 12, 1.0),
        ("", 0.55, 0.52, 0.42, 7, 2.5),
        ("kerb", 0.66, 0.64, 0.50, 8, 0.5),
        ("lamp", 0.45, 0.45, 0.34, 10, 3.0),
        ("wide", 0.50, 0.42, 0.90, 15, 4.0),
        ("road", 0.70, 0.36, 0.50, 6, 1.5),
        ("", 0.26, 0.72, 0.45, 6, 3.0),
    ]
)
_ROOM = _stops(
    [
        ("door", 0.28, 0.40, 0.50, 10, 2.0),
        ("table", 0.55, 0.55, 0.50, 12, 1.0),
        ("", 0.40, 0.62, 0.40, 7, 2.0),
        ("pillar", 0.72, 0.45, 0.46, 8, 0.5),
        ("floor", 0.35, 0.70, 0.50, 9, 4.0),
        ("whole", 0.50, 0.50, 0.95, 15, 3.0),
    ]
)
_ASPHALT = _stops(
    [
        ("left", 0.32, 0.32, 0.62, 8, 2.0),
        ("right", 0.70, 0.32, 0.60, 10, 1.0),
        ("", 0.52, 0.60, 0.60, 7, 2.0),
        ("near", 0.70, 0.70, 0.60, 9, 0.5),
        ("all", 0.50, 0.50, 0.98, 12, 4.0),
        ("mark", 0.82, 0.82, 0.36, 7, 3.0),
    ]
)


_CLIPS = {
    "yard": ("vtest.avi", _YARD, 0.75, 265),
    "room": ("one-by-one-person-detection.mp4", _ROOM, 1.0, 900),
    "asphalt": ("car-detection.mp4", _ASPHALT, 1.0, 125),
}
"""Clip; written tour; height, in heights of the clip, of a window as wide as it; the frame of teaching."""
_STEPS = ((40.0, 0.7), (75.0, 1.1), (110.0, 0.85))


def written(seconds: float) -> dict[str, Tour]:
    """The three tours on which the recogniser's constants were chosen."""
    buses = {
        "yard": (Bus(start_s=13), Bus(start_s=46)),
        "room": (Bus(start_s=15), Bus(start_s=55)),
        "asphalt": (Bus(start_s=30, cover=0.3),),
    }
    return {
        name: _tour(name, DomeSpec(stops=stops, seconds=seconds, steps=_STEPS, seed=n, buses=buses[name]))
        for n, (name, (_, stops, _, _)) in enumerate(_CLIPS.items(), 1)
    }


def drawn(seconds: float, seed: int) -> dict[str, Tour]:
    """Tours with stops, ways, dwells and buses drawn by chance: nothing was chosen by them."""
    made = {}
    for n, (name, (_, _, high, _)) in enumerate(_CLIPS.items()):
        rng = np.random.default_rng([seed, n])
        stops = _drawn_stops(rng, high)
        starts = sorted(float(s) for s in rng.uniform(5, seconds - 15, 3))
        buses = tuple(Bus(start_s=round(s, 1), cover=float(rng.uniform(0.2, 0.4))) for s in starts)
        steps = tuple((round(float(s), 1), float(rng.uniform(0.6, 1.1))) for s in rng.uniform(0, seconds, 3))
        spec = DomeSpec(stops=stops, seconds=seconds, seed=seed, buses=buses, steps=tuple(sorted(steps)))
        made[name] = _tour(name, spec)
    return made


def _tour(name: str, spec: DomeSpec) -> Tour:
    clip, _, _, taught = _CLIPS[name]
    return Tour(clip=clip, spec=spec, taught=taught, steady=name == "asphalt")


def _drawn_stops(rng: np.random.Generator, high: float) -> tuple[Stop, ...]:
    """Five presets and two places that are none, each apart from the others by a tenth of its width or more,
    or zoomed differently by a sixth or more."""
    places: list[tuple[float, float, float]] = []
    while len(places) < 7:
        width = float(rng.uniform(0.34, 0.9))
        tall = width * high
        x = float(rng.uniform(width / 2, 1 - width / 2))
        y = float(rng.uniform(tall / 2, 1 - tall / 2))
        if all(
            np.hypot(x - a, y - b) > 0.1 * min(width, w) or max(width / w, w / width) > 1.17
            for a, b, w in places
        ):
            places.append((round(x, 3), round(y, 3), round(width, 3)))
    names = ["a", "b", "", "c", "d", "", "e"]
    return tuple(
        Stop(
            preset=name,
            x=x,
            y=y,
            width=w,
            dwell_s=round(float(rng.uniform(6, 15)), 1),
            move_s=round(float(rng.uniform(0.5, 4)), 1),
        )
        for name, (x, y, w) in zip(names, places, strict=True)
    )


class Footage:
    """A clip in memory, and what a dome makes of it in the cache."""

    def __init__(self, tour: Tour) -> None:
        source, self.fps = read_clip(shared(f"footage/{tour.clip}"))
        self.source: Sequence[Image] = steadied(source) if tour.steady else source
        self._tour = tour

    def filmed(self, spec: DomeSpec) -> tuple[Path, list[Pose]]:
        """The clip that the dome sends and the truth of each of its frames; made once."""
        key = sha256(msgspec.json.encode([spec, self._tour.steady])).hexdigest()[:12]
        folder = cache_folder() / "bench" / f"dome-{RECIPE}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._tour.clip.split('.')[0]}-{key}.mp4"
        if not path.exists():
            part = path.with_suffix(".part.mp4")
            film(part, self.source, self.fps, spec)
            part.replace(path)
        return path, plan(spec, float(self.fps))

    def references(self, spec: DomeSpec) -> dict[str, list[Luma]]:
        """What `linli presets learn` would keep: one picture each, the median of a second, at another time
        of the clip, under other light, without jitter."""
        taught = msgspec.structs.replace(
            spec, seconds=1.0, light=0.0, steps=(), buses=(), seed=spec.seed + 77, first=self._tour.taught
        )
        found = {}
        for preset in sorted({stop.preset for stop in spec.stops if stop.preset}):
            here = msgspec.structs.replace(taught, fixed=preset)
            poses = plan(here, float(self.fps))
            views = [p[: spec.size[1]] for p in pictures(self.source, here, poses, float(self.fps))]
            found[preset] = [np.median(np.stack(views), axis=0).astype(np.uint8)]
        return found


def decoded(path: Path, fps: Fraction) -> Iterator[tuple[int, int, bool, Luma]]:
    """Number, media time, whether it is a keyframe, and luma of each frame."""
    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            yield n, round(n * TICKS / fps), frame.key_frame, luma(frame)
