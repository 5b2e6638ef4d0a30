"""What a step of a case does beside it, in the same commit: its alert judged, the case that it becomes."""

from collections.abc import Mapping
from typing import Literal

from city import steps as rules
from city.cases import Case
from city.clocks import Calendar
from city.rights import SYSTEM
from city.scenario import Opening, Pack, Step
from desk.casebook import FAMILY
from events.civic import CaseOpened, CaseStepped, case_source
from events.errors import ConfigError
from events.events import Event, Judged
from events.ids import event_id

JUDGEMENT, OPEN = "judgement", "open:"
KNOWN = frozenset((JUDGEMENT, "upstream:signed", "upstream:return", "upstream:reply"))
"""Effects that actions of a pack may have, and `open:SCENARIO`. What a platform above is to be told
is sent by who listens for such steps (`desk/orders.py`)."""
VERDICTS: Mapping[str, Literal["true", "false", "ignore"]] = {
    "true": "true",
    "false": "false",
    "unwanted": "ignore",
    "duplicate": "true",
    "exercise": "true",
}
"""What a mark of a judged case says of the rule: in an exercise, and the second time, it was right, too."""


def case_event(site: str, case: str, version: int, now: int, data: CaseOpened | CaseStepped) -> Event:
    """An event of a case, numbered by its version."""
    source = case_source(site, case)
    # Two who make the same version at once must not make the same event.
    id = event_id(source, FAMILY, 0, version, now, data.who, data.role)
    return Event(id=id, source=source, time_us=now, epoch=0, sequence=version, data=data)


def case_id(site: str, scenario: str, key: str) -> str:
    """The id of the case that is opened for this key: an alert, a case that becomes it, a caller's word."""
    return event_id(site, "case", scenario, key)


class Effects:
    """See the module's text.

    Raises:
        ConfigError: a pack names an effect that is not known here.
    """

    def __init__(self, packs: Mapping[str, Pack], site: str, calendar: Calendar) -> None:
        for pack in packs.values():
            for action in pack.actions:
                for effect in action.effects:
                    _check(pack, action.name, effect, packs)
        self._packs = packs
        self._site = site
        self._calendar = calendar

    def of(self, pack: Pack, case: Case, step: Step, data: CaseStepped, now: int) -> list[Event]:
        """The events that go into the step's commit. A case is opened if the step links to `other_of`.

        Raises:
            IllegalTransition, MissingValue: what it becomes cannot be opened so.
        """
        beside: list[Event] = []
        if _has(pack, step, JUDGEMENT):
            beside += self._judgement(case, data, now)
        if (scenario := becomes(pack, step)) and step.other == self.other_of(case, scenario):
            beside.append(self._became(scenario, case, step, now))
        return beside

    def other_of(self, case: Case, scenario: str) -> str:
        """Id of the case that this one becomes by its next step."""
        return case_id(self._site, scenario, f"{case.case}/{case.version + 1}")

    def _became(self, scenario: str, case: Case, step: Step, now: int) -> Event:
        opening = Opening(
            category=step.category or case.category,
            title=case.title,
            code_system=case.code_system,
            severity=case.severity,  # type: ignore[arg-type]  # a Case has it from a CaseOpened
            level=step.level,
            area=step.area or case.area,
            place=step.place or case.place,
            holder=step.holder,
            cause=case.case,
            component=case.component,
            estate=case.estate,
            channel=case.channel,
            occurred_us=case.occurred_us,
            who=step.who,
            role=SYSTEM,
        )
        data = rules.open_case(self._packs[scenario], opening, now, self._calendar)
        return case_event(self._site, step.other, 0, now, data)

    def _judgement(self, case: Case, data: CaseStepped, now: int) -> list[Event]:
        """What the case says of its alert, for those who learn by it: an event of the alert's own source, as
        an operator's on the page. Each is alone in its epoch: others judge alerts of this source, too."""
        source, rule = str(case.detail.get("source", "")), str(case.detail.get("rule", ""))
        verdict = next((VERDICTS[mark] for mark in data.marks if mark in VERDICTS), None)
        if verdict is None or not source or not case.cause:
            return []
        judged = Judged(alert=case.cause, rule=rule, verdict=verdict, who=data.who, note=data.note)
        id = event_id(source, "judgement", case.case, case.version + 1, now)
        return [Event(id=id, source=source, time_us=now, epoch=now, sequence=0, data=judged)]


def becomes(pack: Pack, step: Step) -> str:
    """The scenario in which the step's action opens a case; '': in none."""
    action = pack.action(step.action)
    found = (
        effect.removeprefix(OPEN) for effect in (action.effects if action else ()) if effect.startswith(OPEN)
    )
    return next(found, "")


def _has(pack: Pack, step: Step, effect: str) -> bool:
    action = pack.action(step.action)
    return action is not None and effect in action.effects


def _check(pack: Pack, action: str, effect: str, packs: Mapping[str, Pack]) -> None:
    if effect in KNOWN or (effect.startswith(OPEN) and effect.removeprefix(OPEN) in packs):
        return
    raise ConfigError(
        f"pack {pack.id}: action {action} has the effect {effect!r}, which is not known; use "
        f"{', '.join(sorted(KNOWN))}, or {OPEN}SCENARIO of a pack that is there"
    )
