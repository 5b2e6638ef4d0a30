"""The map's tables: every layer's features as prebuilt GeoJSON text, with an index by place and by time.

    page = store.features.items("component", Window(bbox=(117.1, 35.0, 117.2, 35.1)), limit=1000)
    chain = store.features.locate(117.16, 35.08)     # ["370481", "370481001", "370481001001", "370481001001G03"]

Being built: what is below is how it is called.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from city.features import Feature
from events.events import Event
from storage.objects import Objects

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which features of a layer."""

    bbox: Box | None = None
    from_us: int | None = None
    to_us: int | None = None
    """Those whose time touches [from_us, to_us]; None: open."""
    filters: Mapping[str, str] = {}
    """Property -> value as text."""
    area: str = ""
    """How the code of their jurisdiction begins; '': anywhere."""


class Page(NamedTuple):
    """Features in the order of the layer."""

    texts: list[str]
    """GeoJSON text of each."""
    next: str
    """Where to go on; '': there are no more."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that has features."""

    name: str
    count: int
    bbox: Box | None


class FeatureTables:
    """The part of the store that is the map. From any thread."""

    def __init__(self, engine: Engine, objects: Objects) -> None:
        self._engine = engine
        self._objects = objects

    # -- projections

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """PlacesImported and PlaceChanged."""

    def project_alerts(self, connection: Connection, events: Sequence[Event]) -> None:
        """Alerts with a place, in the layer `alerts`."""

    def put(
        self,
        connection: Connection,
        layer: str,
        rows: Sequence[Feature],
        *,
        valid_us: int = 0,
        history: bool = False,
    ) -> None:
        """Make or replace features of a layer (`Feature.parent`: code of the jurisdiction they lie in). For
        other projections. `history`: what was before is kept, as of `valid_us`."""

    def remove(self, connection: Connection, layer: str, ids: Sequence[str], *, valid_us: int = 0) -> None:
        """Take features out of a layer."""

    # -- queries

    def items(self, layer: str, window: Window, limit: int = 10, after: str = "") -> Page:
        """Features of a layer. `after`: a page's `next`."""
        return Page([], "")

    def count(self, layer: str, window: Window) -> int:
        """How many there are."""
        return 0

    def feature(self, layer: str, id: str) -> str | None:
        """GeoJSON text of one; None: there is none."""
        return None

    def layers(self) -> list[Layer]:
        """What there is on the map."""
        return []

    def locate(self, lon: float, lat: float) -> list[str]:
        """Codes of the jurisdictions at a place, from the city down; a dedicated grid before the one around
        it. Empty: outside."""
        return []
