"""Orders of the platform above as cases here, and what is done with them as messages to it.

A message moves a case once, whatever comes twice, late or in another order: the case's id follows from the
order's number, a step says which message it answers, and a deadline counts only if nothing newer was said.
What the pack's table cannot do now (a re-do of what is still being handled) is written on the case all the
same, and its deadline holds. Words of a person are sealed before anything is journaled.
"""

from collections.abc import Mapping

import msgspec

from city import steps as rules
from city.cases import Case
from city.clocks import Calendar
from city.rights import SYSTEM
from city.scenario import Opening, Pack, Step
from desk.casebook import CAUSE, CaseBook, Story, aside
from desk.upstream import (
    DueChanged,
    Incoming,
    Order,
    Outgoing,
    Redo,
    Reply,
    ReturnAsked,
    ReturnGranted,
    ReturnRefused,
    Signed,
    Verdict,
    Withdrawn,
    moment,
)
from desk.words import Words, WordsBox
from events.civic import CaseStepped, Deadline, Fact
from events.clock import Clock
from events.errors import ConfigError, IllegalTransition, MissingValue, VersionConflict
from events.events import Event
from events.ids import event_id
from events.media import parse_rfc3339
from storage.city.store import CityStore

CHANNEL = "upstream"
SENT = "upstream-sent"
"""In a case's `detail`: when the platform said the deadline that holds, microseconds since 1970."""

ACTIONS: Mapping[type[Incoming], str] = {
    Redo: "upstream-redo",
    DueChanged: "upstream-deadline",
    ReturnGranted: "upstream-return-granted",
    ReturnRefused: "upstream-return-refused",
    Withdrawn: "upstream-withdraw",
    Verdict: "verdict",
}
"""What the packs call the steps that the platform takes."""

TELLS = "upstream:"
"""Begins the effects of actions of which the platform is told: signed, return or reply follows."""
_TRIES = 5


class Orders:
    """See the module's text. Used by one thread at a time.

    Args:
        words: where a person's words are sealed.
        scenario: id of the pack whose cases the orders are.

    Raises:
        ConfigError: there is no such pack.
    """

    def __init__(
        self,
        book: CaseBook,
        store: CityStore,
        packs: Mapping[str, Pack],
        clock: Clock,
        calendar: Calendar,
        words: WordsBox,
        scenario: str = "matter",
    ) -> None:
        if scenario not in packs:
            raise ConfigError(f"orders of the platform above are cases of {scenario!r}, which no pack is")
        self._book = book
        self._store = store
        self._packs = packs
        self._clock = clock
        self._calendar = calendar
        self._words = words
        self._scenario = scenario

    def case_of(self, number: str) -> str:
        """Id of the case that an order becomes."""
        return event_id(self._book.site, "case", self._scenario, f"{CHANNEL}:{number}")

    # -- from the platform

    def take(self, message: Incoming) -> bool:
        """Make of the message what follows from it; False: the order that it is about is not here yet.

        Raises:
            StorageError, VersionConflict: not now; it may be given again.
            MissingValue, IllegalTransition: the pack takes no such order; the text says why.
        """
        case = self.case_of(message.number)
        for _ in range(_TRIES):
            story = self._book.story(case)
            if story is None:
                if not isinstance(message, Order):
                    return False
                if self._open(case, message):
                    return True
            elif story.answered(message.message) or self._move(story, message):
                return True
        raise VersionConflict(f"case {case} is moved by others all the time")

    def _open(self, case: str, order: Order) -> bool:
        now = self._clock.wall_us()
        place = (round(order.place[0], 7), round(order.place[1], 7)) if order.place else None
        chain = self._store.features.locate(*place) if place else []
        opening = Opening(
            category=order.category,
            title=order.title,
            code_system=order.code_system,
            severity=order.severity,
            level="city",
            area=chain[-1] if chain else order.area,
            place=place,
            channel=CHANNEL,
            reference=order.number,
            public=order.public,
            occurred_us=_us(order.occurred),
            due_us=_us(order.due),
            who=CHANNEL,
            role=SYSTEM,
            detail={CAUSE: order.message, SENT: order.sent_us},
        )
        pack = self._packs[self._scenario]
        rules.open_case(pack, opening, now, self._calendar)  # what is refused leaves nothing sealed behind
        sealed = self._sealed(case, order)
        data = rules.open_case(pack, msgspec.structs.replace(opening, sealed=sealed), now, self._calendar)
        sign_us = _us(order.sign_by)
        if sign_us:  # what runs now, beside the platform's own clock, runs until somebody has taken it
            data = msgspec.structs.replace(
                data, deadlines=tuple(_shorter(d, sign_us) for d in data.deadlines)
            )
        done = False
        try:
            done = self._book.write(case, now, data)
        finally:
            if sealed and not done:
                self._words.drop(sealed)
        return done

    def _sealed(self, case: str, order: Order) -> str:
        by = order.reporter
        words = Words(text=order.words, name=by.name, phone=by.phone, address=by.address)
        return self._words.put(case, words) if words != Words() else ""

    def _move(self, story: Story, message: Incoming) -> bool:
        """A step of the case; False: somebody else was first."""
        case = story.case
        due_us = _us(getattr(message, "due", ""))
        said_us = int(case.detail.get(SENT, 0))
        newest = message.sent_us >= said_us
        if isinstance(message, Order | DueChanged):
            known = message.sent_us == said_us and due_us == _upstream_due(case)
            if not due_us or not newest or known:
                return True  # the order once more, or what has been overtaken
        detail: dict[str, Fact] = {CAUSE: message.message}
        if due_us and newest:
            detail[SENT] = message.sent_us
        due_us = due_us if newest else 0
        now = max(self._clock.wall_us(), case.updated_us)
        return self._book.write(story, now, self._step(case, message, due_us, detail, now))

    def _step(
        self, case: Case, message: Incoming, due_us: int, detail: dict[str, Fact], now_us: int
    ) -> CaseStepped:
        pack = self._packs.get(case.scenario)
        action = ACTIONS.get(type(message), ACTIONS[DueChanged])
        # What a citizen said is a person's words; what the platform's people say of an order is not.
        note = "" if isinstance(message, Verdict) else str(getattr(message, "reason", ""))
        try:
            if pack is None or pack.action(action) is None:
                raise IllegalTransition(f"{case.scenario} has no action {action}")
            step = Step(
                action=action,
                who=CHANNEL,
                role=SYSTEM,
                note=note,
                due_us=due_us,
                marks=_marks(message),
                detail=detail,
            )
            data = rules.step(pack, case, step, now_us, self._calendar)
            if isinstance(message, Verdict):
                data = msgspec.structs.replace(data, marks=tuple(sorted({*data.marks, "called-back"})))
        except (IllegalTransition, MissingValue):
            data = aside(case, action, CHANNEL, note=note, detail=detail)
        if isinstance(message, Verdict) and message.reason and not self._words.erased(case.case):
            data = msgspec.structs.replace(
                data, sealed=self._words.put(case.case, Words(text=message.reason))
            )
        return msgspec.structs.replace(data, deadlines=_capped(data.deadlines, due_us, now_us, data.final))

    # -- to the platform

    def answer(self, event: Event) -> Outgoing | None:
        """What the platform is to be told of the event; None: nothing.

        Raises:
            StorageError: the words for the person cannot be read now.
        """
        data = event.data
        if not isinstance(data, CaseStepped) or data.who == CHANNEL:
            return None
        story = self._book.story(event.key)
        if story is None or story.case.channel != CHANNEL:
            return None
        kind = self._kind(story.case.scenario, data.action)
        base = {"message": event.id, "number": story.case.reference, "sent": moment(event.time_us)}
        by = data.holder or data.who
        if kind == "signed":
            return Signed(**base, by=by)
        if kind == "return":
            return ReturnAsked(**base, by=by, reason=data.note, approver=data.approver)
        if kind == "reply":
            answer = self._words.read(event.key, data.sealed) if data.sealed else None
            text = answer.text if answer else ""
            return Reply(**base, by=by, note=data.note, answer=text, marks=data.marks)
        return None

    def _kind(self, scenario: str, action: str) -> str:
        """signed, return, reply; '': it is told nothing."""
        pack = self._packs.get(scenario)
        row = pack.action(action) if pack is not None else None
        effects = row.effects if row is not None else ()
        return next((e.removeprefix(TELLS) for e in effects if e.startswith(TELLS)), "")

    def refused(self, event: Event, why: str) -> None:
        """Write on the case that the platform will not take what it was told.

        Raises:
            StorageError, VersionConflict: not now; it may be said again.
        """
        cause = f"{event.id}-refused"
        for _ in range(_TRIES):
            story = self._book.story(event.key)
            if story is None or story.answered(cause):
                return
            now = max(self._clock.wall_us(), story.case.updated_us)
            step = aside(story.case, "upstream-refused", CHANNEL, note=why[:200], detail={CAUSE: cause})
            if self._book.write(story, now, step):
                return
        raise VersionConflict(f"case {event.key} is moved by others all the time")


def _us(text: str) -> int:
    return parse_rfc3339(text) if text else 0


def _marks(message: Incoming) -> tuple[str, ...]:
    """What the citizen said, as marks."""
    if not isinstance(message, Verdict):
        return ()
    marks = ["solved" if message.solved else "unsolved"]
    if message.satisfied is not None:
        marks.append("satisfied" if message.satisfied else "dissatisfied")
    return tuple(marks)


def _upstream_due(case: Case) -> int:
    """The platform's deadline; 0: it said none."""
    return next((d.due_us for d in case.deadlines if d.name == CHANNEL), 0)


def _capped(deadlines: tuple[Deadline, ...], due_us: int, now_us: int, final: bool) -> tuple[Deadline, ...]:
    """The clocks under the platform's new deadline (0: as they are): it runs, and no other runs longer."""
    if not due_us or final:
        return deadlines
    said = next((d for d in deadlines if d.name == CHANNEL), None)
    if said is None or said.due_us != due_us or not said.runs:
        hours = max(0.0, (due_us - now_us) / 3.6e9)
        said = Deadline(name=CHANNEL, kind="hours", amount=hours, started_us=now_us, due_us=due_us)
    return (*(_shorter(d, due_us) for d in deadlines if d.name != CHANNEL), said)


def _shorter(deadline: Deadline, due_us: int) -> Deadline:
    """The clock, if it runs not longer than to this time; of the platform's own clock nothing is cut."""
    if not deadline.runs or deadline.due_us <= due_us or deadline.name == CHANNEL:
        return deadline
    warn_us = deadline.warn_us if deadline.warn_us < due_us else 0
    return msgspec.structs.replace(deadline, due_us=due_us, warn_us=warn_us)
