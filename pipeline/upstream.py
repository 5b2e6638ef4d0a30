"""The platform above, asked and answered in a thread of its own. Each way goes on while the other cannot."""

import logging
from collections.abc import Callable

from desk.orders import Orders
from desk.upstream import Incoming, Received, Upstream, read
from events.bus import Bus, Subscription, before
from events.clock import Clock
from events.errors import IllegalTransition, LinliError, MissingValue, UpstreamRefused
from pipeline.service import Service

log = logging.getLogger(__name__)

GROUP = "upstream"
"""The consumer whose steps the platform is told of."""
EVERY_S = 30.0
LONGEST_S = 300.0
"""Pause before a platform that is away is tried again, at most."""
PATIENCE_S = 86_400.0
"""How long a message waits for the order that it is about."""
_BATCH = 200


class UpstreamService(Service):
    """Takes the platform's messages and hands over what it is to be told, in the order of the journal.

    A message is settled when what follows from it is journaled; an answer is passed when the platform has
    taken it. After a kill some come or go again: both ends know them by their ids.

    Args:
        every_s: how often it is asked.
    """

    def __init__(
        self, bus: Bus, upstream: Upstream, orders: Orders, clock: Clock, every_s: float = EVERY_S
    ) -> None:
        self._bus = bus
        self._upstream = upstream
        self._orders = orders
        self._clock = clock
        self._every_s = every_s
        self._early: dict[str, float] = {}
        self._subscription: Subscription | None = None
        self.problems: dict[str, str] = {}
        """Way (in, out) -> why it does not go on."""
        super().__init__("upstream")

    def _run(self) -> None:
        pause = 0.0
        try:
            while not self._stop.wait(pause):
                good = self._tried("in", self.take_in) & self._tried("out", self.give_out)
                pause = self._every_s if good else min(max(pause, 1.0) * 2, LONGEST_S)
        finally:
            if self._subscription is not None:
                self._subscription.close()
            self._upstream.close()

    def _tried(self, way: str, work: Callable[[], int]) -> bool:
        try:
            while work() and not self._stop.is_set():
                pass
        except LinliError as e:
            if str(e) != self.problems.get(way):  # not at each attempt
                log.error("the platform above (%s): %s", way, e)
            self.problems[way] = str(e)
            return False
        except Exception as e:  # or it would end what the other way still does
            log.exception("the platform above (%s) is tried again", way)
            self.problems[way] = f"{type(e).__name__}: {e}"
            return False
        self.problems.pop(way, None)
        return True

    def take_in(self) -> int:
        """Take what the platform has for us; answers how many messages were settled.

        Raises:
            LinliError: not now; nothing is lost.
        """
        settled = 0
        good: list[tuple[Incoming, Received]] = []
        for received in self._upstream.fetch(_BATCH + len(self._early)):
            try:
                good.append((read(received.body), received))
            except UpstreamRefused as e:
                settled += self._aside(received, str(e))
        good.sort(key=lambda pair: pair[0].sent_us)  # an order before what follows it
        for message, received in good:
            settled += self._take(message, received)
        return settled

    def _take(self, message: Incoming, received: Received) -> int:
        try:
            taken = self._orders.take(message)
        except (MissingValue, IllegalTransition) as e:
            return self._aside(received, str(e))
        if not taken:
            since = self._early.setdefault(received.receipt, self._clock.monotonic())
            if self._clock.monotonic() - since < PATIENCE_S:
                return 0
            return self._aside(received, f"there is no order {message.number} here")
        self._early.pop(received.receipt, None)
        self._upstream.settle(received.receipt)
        return 1

    def _aside(self, received: Received, why: str) -> int:
        log.error("a message of the platform above is set aside: %s", why)
        self._early.pop(received.receipt, None)
        self._upstream.settle(received.receipt, why)
        return 1 if received.receipt else 0

    def give_out(self) -> int:
        """Tell the platform what has happened to its orders; answers how many steps were looked at.

        Raises:
            LinliError: not now; the same steps come again.
        """
        if self._subscription is None:
            self._subscription = self._bus.subscribe(GROUP, ("case",))
        records = self._subscription.poll(0.0, _BATCH)
        for n, record in enumerate(records):
            try:
                message = self._orders.answer(record.event)
                if message is not None:
                    try:
                        self._upstream.send(message)
                    except UpstreamRefused as e:
                        self._orders.refused(record.event, str(e))
            except LinliError:
                self._subscription.seek(before(records[n:]))
                raise
        if records:
            self._subscription.commit(self._subscription.position)
        return len(records)
