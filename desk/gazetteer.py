"""Where an address lies, by the names that the map knows: communities, estates, buildings.

An address is looked through for every name in it. The finest thing counts whose jurisdiction agrees with the
others that are named; where a name is of several things, and nothing else tells them apart, only what they
have in common is said. Nothing of the address is kept.
"""

import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from city.features import Feature
from events.payload import Place
from storage.city.features import FeatureTables

LAYERS = ("jurisdiction", "estate", "building")
"""Coarsest first."""
LEAST = 2
"""Characters of a name that is looked for."""
_MOST = 50
"""Things of one name; a name of more says nothing."""
_REMEMBERED = 20_000


class Found(msgspec.Struct, frozen=True):
    """Where an address lies."""

    area: str
    """Code of the smallest jurisdiction that is known for certain."""
    place: Place | None = None
    """Of a building."""
    name: str = ""
    """The name that decided."""


class _Thing(NamedTuple):
    rank: int
    name: str
    area: str
    place: Place | None


class Gazetteer:
    """Names of the map, read again when it has changed. From any thread."""

    def __init__(self, features: FeatureTables) -> None:
        self._features = features
        self._lock = threading.Lock()
        self._names = _Names(())
        self._changes: tuple[int, ...] = ()

    def find(self, address: str, within: str = "") -> Found | None:
        """Where the address lies; None: no name in it says so.

        Args:
            within: code of a jurisdiction that is known already.

        Raises:
            StorageError: the map cannot be read.
        """
        return self.names().find(plain(address), within)

    def names(self) -> "_Names":
        """The names as they are now, for many addresses in a row."""
        layers = [self._features.layer(name) for name in LAYERS]
        changes = tuple(layer.changes if layer else 0 for layer in layers)
        with self._lock:
            if changes != self._changes:
                self._names = _Names(self._things())
                self._changes = changes
            return self._names

    def _things(self) -> Iterator[_Thing]:
        for rank, layer in enumerate(LAYERS):
            for feature in self._features.every(layer):
                area = feature.id if layer == "jurisdiction" else feature.parent
                # A whole city or town is no place to send somebody to.
                if area:
                    place = middle(feature) if layer == "building" else None
                    for name in _called(feature):
                        yield _Thing(rank, name, area, place)


class _Names:
    def __init__(self, things: Iterable[_Thing]) -> None:
        self._by_name: dict[str, list[_Thing]] = {}
        for thing in things:
            some = self._by_name.setdefault(thing.name, [])
            if len(some) <= _MOST:
                some.append(thing)
        self._lengths = sorted({len(name) for name in self._by_name}, reverse=True)
        self.find = lru_cache(_REMEMBERED)(self._find)

    def _find(self, text: str, within: str = "") -> Found | None:
        named = list(self._named(text))
        # What was named decides among things of one name: the finer it is, the later it is asked.
        area, chosen = within, None
        for rank in range(len(LAYERS)):
            for name in (name for name, things in named if things[0].rank == rank):
                fitting = [t for t in self._by_name[name] if _agree(t.area, area)]
                if not fitting or len(fitting) > _MOST:
                    continue
                common = _beginning([thing.area for thing in fitting])
                common = common if len(fitting) == 1 else _whole(common)
                if len(common) >= len(area):
                    place = fitting[0].place if len(fitting) == 1 else None
                    area, chosen = common, Found(common, place, name)
        return chosen if chosen and len(chosen.area) >= 12 else None

    def _named(self, text: str) -> Iterator[tuple[str, list[_Thing]]]:
        """Names in the text, none inside a longer one."""
        done = 0
        for start in range(len(text) - LEAST + 1):
            for length in self._lengths:
                end = start + length
                if end <= done or end > len(text):
                    continue
                things = self._by_name.get(text[start:end])
                if things and not _cuts(text, start, end):
                    yield text[start:end], things
                    done = end
                    break


def plain(text: str) -> str:
    """A name or address as it is compared: one form of each character, no spaces."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def middle(feature: Feature) -> Place | None:
    """The middle of a feature's box; None: it has no geometry."""
    corners = list(_corners((feature.geometry or {}).get("coordinates")))
    if not corners:
        return None
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return round((min(xs) + max(xs)) / 2, 7), round((min(ys) + max(ys)) / 2, 7)


def _corners(found: object) -> Iterator[Place]:
    if not isinstance(found, (list, tuple)) or not found:
        return
    if isinstance(found[0], (int, float)) and len(found) >= 2:
        yield float(found[0]), float(found[1])
    else:
        for inner in found:
            yield from _corners(inner)


def _called(feature: Feature) -> list[str]:
    """What the feature is called: its name and, of a building, its address."""
    # A name may be in two languages: 东街 / East Street.
    texts = (*feature.name.split(" / "), str(feature.properties.get("address") or ""))
    return [name for name in dict.fromkeys(map(plain, texts)) if len(name) >= LEAST]


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _beginning(codes: Sequence[str]) -> str:
    """What all of the codes begin with."""
    first, last = min(codes), max(codes)
    same = (n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, min(len(first), len(last)))]


def _whole(code: str) -> str:
    """The longest division code that a common beginning of codes stands for."""
    for digits in (12, 9, 6):
        if len(code) >= digits:
            return code[:digits]
    return ""


def _cuts(text: str, start: int, end: int) -> bool:
    """Whether a number is cut in two: 1号楼 is not in 11号楼."""
    left = start > 0 and text[start].isdigit() and text[start - 1].isdigit()
    return left or (end < len(text) and text[end - 1].isdigit() and text[end].isdigit())
