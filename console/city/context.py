"""What the city's endpoints share: the parts they were given, and who asks."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from starlette.requests import HTTPConnection

from city.clocks import Calendar
from city.ratings import RatingRules
from city.ratingsfile import shipped as shipped_rules
from city.scenario import Pack
from city.services import Services
from city.services import shipped as shipped_services
from console.access import AccessPolicy, Sessions
from console.accesslog import AccessLog
from console.problems import Problem
from desk.appeals import Appeals
from desk.cases import CaseDesk
from desk.days import DayDesk
from desk.mapimport import MapDesk
from desk.ratings import RatingDesk
from desk.words import WordsBox
from events.clock import Clock
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects


@dataclass(kw_only=True)
class CityParts:
    """What the desk works with."""

    site: str
    """The site's id, as it is in events' sources."""
    code: str
    """Division code of what is served."""
    name: str
    store: CityStore
    journal: Journal
    objects: Objects
    vault: Vault
    clock: Clock
    packs: Mapping[str, Pack]
    calendar: Calendar
    cases: CaseDesk
    words: WordsBox
    open311_public: bool = False
    """Whether services and public requests may be read without a token."""
    services: Services = field(default_factory=shipped_services)
    """What citizens may ask for."""
    rating_rules: RatingRules | None = None
    """By which property companies are rated; None: those that ship."""


@dataclass(kw_only=True)
class City(CityParts):
    """The parts, and the console's own: who may come in, and what is written down of it."""

    policy: AccessPolicy
    sessions: Sessions
    log: AccessLog
    busy: threading.Lock = field(default_factory=threading.Lock)
    """Held by `alone`."""

    @cached_property
    def appeals(self) -> Appeals:
        """The intake of appeals."""
        parts = self.cases, self.store, self.words, self.vault, self.clock
        return Appeals(*parts, services=self.services)

    @cached_property
    def ratings(self) -> RatingDesk:
        """Ratings of property companies."""
        rules = self.rating_rules or shipped_rules()
        return RatingDesk(self.journal, self.store, rules, self.clock, self.site, self.calendar.zone)

    @cached_property
    def days(self) -> DayDesk:
        """Changes of the working calendar."""
        return DayDesk(self.journal, self.clock, self.site)

    @cached_property
    def map(self) -> MapDesk:
        """The desk that changes the map."""
        parts = self.journal, self.store, self.objects, self.clock, self.site, self.code
        return MapDesk(*parts, zone=self.calendar.zone)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While a whole file is taken in or written: one at a time, for each takes a core.

        Raises:
            Problem: 503, another one is on its way.
        """
        if not self.busy.acquire(blocking=False):
            text = "another file is on its way; send this again when it is done"
            raise Problem(503, text, headers={"retry-after": "5"})
        try:
            yield
        finally:
            self.busy.release()

    def midnight(self, day: date) -> int:
        """When the day begins here, microseconds since 1970."""
        begin = datetime.combine(day, time(), ZoneInfo(self.calendar.zone))
        return (begin - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def city_of(conn: HTTPConnection) -> City:
    """The city that the application was made with."""
    city = conn.app.state.city
    assert isinstance(city, City)
    return city
