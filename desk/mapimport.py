"""Puts things on the map: files as one batch each, single ones with a version.

    desk = MapDesk(journal, store, objects, clock, "linli", "370481")
    report = desk.load(Path("grids.geojson"), "jurisdiction", actor, dry=True)   # what would happen
    report = desk.load(Path("grids.geojson"), "jurisdiction", actor)

A file is checked row by row. What is in order becomes one batch among the objects, named by its digest, and
one event in the journal; what is not is told with row, field and reason, and can be written to a file that is
mended and sent again. The same file again changes nothing and makes no event.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import shapely

from city.components import ComponentTable, shipped
from city.features import Feature, to_line
from city.jurisdictions import Jurisdictions
from city.layers import KINDS, flaw
from city.rights import WHOLE, Actor, decide
from desk.mapbatch import Batch, Loaded, Report
from desk.mapcheck import Checker
from desk.mapfiles import Raw, read
from events.civic import PlaceChanged, PlacesImported, desk_source, place_source
from events.clock import Clock
from events.errors import AccessDenied, ConfigError, NoSuchThing, NotShownYet, VersionConflict
from events.events import AnyPayload, Event
from events.ids import event_id
from storage.city.store import CityStore
from storage.journal import Journal
from storage.objects import Objects

Tick = Callable[[int], None]
"""Told how many rows were looked at."""

FAMILY = "place"
_TRIES = 5
_LOOK_S = 0.01


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is to be taken."""

    layer: str = ""
    """Of a GeoPackage with several."""
    fields: Mapping[str, str] = {}
    """Field or property -> column of the file."""
    complete: bool = False
    """The file has all there is; what is not in it is gone."""
    valid_us: int = 0
    """From when on it holds; 0: now."""


USUAL = Options()


class MapDesk:
    """See the module's text. From any thread.

    Args:
        site: id of the site, for events' sources.
        city: division code of what is served; codes have to begin with it.
        table: classes of city components.
        zone: in which days begin.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each given once
        self,
        journal: Journal,
        store: CityStore,
        objects: Objects,
        clock: Clock,
        site: str,
        city: str,
        *,
        table: ComponentTable | None = None,
        zone: str = "Asia/Shanghai",
    ) -> None:
        self._journal = journal
        self._store = store
        self._objects = objects
        self._clock = clock
        self._site = site
        self._city = city
        self._table = table or shipped()
        self._zone = ZoneInfo(zone)

    # -- files

    def load(
        self,
        path: Path,
        what: str,
        actor: Actor,
        options: Options = USUAL,
        *,
        dry: bool = False,
        tick: Tick = lambda _: None,
    ) -> Loaded:
        """Import a file, or (`dry`) only say what it would do.

        Raises:
            ConfigError: the file cannot be read, or there is no such kind or column.
            AccessDenied: the actor may not change the map, or not all of it where `complete`.
            StorageError: nothing was imported.
        """
        if what not in KINDS:
            raise ConfigError(f"there is no kind {what!r}; there are {', '.join(KINDS)}")
        self._may(actor, WHOLE)
        if options.complete and actor.place not in (WHOLE, self._city):
            raise AccessDenied(f"{actor.who} is not for the whole city, so its file cannot be complete")
        checker = Checker(
            what,
            fields=options.fields,
            tree=self._store.features.jurisdictions(),
            city=self._city,
            table=self._table,
            zone=self._zone,
            actor=actor,
        )
        batch = Batch(self._store.features)
        for rows in read(path, options.layer):
            batch.add(checker.features(rows), len(rows))
            tick(len(rows))
        if what == "jurisdiction":
            self._fit(checker, batch)
        gone = set(self._store.features.ids(what)) - batch.lines.keys() if options.complete else set()
        data = self._described(batch, what, path, checker, options.valid_us, actor)
        # What was rejected is not gone: a file with mistakes is not taken for all there is.
        worth = bool(batch.lines and (batch.changed or gone)) and not (options.complete and checker.rejected)
        event = ""
        if worth and not dry:
            event = self._write(msgspec.structs.replace(data, complete=options.complete), batch.body)
        report = Report(
            what=what,
            rows=batch.rows,
            accepted=len(batch.lines),
            changed=batch.changed,
            removed=len(gone),
            rejected=tuple(rejected for rejected, _ in checker.rejected),
            left_out=tuple(sorted(checker.left_out)),
            batch=data.object if worth else "",
            event=event,
        )
        return Loaded(report, checker.rejected)

    def _described(
        self, batch: "Batch", what: str, path: Path, checker: Checker, valid_us: int, actor: Actor
    ) -> PlacesImported:
        digest = hashlib.sha256(batch.body).hexdigest()
        return PlacesImported(
            what=what,
            object=f"places/{what}/{digest}.jsonl",
            sha256=digest,
            rows=len(batch.lines),
            rejected=len(checker.rejected),
            origin=path.name[:120],
            valid_us=valid_us or self._clock.wall_us(),
            who=actor.who,
        )

    def _fit(self, checker: Checker, batch: "Batch") -> None:
        """Reject jurisdictions that do not go together with the others, until the rest does."""
        there = {feature.id: feature for feature in self._store.features.every("jurisdiction")}
        while True:
            tree = Jurisdictions((there | batch.features).values())
            wrong: dict[str, str] = {}
            for found in tree.flaws():
                code = found.code if found.code in batch.features else found.other
                if code in batch.features:
                    wrong.setdefault(
                        code, found.text if code == found.code else f"{found.code}: {found.text}"
                    )
            if not wrong:
                return
            for code, why in sorted(wrong.items()):
                checker.reject(batch.drop(code), code, "geometry" if "square" in why else "parent", why)

    def _write(self, data: PlacesImported, body: bytes) -> str:
        """The batch, then the event that names it."""
        self._objects.put(data.object, body)
        source = desk_source(self._site)
        for _ in range(_TRIES):
            version = len(self._journal.history(source, FAMILY))
            event = self._event(source, version, data)
            try:
                self._journal.append_next([event])
            except VersionConflict:
                continue  # another import was first; the two do not depend on each other
            return event.id
        raise VersionConflict(f"{_TRIES} other imports came first; try again")

    # -- single things

    def change(self, what: str, id: str, feature: Feature | None, expected_version: int, actor: Actor) -> int:
        """Make, change or (None) remove one thing; answers its new version, or the old one if it is so
        already.

        Args:
            expected_version: what `version` said; -1: nobody has edited it.

        Raises:
            ConfigError: there is no such kind, or the feature is not in order.
            AccessDenied: the actor may not change the map there.
            NoSuchThing: there is nothing to remove.
            VersionConflict: somebody else was first.
            StorageError: nothing was changed.
        """
        if what not in KINDS:
            raise ConfigError(f"there is no kind {what!r}; there are {', '.join(KINDS)}")
        was = self._store.features.get(what, id)
        if feature is None and was is None:
            raise NoSuchThing(f"there is no {what} {id[:64]!r}")
        for one in (was, feature):
            if one is not None:
                self._may(actor, one.area or WHOLE)
        body = ""
        if feature is not None:
            feature = self._tidied(msgspec.structs.replace(feature, id=id, what=what), actor)
            if feature == was and self.version(what, id) == expected_version:
                return expected_version
            body = to_line(feature).decode().strip()
        data = PlaceChanged(what=what, feature=id, body=body, valid_us=self._clock.wall_us(), who=actor.who)
        source = place_source(self._site, what, id)
        version = expected_version + 1
        self._journal.append_next([self._event(source, version, data)])
        return version

    def version(self, what: str, id: str) -> int:
        """How often a thing was edited, from 0; -1: never."""
        return len(self._journal.history(place_source(self._site, what, id), FAMILY)) - 1

    def shown(self, what: str, id: str, version: int, wait_s: float = 5.0) -> None:
        """Return once the store has this version of a thing.

        Raises:
            NotShownYet: it has not in time. The version is journaled all the same.
        """
        if not self._taken(place_source(self._site, what, id), version, wait_s):
            raise NotShownYet(
                f"{what} {id}: version {version} is journaled and holds, but the store does not show it "
                "yet (is `linli run` or `linli serve` running?)",
                id,
                version,
            )

    def arrived(self, wait_s: float) -> bool:
        """Whether every import so far is in the store, at the latest after this time."""
        source = desk_source(self._site)
        return self._taken(source, len(self._journal.history(source, FAMILY)) - 1, wait_s)

    def _taken(self, source: str, version: int, wait_s: float) -> bool:
        until = self._clock.monotonic() + wait_s
        while self._store.features.taken(source) < version:
            if self._clock.monotonic() >= until:
                return False
            self._clock.sleep(_LOOK_S)
        return True

    def _tidied(self, feature: Feature, actor: Actor) -> Feature:
        """One feature as a row of a file would give it, by the same rules. Raises ConfigError."""
        properties = {**feature.properties, "id": feature.id, "name": feature.name, "level": feature.level,
                      "parent": feature.parent}  # fmt: skip
        checker = Checker(
            feature.what,
            fields={},
            tree=self._store.features.jurisdictions(),
            city=self._city,
            table=self._table,
            zone=self._zone,
            actor=actor,
        )
        shape = None
        if feature.geometry is not None:
            shape = shapely.from_geojson(msgspec.json.encode(feature.geometry).decode(), on_invalid="ignore")
        problem = "the geometry cannot be read" if feature.geometry is not None and shape is None else ""
        found = checker.features([Raw(1, properties, shape, problem)])
        batch = Batch(self._store.features)
        batch.add(found, 1)
        if feature.what == "jurisdiction" and not checker.rejected:
            self._fit(checker, batch)
        if checker.rejected:
            wrong = checker.rejected[0][0]
            raise ConfigError(f"{feature.what} {feature.id[:64]}: {wrong.field}: {wrong.why}")
        tidy = msgspec.structs.replace(found[0][0], since_us=feature.since_us, until_us=feature.until_us)
        field, why = flaw(tidy, self._city, self._table)
        if why:
            raise ConfigError(f"{feature.what} {feature.id[:64]}: {field}: {why}")
        return tidy

    def _may(self, actor: Actor, area: str) -> None:
        decision = decide(actor, "map.write", area)
        if not decision.allowed:
            raise AccessDenied(decision.why)

    def _event(self, source: str, version: int, data: AnyPayload) -> Event:
        # The payload is in the id: of two different ones with one number, the second is told so.
        body = hashlib.sha256(msgspec.json.encode(data)).hexdigest()
        return Event(
            id=event_id(source, FAMILY, 0, version, body),
            source=source,
            time_us=self._clock.wall_us(),
            epoch=0,
            sequence=version,
            data=data,
        )
