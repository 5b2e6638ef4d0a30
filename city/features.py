"""A thing on the map: what batches hold, what the store keeps, what OGC API Features answers."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from events.civic import Fact
from events.media import parse_rfc3339, rfc3339

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

Geometry = dict[str, Any]
"""GeoJSON geometry (RFC 7946), WGS 84 longitude and latitude."""

OWN = ("name", "level", "parent", "since", "until")
"""Properties of a feature's GeoJSON that are fields of `Feature`: none of its own is called so."""


class Feature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One jurisdiction, component, building, organisation, camera ... from and to a date."""

    id: str
    """Unique for its `what`: a division or grid code, an object code, an organisation's id."""
    what: str
    """jurisdiction, component, building, organisation, unit, estate, duty, station, camera ..."""
    name: str = ""
    level: str = ""
    """Of a jurisdiction: city, town, community, grid, building; `dedicated` for a grid inside another."""
    parent: str = ""
    """Code of the jurisdiction above (jurisdictions), or in which it lies (everything else)."""
    geometry: dict[str, Any] | None = None
    """GeoJSON geometry, WGS 84 longitude and latitude."""
    properties: dict[str, Fact | tuple[str, ...] | None] = {}
    since_us: int = 0
    until_us: int = 0
    """From when to when it is so; 0: open."""

    @property
    def area(self) -> str:
        """Code by which it is decided who may see it: its own, of a jurisdiction; else where it lies."""
        return self.id if self.what == "jurisdiction" else self.parent

    @property
    def kind(self) -> str:
        """By what the things of a layer are told apart: the first it has of kind, class and level."""
        return str(self.properties.get("kind") or self.properties.get("class") or self.level)


_WHOLE = msgspec.json.Encoder()
_LINE = msgspec.json.Decoder(Feature)


def to_geojson(feature: Feature) -> str:
    """The feature as GeoJSON text, on one line; the same feature gives the same text."""
    properties: dict[str, Any] = {}
    for name in ("name", "level", "parent"):
        if value := getattr(feature, name):
            properties[name] = value
    if feature.since_us:
        properties["since"] = rfc3339(feature.since_us)
    if feature.until_us:
        properties["until"] = rfc3339(feature.until_us)
    for key, fact in feature.properties.items():
        properties.setdefault(key, fact)
    whole = {"type": "Feature", "id": feature.id, "geometry": feature.geometry, "properties": properties}
    return _WHOLE.encode(whole).decode()


def from_geojson(what: str, text: str) -> Feature:
    """The feature that `to_geojson` wrote.

    Raises:
        msgspec.MsgspecError, ValueError: it is none.
    """
    whole = msgspec.json.decode(text)
    properties = dict(whole["properties"])
    own = {name: properties.pop(name, "") for name in OWN}
    return Feature(
        id=whole["id"],
        what=what,
        name=own["name"],
        level=own["level"],
        parent=own["parent"],
        geometry=whole["geometry"],
        properties={k: tuple(v) if isinstance(v, list) else v for k, v in properties.items()},
        since_us=parse_rfc3339(own["since"]) if own["since"] else 0,
        until_us=parse_rfc3339(own["until"]) if own["until"] else 0,
    )


def to_line(feature: Feature) -> bytes:
    """The feature as a line of a batch, with its end."""
    return _WHOLE.encode(feature) + b"\n"


def from_line(line: bytes | memoryview) -> Feature:
    """The feature of a batch's line. Raises msgspec.MsgspecError: it is none."""
    return _LINE.decode(line)


def positions(coordinates: Any) -> Iterator[tuple[float, float]]:
    """All positions in a geometry's coordinates."""
    if coordinates and isinstance(coordinates[0], (int, float)):
        yield coordinates[0], coordinates[1]
        return
    for part in coordinates:
        yield from positions(part)


def bounds(geometry: Mapping[str, Any] | None) -> Box | None:
    """The box around a geometry; None: there is none, or it is empty."""
    if geometry is None:
        return None
    kind = geometry["type"]
    if kind == "GeometryCollection":
        boxes = [box for part in geometry["geometries"] if (box := bounds(part)) is not None]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes, strict=True)
        return min(west), min(south), max(east), max(north)
    coordinates = geometry["coordinates"]
    if kind == "Point" and coordinates:
        x, y = coordinates[0], coordinates[1]
        return x, y, x, y
    if kind == "Polygon" and coordinates:
        coordinates = coordinates[0]  # holes lie within
    found = list(positions(coordinates))
    if not found:
        return None
    xs, ys = zip(*found, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def on_earth(box: Box) -> bool:
    """Whether the box holds longitudes and latitudes."""
    west, south, east, north = box
    return all(map(math.isfinite, box)) and -180 <= west <= east <= 180 and -90 <= south <= north <= 90
