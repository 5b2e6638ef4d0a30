"""Wiring of the city's desk: its store, vault, packs and calendar from the site file, for the processes that
work with them.

`linli run` starts a process of its own for it (`linli city`), which brings events into the city's store and
moves cases by itself; the console's process serves the HTTP API. Needs the packages of linli[desk].
"""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from city import calendars, packs, ratingsfile
from city import services as categories
from city.clocks import Calendar
from city.features import Feature
from city.rights import WHOLE, Actor
from city.scenario import Pack
from cli import wiring
from cli.settings import Camera, Settings
from console.access import is_loopback
from console.city.context import CityParts
from desk.caseretention import CaseRetention
from desk.cases import CaseDesk
from desk.days import live
from desk.hotlineimport import HotlineImport
from desk.mapimport import MapDesk
from desk.registerimport import RegisterImport, areas_of
from desk.registers import Registers
from desk.upstream import Upstream
from desk.upstreamfiles import FilesUpstream
from desk.upstreamhttp import HttpUpstream
from desk.words import WordsBox
from events.bus import Bus, Record
from events.clock import Clock
from events.errors import ConfigError, LinliError
from events.events import Health
from events.topics import KEPT
from pipeline.casework import Above, Casework, casework_services
from pipeline.projector import Aside, Projector
from pipeline.service import Service
from storage.city.master import make_master, read_master
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects

log = logging.getLogger(__name__)

GROUP = "city"
"""The projector's name on the bus."""
CITY_FAMILIES = (*KEPT, "alert", "judgement")
"""Of the events that the city's store is made of."""
SYSTEM = Actor("site file", "administrator", WHOLE)
"""Who enters the cameras of the site file."""


class Hall(NamedTuple):
    """What every process of the desk has open."""

    journal: Journal
    store: CityStore
    objects: FolderObjects
    vault: Vault
    packs: Mapping[str, Pack]
    calendar: Calendar
    words: WordsBox

    def close(self) -> None:
        """Release all of it."""
        self.store.close()
        self.vault.close()
        self.journal.close()


def opened(settings: Settings, clock: Clock, journal: Journal | None = None) -> Hall:
    """Open the desk's parts.

    Raises:
        ConfigError: the site has no [city], or a pack, the calendar or the vault's key cannot be used.
        StorageError: store or vault cannot be opened.
    """
    section, base = settings.file.city, settings.path.parent
    if not section.code:
        raise ConfigError(f"{settings.path} has no city; add [city] with the code of what is served")
    paths = wiring.Paths(settings.data).make()
    chosen = packs.chosen(section.packs, base)
    calendar = calendars.load(base / section.calendar) if section.calendar else calendars.shipped()
    if calendar.zone != section.zone:
        raise ConfigError(
            f"[city] zone is {section.zone}, the working calendar's is {calendar.zone}; days would begin at "
            "two different times: write the same in both"
        )
    login = wiring.secret(settings.file.store.credentials, base)
    objects = FolderObjects(paths.data / "city")
    vault = Vault(_database(settings, paths.data / "vault.db"), read_master(_master(settings)), login)
    try:
        store = CityStore(
            _database(settings, paths.data / "city.db"), objects, vault, login=login, zone=section.zone
        )
    except LinliError:
        vault.close()
        raise
    journal = journal or Journal(paths.journal, clock)
    calendar = live(calendar, store, clock)
    return Hall(journal, store, objects, vault, chosen, calendar, WordsBox(objects, vault))


def _database(settings: Settings, file: Path) -> Path | str:
    return settings.file.store.url or file


def _master(settings: Settings) -> Path:
    """The file of the vault's master key; made if need be on a desk that only this machine can reach."""
    if settings.file.city.vault_key:
        return settings.path.parent / settings.file.city.vault_key
    path = settings.data / "secrets" / "vault.key"
    if not path.exists():
        if not is_loopback(settings.file.console.host):
            raise ConfigError(
                "[city] names no vault_key; make one with `linli registers key new`, keep a copy of it where "
                "the backups are not, and write its path into the site file"
            )
        try:
            make_master(path)
        except ConfigError:
            if not path.exists():  # made by another process just now
                raise
    return path


def parts(settings: Settings, hall: Hall, clock: Clock) -> CityParts:
    """What the HTTP API works with."""
    section, site = settings.file.city, settings.file.site
    desk = CaseDesk(hall.journal, hall.store, hall.packs, clock, site.id, hall.calendar, words=hall.words)
    return CityParts(
        site=site.id,
        code=section.code,
        name=section.name or site.name or site.id,
        store=hall.store,
        journal=hall.journal,
        objects=hall.objects,
        vault=hall.vault,
        clock=clock,
        packs=hall.packs,
        calendar=hall.calendar,
        cases=desk,
        words=hall.words,
        services=services_of(settings),
        rating_rules=ratingsfile.load(settings.path.parent / section.ratings) if section.ratings else None,
        open311_public=section.open311_public,
    )


def retention(settings: Settings, hall: Hall) -> CaseRetention:
    """How long words of persons are kept. Raises ConfigError: it names a scenario that the site has not."""
    section = settings.file.city
    if strange := next((name for name in section.keep_years_of if name not in hall.packs), ""):
        known = ", ".join(hall.packs)
        raise ConfigError(f"[city] keep_years_of names {strange!r}; the site's scenarios are {known}")
    return CaseRetention(keep_years=section.keep_years, scenarios=section.keep_years_of)


def services_of(settings: Settings) -> categories.Services:
    """What citizens may ask for. Raises ConfigError: the file cannot be used."""
    own = settings.file.city.services
    return categories.load(settings.path.parent / own) if own else categories.shipped()


def services(settings: Settings, hall: Hall, clock: Clock) -> list[Service]:
    """The projector into the city's store, and what moves cases by itself; as they stop."""
    bus = _bus(settings, hall, clock)
    casework = Casework(
        journal=hall.journal,
        bus=bus,
        store=hall.store,
        objects=hall.objects,
        vault=hall.vault,
        packs=hall.packs,
        calendar=hall.calendar,
        clock=clock,
        site=settings.file.site.id,
    )
    moving = casework_services(casework, retention(settings, hall), _above(settings, clock))
    projector = Projector(
        bus, hall.store, clock, group=GROUP, families=CITY_FAMILIES, aside=_aside(settings, hall, clock)
    )
    return [*moving, projector]


def _bus(settings: Settings, hall: Hall, clock: Clock) -> Bus:
    if not settings.file.bus.bootstrap:
        return LogBus(hall.journal, clock)
    from storage.kafkabus import KafkaBus  # needs a client that a box without brokers need not have

    return KafkaBus(wiring.brokers(settings), clock)


def _aside(settings: Settings, hall: Hall, clock: Clock) -> Aside:
    """Sets aside what the store cannot hold: a health event says so; on Kafka it is a dead letter, too."""
    letters = None
    if settings.file.bus.bootstrap:
        from storage.deadletters import DeadLetters

        letters = DeadLetters(wiring.brokers(settings), clock, f"{GROUP} on {settings.box}")

    def aside(record: Record, error: LinliError) -> None:
        if letters is not None:
            letters.refused(record, error)
        log.error("event %s is set aside: %s", record.event.id, error)
        note = Health(what="desk", state="note", message=f"an event is set aside by the desk: {error}")
        hall.journal.note(wiring.box_source(settings), note, clock.wall_us())

    return aside


def _above(settings: Settings, clock: Clock) -> Above | None:
    section, base = settings.file.city.upstream, settings.path.parent
    upstream: Upstream
    if section.kind == "files":
        upstream = FilesUpstream(base / section.folder)
    elif section.kind == "http":
        login = wiring.secret(section.credentials, base)
        upstream = HttpUpstream(section.url, clock, login=login, ca=base / section.ca if section.ca else None)
    else:
        return None
    return Above(upstream, section.every_s)


def enter_cameras(settings: Settings, hall: Hall, clock: Clock) -> int:
    """The site file's cameras, and what they see of the ground, as layers of the map; answers how many were
    new or changed."""
    desk = map_desk(settings, hall, clock)
    changed = 0
    for feature in (f for camera in settings.file.camera for f in camera_features(camera)):
        was = hall.store.features.get(feature.what, feature.id)
        if was is not None and (was.name, was.geometry) == (feature.name, feature.geometry):
            continue
        try:
            version = desk.version(feature.what, feature.id)
            desk.change(feature.what, feature.id, feature, version, SYSTEM)
        except LinliError as e:
            log.warning("%s %s is not on the map: %s", feature.what, feature.id, e)
            continue
        changed += 1
    return changed


def register_desk(settings: Settings, hall: Hall, clock: Clock) -> Registers:
    """The desk over population and housing; what is looked at is noted as the command line's."""
    site = settings.file.site.id
    parts = hall.journal, hall.store.registers, hall.objects, hall.vault, clock
    return Registers(
        site, *parts, lambda access: hall.journal.note(f"/{site}/box/cli", access, clock.wall_us())
    )


def register_import(settings: Settings, hall: Hall, clock: Clock) -> RegisterImport:
    """The importer of registers; a building's jurisdiction is the map's."""
    store, site = hall.store, settings.file.site.id
    parts = hall.journal, store.registers, hall.objects, hall.vault, clock
    return RegisterImport(site, *parts, areas_of(store.features))


def hotline_import(settings: Settings, hall: Hall, clock: Clock) -> HotlineImport:
    """The importer of a hotline's records.

    Raises:
        ConfigError: the city has no scenario of appeals.
    """
    if "appeal" not in hall.packs:
        raise ConfigError(f"{settings.path} has no scenario appeal; add it to [city] packs")
    pack, site = hall.packs["appeal"], settings.file.site.id
    parts = hall.journal, hall.store, hall.objects, hall.vault, clock
    return HotlineImport(*parts, site, pack, hall.calendar, services_of(settings))


def map_desk(settings: Settings, hall: Hall, clock: Clock) -> MapDesk:
    """The desk that changes the map."""
    section = settings.file.city
    site = settings.file.site.id
    return MapDesk(hall.journal, hall.store, hall.objects, clock, site, section.code, zone=section.zone)


def camera_features(camera: Camera) -> list[Feature]:
    """A camera's place, and what it sees of the ground; none where nobody knows where it is."""
    view = wiring.camera_view(camera)
    rings = [list(seen) for seen in (view.view, *(preset.view for preset in view.presets)) if seen]
    place = camera.place or (rings[0][0] if rings else None)
    if place is None:
        return []
    name = camera.name or camera.id
    point = {"type": "Point", "coordinates": list(place)}
    found = [
        Feature(id=camera.id, what="camera", name=name, geometry=point, properties={"kind": camera.kind})
    ]
    if rings:
        polygons = [[[list(corner) for corner in (*ring, ring[0])]] for ring in rings]
        area = {"type": "MultiPolygon", "coordinates": polygons}
        found.append(Feature(id=camera.id, what="camera-view", name=name, geometry=area))
    return found


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """The desk's process: until `stop`.

    Raises:
        LinliError: it cannot begin; or a service ended unasked.
    """
    hall = opened(settings, clock)
    try:
        running = services(settings, hall, clock)
        for service in reversed(running):  # the projector first: the others ask what is there
            service.start()
        register_desk(settings, hall, clock).finish("desk")
        entered = False
        while not stop.wait(0.5):
            if not entered and len(hall.store.features.jurisdictions()):
                enter_cameras(settings, hall, clock)
                entered = True
            if not all(service.alive for service in running):
                raise LinliError("a service of the desk ended unasked; the log says why")
        for service in running:
            service.ask()
        for service in running:
            service.stop()
    finally:
        hall.close()
