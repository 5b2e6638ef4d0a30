"""A case's clocks through one step: which start, stop, are met, and how long the pack gives each."""

from collections.abc import Iterable

import msgspec

from city import clocks
from city.clocks import Calendar
from city.scenario import ALL, Action, Pack, Rule
from events.civic import Deadline, Fact

YEAR_FACT = "unpublished"
"""Key of a case's detail: a year whose holidays were not known when a deadline was counted; 0: known."""


class Subject(msgspec.Struct, frozen=True):
    """What deadlines go by."""

    category: str
    code_system: str
    severity: str
    level: str
    channel: str


def rule_for(pack: Pack, clock: str, subject: Subject) -> Rule | None:
    """The deadline of the table that applies to a clock of the case; None: the clock's own."""
    fitting = (
        rule
        for rule in pack.deadlines
        if rule.clock == clock
        and subject.category.startswith(rule.category)
        and subject.code_system.startswith(rule.code_system)
        and rule.severity in ("", subject.severity)
        and rule.level in ("", subject.level)
        and rule.channel in ("", subject.channel)
    )
    return max(
        fitting,
        key=lambda r: (len(r.category), *map(bool, (r.code_system, r.severity, r.level, r.channel))),
        default=None,
    )


class Running:
    """The clocks of one case while a step is made; `values` are those after it.

    Args:
        due_us: when a platform above wants it done, as the step says; 0: it says nothing.
    """

    def __init__(
        self,
        pack: Pack,
        subject: Subject,
        deadlines: Iterable[Deadline],
        now_us: int,
        calendar: Calendar,
        *,
        due_us: int = 0,
    ) -> None:
        self._pack = pack
        self._subject = subject
        self._now_us = now_us
        self._calendar = calendar
        self._due_us = due_us
        self._clocks = {d.name: d for d in deadlines}

    @property
    def values(self) -> tuple[Deadline, ...]:
        """The clocks as they are now."""
        return tuple(self._clocks.values())

    def start(self, names: Iterable[str]) -> None:
        """Begin those that do not run yet."""
        for name in names:
            if name not in self._clocks or self._clocks[name].met_us:
                self._begin(name)

    def step(self, action: Action, amount: float, told: str) -> None:
        """What the action does with the clocks.

        Args:
            amount: of an extension.
            told: name of the clock that the action tells something of.
        """
        now_us, calendar = self._now_us, self._calendar
        above = self._above()
        for name in self._named(action.meet):
            self._clocks[name] = clocks.met(self._clocks[name], now_us)
        for name in self._named(action.stop):
            self._clocks[name] = clocks.stopped(self._clocks[name], now_us, calendar)
        for name in self._named(action.resume):
            self._clocks[name] = clocks.resumed(self._clocks[name], now_us, self._warn(name), calendar)
        for name in self._named(action.extend):
            if not self._clocks[name].met_us:
                self._clocks[name] = clocks.extended(self._clocks[name], amount, self._warn(name), calendar)
        self.start(action.start)
        for name in action.restart:
            self._begin(name)
        if action.tells:
            said = dict.fromkeys((*self._clocks[told].told, action.tells))
            self._clocks[told] = msgspec.structs.replace(self._clocks[told], told=tuple(said))
        self._loosen(above)
        self.cap()

    def cap(self) -> None:
        """No clock runs longer than one that outranks it: the platform's deadline wins."""
        above = self._above()
        for name, d in self._clocks.items():
            if above and d.runs and d.due_us > above:
                before = clocks.left(d.warn_us, d.due_us, d.kind, self._calendar) if d.warn_us else 0.0
                self._clocks[name] = clocks.ending(d, above, before, self._calendar)

    def count(self, action: Action, counts: dict[str, int]) -> None:
        """The n-th of some actions starts a clock that has run out: the timer takes it from there."""
        for rule in self._pack.counted:
            if action.name not in rule.actions:
                continue
            taken = 1 + sum(counts.get(name, 0) for name in rule.actions)
            if taken % rule.count == 0:
                now_us = self._now_us
                self._clocks[rule.clock] = Deadline(
                    name=rule.clock, kind="hours", amount=0.0, started_us=now_us, due_us=now_us
                )

    def end(self) -> None:
        """The case is over: nothing runs any more."""
        self._clocks = {name: clocks.met(d, self._now_us) for name, d in self._clocks.items()}

    def year(self, known: Fact) -> dict[str, Fact]:
        """The first year of which the running clocks' working days were only guessed, where that changed."""
        ends = [d.due_us for d in self._clocks.values() if d.runs and d.kind != "hours"]
        year = self._calendar.unpublished(*ends) if ends else 0
        return {YEAR_FACT: year} if year != known else {}

    # -- parts

    def _begin(self, name: str) -> None:
        """Begin the clock from now, if anything says how long."""
        clock, rule = self._pack.clocks[name], rule_for(self._pack, name, self._subject)
        kind = (rule.kind if rule else None) or clock.kind
        amount = rule.amount if rule else clock.amount
        if clock.outranks and self._due_us:
            hours = max(0.0, (self._due_us - self._now_us) / clocks.HOUR_US)
            begun = Deadline(
                name=name, kind="hours", amount=hours, started_us=self._now_us, due_us=self._due_us
            )
            warn = self._warn(name) if clock.kind == "hours" else 0.0
            self._clocks[name] = clocks.ending(begun, self._due_us, warn, self._calendar)
        elif amount:
            begun = clocks.started(name, self._now_us, kind, amount, self._warn(name), self._calendar)
            self._clocks[name] = begun

    def _loosen(self, before: int) -> None:
        """What only the old deadline of the platform held short has its own time again, under the new one."""
        above = self._above()
        if not before or above == before or (above and above < before):
            return
        for name, d in self._clocks.items():
            if d.runs and d.due_us == before and not self._outranks(name):
                own = clocks.due(d.started_us, d.kind, d.amount, self._calendar)
                if own > before:
                    loose = msgspec.structs.replace(d, told=())
                    self._clocks[name] = clocks.ending(loose, own, self._warn(name), self._calendar)

    def _above(self) -> int:
        """When the first clock that outranks the others runs out; 0: none runs."""
        return min((d.due_us for n, d in self._clocks.items() if d.runs and self._outranks(n)), default=0)

    def _outranks(self, name: str) -> bool:
        clock = self._pack.clocks.get(name)
        return clock is not None and clock.outranks

    def _warn(self, name: str) -> float:
        rule = rule_for(self._pack, name, self._subject)
        if rule is not None and rule.warn is not None:
            return rule.warn
        clock = self._pack.clocks.get(name)
        return clock.warn if clock else 0.0

    def _named(self, names: Iterable[str]) -> list[str]:
        """Those of the names that there are; `*`: every one that does not outrank the others."""
        found: list[str] = []
        for name in names:
            if name == ALL:
                found += [n for n in self._clocks if not self._outranks(n)]
            elif name in self._clocks:
                found.append(name)
        return found
