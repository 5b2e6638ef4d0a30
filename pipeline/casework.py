"""What moves cases without a person, each in a thread: triggers, timers, and what is left of persons in old
cases. The work itself is in `desk/`."""

import logging

from desk.caseretention import CaseKeeper

from desk.timers import Timers
from desk.triggers import Triggers
from events.bus import Bus, Subscription, before
from events.errors import LinliError
from pipeline.service import Service

log = logging.getLogger(__name__)

GROUP = "triggers"
"""The consumer that opens and moves cases."""

TICK_S = 1.0
KEEP_EVERY_S = 3600.0
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
                if not more:
                    self._stop.wait(self._every_s)
        finally:
            self._end()

    def _round(self) -> bool:
        """Answers whether there is more to be done at once."""
        raise NotImplementedError

    def _end(self) -> None:
        """The thread ends."""


class TriggerService(_Steady):
    """Gives the packs' triggers what is on the bus. How far it came is said afterwards: after a kill some
    come again, and change nothing."""

    def __init__(self, bus: Bus, triggers: Triggers) -> None:
        self._bus = bus
        self._triggers = triggers
        self._subscription: Subscription | None = None
        super().__init__("triggers", 0.0)

    def _round(self) -> bool:
        if not self._triggers.families:  # no pack has any
            self._stop.wait(TICK_S)
            return False
        if self._subscription is None:
            self._subscription = self._bus.subscribe(GROUP, self._triggers.families)
        records = self._subscription.poll(0.5, _BATCH)
        for n, record in enumerate(records):
            try:
                self._triggers.take(record.event)
            except LinliError:
                self._subscription.seek(before(records[n:]))
                raise
        if records:
            self._subscription.commit(self._subscription.position)
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
        return self._keeper.sweep() > 0
