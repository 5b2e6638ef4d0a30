"""The map: layers of features, each ready as GeoJSON text, found by place, time, jurisdiction and property.

    page = store.features.items("component", Window(bbox=(117.1, 35.0, 117.2, 35.1)), limit=1000)
    chain = store.features.locate(117.16, 35.08)     # ["370481", "370481001", "370481001001", ...]

A layer is called as `what` its features are (jurisdiction, component, building, organisation, camera ...);
`alerts` and the scenarios' layers are put there by projections.
"""

import hashlib
import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import Column, Connection, Engine, Row, select
from sqlalchemy.sql import Select

from city.features import Box, Feature, bounds, from_geojson, from_line, to_geojson
from city.jurisdictions import Jurisdictions
from events.civic import PlaceChanged, PlacesImported
from events.errors import EventRefused, StorageError
from events.events import Event
from storage.city.engine import driver, reading, upsert
from storage.city.featurealerts import ALERTS, alerts_after, verdicts_on
from storage.city.featurereads import Cluster, Layer, Page, Query, Window, clusters, outside, token
from storage.city.featuretables import BEFORE, FEATURES, LAYERS, PLACE_SOURCES
from storage.city.featurewrites import Driver, LayerWriter, mark_of
from storage.city.hilbert import cells
from storage.objects import Objects

__all__ = ["Box", "Feature", "FeatureTables", "Layer", "Page", "Was", "Window"]

JURISDICTION = "jurisdiction"


class Was(msgspec.Struct, frozen=True, kw_only=True):
    """What a feature was."""

    from_us: int
    to_us: int
    text: str
    """GeoJSON."""


class Drawn(NamedTuple):
    """Features for a drawing."""

    texts: list[str]
    total: int
    """How many there are in the window."""


class FeatureTables:
    """The part of the store that is the map. From any thread."""

    def __init__(self, engine: Engine, objects: Objects) -> None:
        self._engine = engine
        self._objects = objects
        self._lock = threading.Lock()
        self._tree = (-1, Jurisdictions(()))

    # -- projections

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """Batches and single changes of the map's things, in order.

        Raises:
            EventRefused: a batch is not what its event says.
            StorageError: a batch is not there.
        """
        for event in self._unseen(connection, events):
            data = event.data
            if isinstance(data, PlacesImported):
                self._import(connection, data)
            elif isinstance(data, PlaceChanged):
                writer = LayerWriter(connection, data.what, valid_us=data.valid_us, history=True)
                if data.body:
                    writer.put([_decoded(data)])
                else:
                    writer.remove([data.feature])
                writer.close()

    def project_alerts(self, connection: Connection, events: Sequence[Event]) -> None:
        """Alerts that have a place, with what became of them."""
        changed = alerts_after(
            events,
            lambda ids: self._some(connection, ALERTS, ids),
            verdicts_on(connection, events),
            lambda place: self._area(connection, *place),
        )
        if changed:
            self.put(connection, ALERTS, changed)

    def put(
        self,
        connection: Connection,
        layer: str,
        rows: Sequence[Feature],
        *,
        valid_us: int = 0,
        history: bool = False,
    ) -> None:
        """Make or replace features of a layer (`parent`: code of the jurisdiction they lie in). For other
        projections; many at once are quicker than one after the other.

        Args:
            history: what was before is kept, as having held until `valid_us`.
        """
        writer = LayerWriter(connection, layer, valid_us=valid_us, history=history)
        writer.put(rows)
        writer.close()

    def remove(self, connection: Connection, layer: str, ids: Sequence[str], *, valid_us: int = 0) -> None:
        """Take features out of a layer. With `valid_us` they are kept as having held until then."""
        writer = LayerWriter(connection, layer, valid_us=valid_us, history=valid_us > 0)
        writer.remove(ids)
        writer.close()

    def _unseen(self, connection: Connection, events: Sequence[Event]) -> list[Event]:
        query = select(PLACE_SOURCES.c.source, PLACE_SOURCES.c.sequence).where(
            PLACE_SOURCES.c.source.in_({event.source for event in events})
        )
        last = {row.source: int(row.sequence) for row in connection.execute(query)}
        unseen: list[Event] = []
        for event in events:
            if event.sequence > last.get(event.source, -1):
                unseen.append(event)
                last[event.source] = event.sequence
        rows = {event.source: last[event.source] for event in unseen}
        upsert(connection, PLACE_SOURCES, [{"source": s, "sequence": n} for s, n in rows.items()])
        return unseen

    def _import(self, connection: Connection, data: PlacesImported) -> None:
        batch = self._objects.get(data.object)
        if batch is None:
            raise StorageError(f"the batch {data.object} is not among the objects; put it back and go on")
        if hashlib.sha256(batch).hexdigest() != data.sha256:
            raise EventRefused(f"the batch {data.object} is not what was imported: its SHA-256 is another")
        writer = LayerWriter(connection, data.what, valid_us=data.valid_us, history=True)
        try:
            writer.put(_near_together(batch))
            if data.complete:
                kept = {from_line(line).id for line in io.BytesIO(batch)}
                writer.remove(id for id in writer.ids() if id not in kept)
        except msgspec.MsgspecError as error:
            raise EventRefused(f"the batch {data.object} does not hold features: {error}") from error
        writer.close()

    def _some(self, connection: Connection, layer: str, ids: Iterable[str]) -> dict[str, Feature]:
        wanted = set(ids)
        if not wanted:
            return {}
        query = _in_layer(layer).where(FEATURES.c.id.in_(wanted))
        return {row.id: from_geojson(layer, row.body) for row in connection.execute(query)}

    # -- queries

    def items(self, layer: str, window: Window, limit: int = 10, after: str = "") -> Page:
        """Features of a layer that touch the window's box and time.

        Args:
            after: a page's `next`.

        Raises:
            StorageError: no such `after`.
        """
        known = self.layer(layer)
        start = token(after)
        if known is None:
            return Page([], "")
        with reading(self._engine) as connection:
            query = Query(connection, known, window)
            if window.bbox is None:
                rows = query.page(start, limit + 1, "f.seq, f.body")
            else:
                rows = _within(query, window.bbox, start, limit)
        more = str(rows[limit - 1][0]) if len(rows) > limit else ""
        return Page([row[1] for row in rows[:limit]], more)

    def count(self, layer: str, window: Window) -> int:
        """How many features `items` finds in all."""
        known = self.layer(layer)
        if known is None:
            return 0
        if window == Window():
            return known.count
        with reading(self._engine) as connection:
            query = Query(connection, known, window)
            found = query.count()
            if window.bbox is not None:
                found -= len(outside(query.rim(window.bbox), window.bbox))
        return found

    def drawn(self, layer: Layer, window: Window, most: int, least: tuple[float, float]) -> Drawn:
        """For a drawing: all of a window if they are at most so many, else those of at least this size."""
        with reading(self._engine) as connection:
            found = Query(connection, layer, window).count()
            query = Query(connection, layer, window).thin(least=least if found > most else (0.0, 0.0))
            return Drawn([row[0] for row in query.page(-1, most, "f.body")], found)

    def sampled(self, layer: Layer, window: Window, every: int, most: int) -> list[str]:
        """For a drawing: each so manieth of a window."""
        with reading(self._engine) as connection:
            query = Query(connection, layer, window).thin(every)
            return [row[0] for row in query.page(-1, most, "f.body")]

    def clusters(self, layer: Layer) -> list[Cluster]:
        """For a drawing from afar: where about how many features are."""
        with reading(self._engine) as connection:
            return clusters(connection, layer)

    def feature(self, layer: str, id: str, area: str = "") -> str | None:
        """GeoJSON text of one; None: there is none, or not in that jurisdiction (`Window.area`)."""
        with reading(self._engine) as connection:
            query = _in_layer(layer).where(FEATURES.c.id == id)
            if area:
                query = query.where(FEATURES.c.area.startswith(area, autoescape=True))
            row = connection.execute(query).first()
        return None if row is None else str(row.body)

    def get(self, layer: str, id: str) -> Feature | None:
        """One, as a value; None: there is none."""
        text = self.feature(layer, id)
        return None if text is None else from_geojson(layer, text)

    def some(self, layer: str, ids: Iterable[str]) -> dict[str, Feature]:
        """Those of these that are there, by id."""
        with reading(self._engine) as connection:
            return self._some(connection, layer, ids)

    def changed(self, layer: str, features: Sequence[Feature]) -> list[str]:
        """Ids of those of these that would change the layer if they were put into it."""
        known = self.layer(layer)
        if known is None or not known.count:
            return [feature.id for feature in features]
        with reading(self._engine) as connection:
            there = Driver(connection).known(known.number, [feature.id for feature in features])
        marks = {id: old.mark for id, old in there.items()}
        return [f.id for f in features if marks.get(f.id) != mark_of(to_geojson(f))]

    def ids(self, layer: str) -> list[str]:
        """Of all features of a layer."""
        with reading(self._engine) as connection:
            return [row.id for row in connection.execute(_in_layer(layer, FEATURES.c.id))]

    def taken(self, source: str) -> int:
        """The last event of the source that is in the store; -1: none."""
        query = select(PLACE_SOURCES.c.sequence).where(PLACE_SOURCES.c.source == source)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalar()
        return -1 if found is None else int(found)

    def every(self, layer: str, window: Window | None = None, page: int = 10_000) -> Iterator[Feature]:
        """All features of a layer, in its order."""
        after = ""
        while True:
            found = self.items(layer, window or Window(), page, after)
            for text in found.texts:
                yield from_geojson(layer, text)
            after = found.next
            if not after:
                return

    def before(self, layer: str, id: str) -> list[Was]:
        """What a feature was, the first first; what it is now is not among it."""
        query = (
            select(BEFORE)
            .join(LAYERS, LAYERS.c.number == BEFORE.c.layer)
            .where(LAYERS.c.name == layer, BEFORE.c.id == id)
            .order_by(BEFORE.c.number)
        )
        with reading(self._engine) as connection:
            return [Was(from_us=r.from_us, to_us=r.to_us, text=r.body) for r in connection.execute(query)]

    def layers(self) -> list[Layer]:
        """What has or had features, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(LAYERS).order_by(LAYERS.c.name)).all()
        return [_layer(row) for row in rows]

    def layer(self, name: str) -> Layer | None:
        """One of them; None: there is none."""
        with reading(self._engine) as connection:
            row = connection.execute(select(LAYERS).where(LAYERS.c.name == name)).first()
        return None if row is None else _layer(row)

    def locate(self, lon: float, lat: float) -> list[str]:
        """Codes of the jurisdictions at a place, from the city down; a dedicated grid instead of the one
        around it. Empty: outside."""
        return self.jurisdictions().locate(lon, lat)

    def jurisdictions(self) -> Jurisdictions:
        """The tree as it is now."""
        with reading(self._engine) as connection:
            return self._current(connection)

    def _area(self, connection: Connection, lon: float, lat: float) -> str:
        chain = self._current(connection).locate(lon, lat)
        return chain[-1] if chain else ""

    def _current(self, connection: Connection) -> Jurisdictions:
        """The tree as the connection sees it: read anew when the layer has changed."""
        with driver(connection) as cursor:  # asked with every place: the plain way takes a tenth of the time
            cursor.execute(f"SELECT changes FROM city_layers WHERE name = '{JURISDICTION}'")
            changes = next(iter(cursor.fetchone() or (0,)))
        known, tree = self._tree
        if known == changes:
            return tree
        with self._lock:
            rows = connection.execute(_in_layer(JURISDICTION))
            tree = Jurisdictions(from_geojson(JURISDICTION, row.body) for row in rows)
            self._tree = (changes, tree)
        return tree


def _within(query: Query, box: Box, start: int, limit: int) -> list[tuple[Any, ...]]:
    """Rows that touch the box itself, not only with the boxes around them; one more than `limit`."""
    found: list[tuple[Any, ...]] = []
    away: set[int] | None = None
    while True:
        rows = query.page(start, limit + 1, "f.seq, f.body, f.x0 = f.x1 AND f.y0 = f.y1")
        if away is None:
            away = set() if all(map(itemgetter(2), rows)) else outside(query.rim(box), box)
        found += [row for row in rows if row[0] not in away] if away else rows
        if len(rows) <= limit or len(found) > limit:
            return found[: limit + 1]
        start = rows[-1][0]


def _in_layer(name: str, *columns: Column[Any]) -> Select[Any]:
    return (
        select(*(columns or (FEATURES.c.id, FEATURES.c.body)))
        .join(LAYERS, LAYERS.c.number == FEATURES.c.layer)
        .where(LAYERS.c.name == name)
    )


def _layer(row: Row[Any]) -> Layer:
    number, name, count, changes, properties, x0, y0, x1, y1 = tuple(row)
    return Layer(
        name=name,
        number=number,
        count=count,
        changes=changes,
        bbox=None if x0 is None else (x0, y0, x1, y1),
        properties=msgspec.json.decode(properties, type=dict[str, str]),
    )


def _decoded(data: PlaceChanged) -> Feature:
    try:
        feature = from_line(data.body.encode())
    except msgspec.MsgspecError as error:
        raise EventRefused(f"{data.what} {data.feature} is no feature: {error}") from error
    return msgspec.structs.replace(feature, id=data.feature, what=data.what)


class _Place(msgspec.Struct):
    geometry: dict[str, Any] | None = None


def _near_together(batch: bytes) -> Iterator[Feature]:
    """The batch's features in the order of their places, read twice so that they are never all in memory."""
    decoder = msgspec.json.Decoder(_Place)
    starts: list[int] = []
    boxes: list[Box] = []
    at = 0
    for line in io.BytesIO(batch):
        starts.append(at)
        boxes.append(bounds(decoder.decode(line).geometry) or (0.0, 0.0, 0.0, 0.0))
        at += len(line)
    ends = [*starts[1:], at]
    view = memoryview(batch)
    for n in np.argsort(cells(boxes, order=24), kind="stable").tolist() if boxes else ():
        yield from_line(view[starts[n] : ends[n]])
