"""The query parameters of OGC API - Features, Part 1: Core (OGC 17-069r4), read strictly."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

from city.features import OWN, Box
from console.problems import Problem
from events.media import parse_rfc3339
from storage.city.features import Layer, Window

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
MOST = 10_000
USUAL = 10
NAMED = ("bbox", "bbox-crs", "datetime", "limit", "after", "area")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)


def window_of(params: QueryParams, layer: Layer, prefix: str) -> Window:
    """What is asked for, no more than the caller may see.

    Args:
        prefix: how codes of what it may see begin.

    Raises:
        Problem: 400, naming the parameter.
    """
    properties = [*OWN, *layer.properties]
    _check_names(params, (*NAMED, *properties))
    from_us, to_us = datetime_of(params.get("datetime"))
    crs = params.get("bbox-crs", CRS84)
    if crs.strip("[]") != CRS84:
        raise Problem(400, f"bbox-crs must be {CRS84}", "bbox-crs")
    filters = {name: params[name] for name in properties if name in params}
    if "area" in params:
        filters["area"] = params["area"]
    if any("\x00" in value for value in filters.values()):
        raise Problem(400, "a filter's value has a character that nothing has")
    return Window(
        bbox=bbox_of(params.get("bbox")), from_us=from_us, to_us=to_us, filters=filters, area=prefix
    )


def bbox_of(text: str | None) -> Box | None:
    """Four numbers, or six with heights, which are passed over. West above east: over the antimeridian.

    Raises:
        Problem: 400.
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise Problem(400, f"bbox must be four numbers: west,south,east,north; not {text[:60]!r}", "bbox")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise Problem(
            400,
            f"bbox {text[:60]!r} must have longitudes within 180 and latitudes from south to north",
            "bbox",
        )
    return west, south, east, north


def datetime_of(text: str | None) -> tuple[int | None, int | None]:
    """First and last microsecond of a moment, a day (UTC) or an interval; None: open.

    Raises:
        Problem: 400.
    """
    if text is None:
        return None, None
    parts = text.split("/")
    try:
        if len(parts) == 1:
            return _moment(text, False), _moment(text, True)
        if len(parts) != 2 or all(part in ("", "..") for part in parts):
            raise ValueError
        first = None if parts[0] in ("", "..") else _moment(parts[0], False)
        last = None if parts[1] in ("", "..") else _moment(parts[1], True)
    except (ValueError, OverflowError):
        raise Problem(
            400,
            "datetime must be a moment like 2026-01-31T08:00:00Z, or an interval like "
            f"2026-01-01T00:00:00Z/.. ; not {text[:60]!r}",
            "datetime",
        ) from None
    if first is not None and last is not None and first > last:
        raise Problem(400, f"datetime {text[:60]!r} ends before it begins", "datetime")
    return first, last


def _moment(text: str, end: bool) -> int:
    if _DAY.fullmatch(text):
        day = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return (
            parse_rfc3339((day + timedelta(days=1)).isoformat()) - 1
            if end
            else parse_rfc3339(day.isoformat())
        )
    if not _MOMENT.fullmatch(text):
        raise ValueError
    return parse_rfc3339(text.upper())


def after_of(text: str | None) -> str:
    """Where to go on, as a `next` link says it.

    Raises:
        Problem: 400.
    """
    if text is None:
        return ""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem(400, "after is what a `next` link has; follow the link as it is", "after")
    return text


def _check_names(params: QueryParams, known: Iterable[str]) -> None:
    names = set(known)
    for name in params:
        if name not in names:
            mend = ", ".join(sorted(names))
            raise Problem(400, f"there is no parameter {name[:40]!r} here; it takes {mend}", name[:40])
        if len(params.getlist(name)) > 1:
            raise Problem(400, f"{name} is given twice; give it once", name)
