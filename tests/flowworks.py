"""A desk with all that moves cases: journal, store, packs, clock. For tests of what happens by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from city import packs as scenarios
from city.cases import Case
from city.clocks import Calendar
from city.features import Feature
from city.rights import Actor, system
from city.scenario import Opening, Pack, Step
from desk.casebook import CaseBook
from desk.cases import CaseDesk
from desk.timers import Timers
from desk.triggers import Triggers
from desk.words import Words, WordsBox
from events.civic import CaseOpened, CaseStepped, PlaceChanged, place_source
from events.clock import ManualClock
from events.errors import NotShownYet
from events.events import AlertCleared, AlertRaised, AnyPayload, Event, Judged, camera_source
from events.ids import event_id
from events.media import parse_rfc3339
from pipeline.projector import catch_up
from storage.city.master import MASTER_BYTES
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects

SITE = "town"
CITY, TOWN, COMMUNITY, GRID = "370481", "370481001", "370481001001", "370481001001G01"
INSIDE, OUTSIDE = (117.15, 35.05), (10.0, 10.0)
CAMERA = camera_source(SITE, "gate")
MONDAY = parse_rfc3339("2026-03-02T09:00:00+08:00")
"""A working day like any other."""


class Works:
    """See the module's text. What is journaled is in the store after `show`.

    Args:
        where: of the store; None: an SQLite file.
    """

    def __init__(
        self,
        folder: Path,
        where: Path | str | None = None,
        *,
        now_us: int = MONDAY,
        packs: Mapping[str, Pack] | None = None,
        calendar: Calendar | None = None,
        clock: Any = None,
    ) -> None:
        self.clock: Any = clock or ManualClock(now_us)
        self.journal = Journal(folder / "journal.db", self.clock, group_s=0.0)
        self.bus = LogBus(self.journal, self.clock)
        self.objects = FolderObjects(folder / "objects")
        self.vault = vault(folder)
        self.store = CityStore(where or folder / "city.db", self.objects, self.vault)
        self.packs = dict(packs or scenarios.shipped())
        self.calendar = calendar or Calendar(years=frozenset({2026}))
        self.words = WordsBox(self.objects, self.vault)
        self.book = CaseBook(self.journal, self.store, SITE)
        self.desk = CaseDesk(
            self.journal,
            self.store,
            self.packs,
            self.clock,
            SITE,
            self.calendar,
            words=self.words,
            wait_s=0.0,
        )
        self.subscription = self.bus.subscribe("projector", start=self.store.offset)

    def close(self) -> None:
        self.store.close()
        self.journal.close()

    def show(self) -> None:
        """Bring the store up to the journal."""
        while catch_up(self.subscription, self.store):  # type: ignore[arg-type]
            pass

    def triggers(self, **more: Any) -> Triggers:
        return Triggers(self.book, self.store, self.packs, self.clock, self.calendar, **more)

    def timers(self) -> Timers:
        return Timers(self.book, self.store, self.packs, self.clock, self.calendar)

    def tick(self) -> int:
        """One look of the timers at what the store shows now."""
        self.show()
        done = self.timers().tick()
        self.show()
        return done

    # -- cases

    def opened(self, opening: Opening, scenario: str = "matter", words: Words | None = None) -> str:
        """Open a case; its id."""
        try:
            return self.desk.open(scenario, opening, system("somebody"), words=words).case
        except NotShownYet as late:
            self.show()
            return late.thing

    def step(self, case: str, action: str, actor: Actor, words: Words | None = None, **more: Any) -> Case:
        """Take a step as this actor."""
        self.show()
        version = self.case(case).version
        try:
            self.desk.step(case, version, Step(action=action, **more), actor, words)
        except NotShownYet:
            self.show()
        return self.case(case)

    def case(self, id: str) -> Case:
        """As the journal has it."""
        story = self.book.story(id)
        assert story is not None
        return story.case

    def steps(self, id: str) -> list[CaseOpened | CaseStepped]:
        """What happened to it, as the journal has it."""
        story = self.book.story(id)
        return [] if story is None else [e.data for e in story.events]  # type: ignore[misc]

    def actions(self, id: str) -> list[str]:
        """Names of its steps."""
        return [data.action for data in self.steps(id) if isinstance(data, CaseStepped)]

    def events(self, *families: str) -> list[Event]:
        """All of these families in the journal."""
        return [record.event for record in self.journal.read(0, 100_000, families)]

    # -- the map

    def grounded(self) -> None:
        """A city of one town, one community, one grid, all over the same square."""
        square = [[117.0, 35.0], [117.3, 35.0], [117.3, 35.2], [117.0, 35.2], [117.0, 35.0]]
        parent = ""
        for level, code in (("city", CITY), ("town", TOWN), ("community", COMMUNITY), ("grid", GRID)):
            feature = Feature(
                id=code,
                what="jurisdiction",
                level=level,
                parent=parent,
                geometry={"type": "Polygon", "coordinates": [square]},
            )
            self.placed(feature)
            parent = code
        self.show()

    def placed(self, feature: Feature) -> None:
        """Put a thing on the map."""
        source = place_source(SITE, feature.what, feature.id)
        now = self.clock.wall_us()
        data = PlaceChanged(
            what=feature.what,
            feature=feature.id,
            body=msgspec.json.encode(feature).decode(),
            valid_us=now,
            who="survey",
        )
        id = event_id(source, "place", 0, 0)
        self.journal.append_next([Event(id=id, source=source, time_us=now, epoch=0, sequence=0, data=data)])


def vault(folder: Path) -> Vault:
    """The vault in the folder."""
    return Vault(folder / "vault.db", b"\x07" * MASTER_BYTES)


# -- what a box says

_EPOCH = 7


def said(data: AnyPayload, number: int, time_us: int = MONDAY, source: str = CAMERA) -> Event:
    """An event of the camera."""
    family = str(data.__struct_config__.tag).split(".")[1]
    id = event_id(source, family, _EPOCH, number)
    return Event(id=id, source=source, time_us=time_us, epoch=_EPOCH, sequence=number, data=data)


def raised(alert: str, **more: Any) -> AlertRaised:
    values = {"rule": "yard", "kind": "intrusion", "severity": "major", "label": "person", "since_us": MONDAY}
    return AlertRaised(**({"alert": alert, "place": INSIDE} | values | more))


def cleared(alert: str) -> AlertCleared:
    return AlertCleared(alert=alert, rule="yard", reason="left", until_us=MONDAY)


def judged(alert: str, verdict: Any = "true", who: str = "wang") -> Judged:
    return Judged(alert=alert, rule="yard", verdict=verdict, who=who)
