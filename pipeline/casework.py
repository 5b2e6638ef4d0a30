"""What moves cases without a person, each in a thread: triggers, timers, and what is left of persons in old
cases. The work itself is in `desk/`."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from city.clocks import Calendar
from city.scenario import Pack
from desk.appealfollow import Followups
from desk.appeals import Appeals
from desk.casebook import CaseBook
from desk.caseretention import CaseKeeper, CaseRetention
from desk.cases import CaseDesk
from desk.orders import Orders
from desk.timers import Timers
from desk.triggers import Triggers
from desk.upstream import Upstream
from desk.words import WordsBox
from events.bus import Bus, Subscription, before
from events.clock import Clock
from events.errors import LinliError
from events.events import Event
from pipeline.service import Service
from pipeline.upstream import EVERY_S, UpstreamService
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects

log = logging.getLogger(__name__)

TRIGGERS, FOLLOWUPS = "triggers", "appeals"
"""The consumers that open and move cases."""

COMMIT_ROUNDS = 60
"""Rounds of half a second without anything for a taker, after which the bus is told how far it is."""
TICK_S = 1.0
KEEP_EVERY_S = 3600.0
REST_S = 0.2
AGAIN_S = 2.0
"""Pause before what failed is tried again."""
_BATCH = 200


class _Steady(Service):
    """Does one round after the other; one that fails is tried again, and said once."""

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s = every_s
        self.problem = ""
        """Why it does not go on; empty while it does."""
        super().__init__(name)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    more = self._round()
                    self.problem = ""
                except LinliError as e:
                    if str(e) != self.problem:  # not at each attempt
                        log.error("%s: %s", self._thread.name, e)
                    self.problem = str(e)
                    self._stop.wait(AGAIN_S)
                    continue
                except Exception as e:
                    log.exception("%s begins its round anew", self._thread.name)
                    self.problem = f"{type(e).__name__}: {e}"
                    self._stop.wait(AGAIN_S)
                    continue
                if not more:
                    self._stop.wait(self._every_s)
        finally:
            self._end()

    def _round(self) -> bool:
        """Answers whether there is more to be done at once."""
        raise NotImplementedError

    def _end(self) -> None:
        """The thread ends."""


class Taker(Protocol):
    """Does what follows from events; the same one again changes nothing."""

    @property
    def families(self) -> Sequence[str]:
        """Of the events that are to be taken; none: nothing is."""

    def take(self, event: Event) -> int:
        """What follows; answers how many cases it moved. Raises LinliError: not now."""


class TriggerService(_Steady):
    """Gives a taker what is on the bus. How far it came is said afterwards: after a kill some come again.

    Args:
        group: names the consumer on the bus.
    """

    def __init__(self, bus: Bus, taker: Taker, group: str = TRIGGERS) -> None:
        self._bus = bus
        self._taker = taker
        self._group = group
        self._subscription: Subscription | None = None
        self._idle = 0
        super().__init__(group, 0.0)

    def _round(self) -> bool:
        if not self._taker.families:
            self._stop.wait(TICK_S)
            return False
        if self._subscription is None:
            self._subscription = self._bus.subscribe(self._group, tuple(self._taker.families))
        records = self._subscription.poll(0.5, _BATCH)
        for n, record in enumerate(records):
            try:
                self._taker.take(record.event)
            except LinliError:
                self._subscription.seek(before(records[n:]))
                raise
            except Exception:  # one that nobody can take must not keep the others
                log.exception("event %s is passed over by %s", record.event.id, self._group)
        self._idle += 1
        if records or self._idle >= COMMIT_ROUNDS:  # of what is of others: or it would be kept for ever
            self._subscription.commit(self._subscription.position)
            self._idle = 0
        return bool(records)

    def _end(self) -> None:
        if self._subscription is not None:
            self._subscription.close()


class TimerService(_Steady):
    """Looks every second what has run out."""

    def __init__(self, timers: Timers, every_s: float = TICK_S) -> None:
        self._timers = timers
        super().__init__("timers", every_s)

    def _round(self) -> bool:
        return self._timers.tick() > 0


class CaseKeeping(_Steady):
    """Looks every hour which cases are so old that nothing of a person may be left in them."""

    def __init__(self, keeper: CaseKeeper, every_s: float = KEEP_EVERY_S) -> None:
        self._keeper = keeper
        super().__init__("case-keeping", every_s)

    def _round(self) -> bool:
        looked = self._keeper.sweep()
        self._stop.wait(REST_S)  # years of cases may be waiting, and others want to work, too
        return looked > 0


class Casework(NamedTuple):
    """What the services work with."""

    journal: Journal
    bus: Bus
    store: CityStore
    objects: Objects
    vault: Vault
    packs: Mapping[str, Pack]
    calendar: Calendar
    clock: Clock
    site: str


class Above(NamedTuple):
    """The platform above, where there is one."""

    upstream: Upstream
    every_s: float = EVERY_S
    scenario: str = "matter"
    """Whose cases its orders are."""


def casework_services(parts: Casework, retention: CaseRetention, above: Above | None = None) -> list[Service]:
    """All that moves cases by itself, not started yet. One set of them for a journal is enough; several do
    no harm.

    Raises:
        ConfigError: a pack names an effect that is not known.
    """
    journal, bus, store, objects, vault, packs, calendar, clock, site = parts
    words = WordsBox(objects, vault)
    book = CaseBook(journal, store, site)
    desk = CaseDesk(journal, store, packs, clock, site, calendar, words=words)
    services: list[Service] = [
        TriggerService(bus, Triggers(book, store, packs, clock, calendar)),
        TimerService(Timers(book, store, packs, clock, calendar)),
        CaseKeeping(CaseKeeper(journal, store, objects, vault, clock, site, retention)),
    ]
    if "appeal" in packs:
        followups = Followups(Appeals(desk, store, words, vault, clock), desk, store)
        services.append(TriggerService(bus, followups, FOLLOWUPS))
    if above is not None:
        orders = Orders(book, store, packs, clock, calendar, words, above.scenario)
        services.append(UpstreamService(bus, above.upstream, orders, clock, above.every_s))
    return services
