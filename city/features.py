"""A thing on the map: what batches hold, what the store keeps, what OGC API Features answers."""

from typing import Any

import msgspec

from events.civic import Fact


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
