"""What the relay says of itself: health events of the box, each once when it changes."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from events.clock import Clock
from events.errors import StorageError
from events.events import Health
from pipeline.outbox import Letter, Ticket
from storage.journal import Journal

log = logging.getLogger(__name__)

SKEW_S = 2.0
"""The brokers' clock and this box's may differ by so much."""


class News:
    """`bus`: the brokers cannot be reached, or refuse. `topics`: some topics cannot be written. `clock`: this
    box's clock and the brokers' differ. `box-id`: another box has this one's. Notes: dead letters, losses.
    """

    def __init__(self, journal: Journal, source: str, names: Mapping[str, str], clock: Clock) -> None:
        self._journal = journal
        self._source = source
        self._names = names
        self._clock = clock
        raised = journal.raised(source)
        self._said = {what: "said by an earlier run" if what in raised else "" for what in _CLEARED}
        self.problem = "not connected yet"
        self.clock_s = 0.0

    def bus(self, why: str) -> None:
        """Why nothing can be sent; empty: all is well."""
        self.problem = why
        self._say("bus", why and f"{why}. Events wait in the journal and none is lost")

    def topics(self, resting: Mapping[str, str]) -> None:
        """Family -> why its topic cannot be written."""
        self._say("topics", "; ".join(f"{self._names[f]}: {resting[f]}" for f in sorted(resting)))

    def lost(self, families: Sequence[str]) -> None:
        """Topics were made anew."""
        names = ", ".join(self._names[family] for family in sorted(families))
        text = (
            f"the brokers have lost what was sent: new topics {names}. All that the journal has is sent again"
        )
        self._note("bus", "note", text)

    def letter(self, offset: int, letter: Letter, where: str) -> None:
        """An event was set aside; `where` says how to get at it."""
        text = (
            f"event {letter.id or offset} ({letter.family}, {letter.bytes} bytes) cannot be sent: "
            f"{letter.reason}. It stays in the journal as long as others; {where}"
        )
        self._note("bus", "note", text)

    def given_up(self, gone: Sequence[tuple[int, str]]) -> None:
        """Events went unsent."""
        counts = ", ".join(
            f"{count} {family}" for family, count in sorted(Counter(f for _, f in gone).items())
        )
        offsets = [offset for offset, _ in gone]
        text = (
            "the journal came to its bound, and the oldest events that Kafka never had were given up: "
            f"{counts}, offsets {min(offsets)} to {max(offsets)}. Mend the brokers, or raise [bus] outbox_gb"
        )
        log.error("%s", text)
        self._note("outbox", "note", text)

    def clock(self, ticket: Ticket, at: float) -> None:
        """An event was under way since `at` and has arrived: when did the brokers take it?"""
        told = getattr(getattr(ticket, "value", None), "timestamp", None)
        if not isinstance(told, int) or told < 0:
            return
        now_s = self._clock.wall_us() / 1e6
        handed_s = now_s - (self._clock.monotonic() - at)
        ahead = told / 1000 - now_s
        behind = handed_s - told / 1000
        self.clock_s = ahead if ahead > 0 else -behind if behind > 0 else 0.0
        if abs(self.clock_s) > SKEW_S:
            if not self._said["clock"]:
                word = "behind" if self.clock_s > 0 else "ahead of"
                text = (
                    f"this box's clock is {abs(self.clock_s):.1f} s {word} the brokers': its events would be "
                    "put in the wrong place among other boxes'; set both by NTP"
                )
                self._say("clock", text)
        elif abs(self.clock_s) < SKEW_S / 2:
            self._say("clock", "")

    def twin(self, box: str, own: str, found: str) -> None:
        """The mark that was found in the place of this box's `own`: its journal's id and its host."""
        if found.split(" ")[0] == own.split(" ")[0]:
            self._say("box-id", "")
            return
        hosts = " and ".join(repr(mark.partition(" ")[2]) for mark in (own, found))
        text = (
            f"two boxes with one id: {box!r} are hosts {hosts}. Both send and nothing is lost, but what they "
            "say is taken for one box's; give one of them another [cluster] box"
        )
        self._say("box-id", text)

    def _say(self, what: str, why: str) -> None:
        if self._said[what] == why:
            return
        self._said[what] = why
        if why:
            self._note(what, "raised", why)
        else:
            self._note(what, "cleared", _CLEARED[what])

    def _note(self, what: str, state: Literal["raised", "cleared", "note"], text: str) -> None:
        data = Health(what=what, state=state, message=text)
        try:
            self._journal.note(self._source, data, self._clock.wall_us())
        except StorageError as error:
            log.error("%s; not noted: %s", error, text)


_CLEARED = {
    "bus": "events go to Kafka again",
    "topics": "all topics can be written",
    "box-id": "no other box has this one's id",
    "clock": "this box's clock and the brokers' agree",
}
