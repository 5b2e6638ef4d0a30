"""Writes a synthetic city's tables: columns of text, a chunk at a time, the same bytes for the same rows."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desk.synthground import Ints

CHUNK = 50_000

Columns = Mapping[str, Sequence[str]]
Tick = Callable[[int], None]
"""Told how many rows were written."""


def write_csv(path: Path, chunks: Iterable[Columns], tick: Tick) -> int:
    """UTF-8 with LF. No value may hold a comma, a quote or a line's end, unless it is quoted already."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for columns in chunks:
            if not rows:
                file.write(",".join(columns) + "\n")
            lines = list(map(",".join, zip(*columns.values(), strict=True)))
            file.write("\n".join(lines) + "\n" if lines else "")
            rows += len(lines)
            tick(len(lines))
    return rows


def write_geojson(path: Path, features: Iterable[Mapping[str, Any]], tick: Tick) -> int:
    """A FeatureCollection with one feature a line."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write('{"type":"FeatureCollection","features":[\n')
        for feature in features:
            file.write((",\n" if rows else "") + compact(feature))
            rows += 1
            tick(1)
        file.write("\n]}\n")
    return rows


def compact(value: Any) -> str:
    """JSON without spaces, characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def spans(count: int) -> Iterator[slice]:
    """The rows, a chunk at a time; one empty chunk if there are none."""
    for first in range(0, max(count, 1), CHUNK):
        yield slice(first, min(first + CHUNK, count))


def texts(values: NDArray[Any], form: str = "") -> list[str]:
    """Numbers as text: as they are, or by a format such as `07d`."""
    if not form:
        return list(map(str, values.tolist()))
    return list(map(f"{{:{form}}}".format, values.tolist()))


def pick(names: Sequence[str], numbers: NDArray[Any]) -> list[str]:
    """The names with these numbers; a negative one counts from the end, so put '' last for 'none'."""
    return list(map(names.__getitem__, numbers.tolist()))


def dates(days: Ints) -> list[str]:
    """YYYY-MM-DD of days since 1970."""
    text: list[str] = np.datetime_as_string(days.astype("datetime64[D]")).tolist()
    return text


def moments(seconds: Ints, zone: str = "+08:00", hours: int = 8) -> list[str]:
    """RFC 3339 local time of seconds since 1970."""
    local = (seconds + hours * 3600).astype("datetime64[s]")
    return [text + zone for text in np.datetime_as_string(local).tolist()]
