"""The desk's cases: opening one, and each step of it, as events of the journal.

    desk = CaseDesk(journal, store, packs, clock, "linli", calendar, words=WordsBox(objects, vault))
    case = desk.open("matter", Opening(category="0203", place=(117.16, 35.08)), actor)
    case = desk.step(case.case, case.version, Step(action="accept"), actor)

A change is committed with the number that follows what its maker saw: of two who change the same case at
once, one is told that the other was first, and nothing of the other's is kept. What is answered has been read
back from the store. What an action does beside its own case (a judgement of the alert, the matter that it
becomes) is in the same commit.
"""

import secrets
from collections.abc import Mapping

import msgspec

from city import steps as rules
from city.cases import Case
from city.clocks import Calendar
from city.rights import SYSTEM, WHOLE, Actor, decide
from city.scenario import Opening, Pack, Step
from city.steps import BACK_FACT, YEAR_FACT
from desk.casebook import FAMILY, folded
from desk.effects import Effects, becomes, case_event, case_id
from desk.placing import estate_at
from desk.shown import WAIT_S, until_shown
from desk.words import Words, WordsBox
from events.civic import CaseOpened, Fact, case_source
from events.clock import Clock
from events.errors import (
    AccessDenied,
    IllegalTransition,
    MissingValue,
    NoSuchThing,
    OutsideCity,
    VersionConflict,
)
from events.events import Event
from storage.city.store import CityStore
from storage.journal import Journal

OWN_FACTS = frozenset(("source", "rule", "event", "upstream-sent", BACK_FACT, YEAR_FACT))
"""Keys of `detail` that are set by what acts by itself, and by nobody else."""


class CaseDesk:
    """See the module's text. From any thread.

    Args:
        packs: by id; a case is moved by the pack of its scenario as it is now.
        site: id of the site, for events' sources.
        words: where personal words go; None: steps and openings may have none.

    Raises:
        ConfigError: a pack names an effect that is not known here.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each given once
        self,
        journal: Journal,
        store: CityStore,
        packs: Mapping[str, Pack],
        clock: Clock,
        site: str,
        calendar: Calendar,
        *,
        words: WordsBox | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self._effects = Effects(packs, site, calendar)
        self._journal = journal
        self._store = store
        self._packs = packs
        self._clock = clock
        self._site = site
        self._calendar = calendar
        self._words = words
        self._wait_s = wait_s

    # -- opening

    def open(
        self, scenario: str, opening: Opening, actor: Actor, *, key: str = "", words: Words | None = None
    ) -> Case:
        """Open a case; where it lies is found by its place, unless the opening says it.

        Args:
            key: the same one again opens nothing and answers the case that it opened; '': always a new one.
            words: a person's, sealed.

        Raises:
            NoSuchThing: no such scenario.
            AccessDenied: not by this actor, or not there; or the key is of a case that the actor may not see.
            OutsideCity: the place lies in no jurisdiction.
            MissingValue: the pack asks for more.
            NotShownYet: it is opened, and the store is behind.
            StorageError: nothing was opened.
        """
        pack = self.pack(scenario)
        opening = self._placed(opening, actor)
        _allow(actor, "case.open", opening.area)
        _check_facts(opening.detail, actor)
        case = self.id_of(scenario, key or secrets.token_hex(16))
        if key and (known := self._store.cases.case(case)) is not None:
            return _of_key(known, actor)
        now = self._clock.wall_us()
        sealed = self._sealed(case, words)
        try:
            signed = {"who": actor.who, "role": actor.role, "sealed": sealed or opening.sealed}
            opening = msgspec.structs.replace(opening, **signed)
            data = rules.open_case(pack, opening, now, self._calendar)
            self._journal.append_next([case_event(self._site, case, 0, now, data)])
        except VersionConflict:
            self._unseal(sealed)  # the same key came twice at once
            return _of_key(self.shown(case, 0), actor)
        except BaseException:
            self._unseal(sealed)
            raise
        return self.shown(case, 0)

    def id_of(self, scenario: str, key: str) -> str:
        """The id of the case that `open` makes or made for this key."""
        return case_id(self._site, scenario, key)

    def pack(self, scenario: str) -> Pack:
        """The pack of a scenario. Raises NoSuchThing."""
        if scenario not in self._packs:
            raise NoSuchThing(
                f"there is no scenario {scenario[:40]!r}; there are {', '.join(sorted(self._packs))}"
            )
        return self._packs[scenario]

    # -- steps

    def step(
        self, case_id: str, expected_version: int, step: Step, actor: Actor, words: Words | None = None
    ) -> Case:
        """Take a step from the version that the actor saw.

        Args:
            words: to or about a person, sealed.

        Raises:
            NoSuchThing: no such case.
            AccessDenied: not this case, or not by this role.
            VersionConflict: it is not of that version any more.
            IllegalTransition: not from its state. Nothing was changed, as with those before.
            MissingValue: the action asks for more.
            NotShownYet: the step is taken, and the store is behind.
            StorageError: nothing was changed.
        """
        case = self.seen(case_id, expected_version)
        _allow(actor, "case.step", case.area, case)
        if case.version != expected_version:
            raise VersionConflict(
                f"case {case.case} has version {case.version} by now ({case.last_action} by {case.last_by}), "
                f"not {expected_version}; look at it again"
            )
        pack = self.pack(case.scenario)
        step = self._checked(pack, case, step, actor)
        now = max(self._clock.wall_us(), case.updated_us)
        sealed = self._sealed(case.case, words)
        try:
            data = rules.step(
                pack, case, msgspec.structs.replace(step, sealed=sealed or step.sealed), now, self._calendar
            )
            beside = self._effects.of(pack, case, step, data, now)
            mine = [*self._begun(case), case_event(self._site, case.case, case.version + 1, now, data)]
            self._journal.append_next([*mine, *beside])
        except BaseException:
            self._unseal(sealed)
            raise
        return self.shown(case.case, case.version + 1)

    def _checked(self, pack: Pack, case: Case, step: Step, actor: Actor) -> Step:
        """The step, signed; its other case there and in reach, its place within the jurisdiction."""
        _check_facts(step.detail, actor)
        if step.other:
            other = self._store.cases.case(step.other)
            if other is None or not decide(actor, "case.read", other.area, orgs=orgs_of(other)).allowed:
                raise NoSuchThing(f"there is no case {step.other[:40]!r} to link to")
            if other.other == case.case:
                raise IllegalTransition(f"case {other.case} is linked to {case.case} already")
        elif scenario := becomes(pack, step):
            step = msgspec.structs.replace(step, other=self._effects.other_of(case, scenario))
        area = step.area
        if step.place is not None:
            found = self._area(step.place)
            if area and not (found.startswith(area) or area.startswith(found)):
                raise OutsideCity(f"the place lies in {found}, not in {area}")
            action = pack.action(step.action)
            if not area and action is not None and "area" in (*action.needs, *action.optional):
                area = found
            _allow(actor, "case.step", found, case)
        if area:
            _allow(actor, "case.step", area, case)
        return msgspec.structs.replace(step, who=actor.who, role=actor.role, area=area)

    def _begun(self, case: Case) -> list[Event]:
        """The beginning of a case that came in a batch of others, and has no event of its own yet."""
        if case.version or self._journal.history(case_source(self._site, case.case), FAMILY):
            return []
        data = CaseOpened(
            **{name: getattr(case, name) for name in CaseOpened.__struct_fields__ if hasattr(case, name)},
            who=case.opened_by,
            role="channel",
        )
        return [case_event(self._site, case.case, 0, case.opened_us, data)]

    # -- what is there

    def seen(self, case_id: str, version: int = 0) -> Case:
        """The case as the store has it; where that is older than `version`, as the journal has it.

        Raises:
            NoSuchThing: no such case.
        """
        case = self._store.cases.case(case_id)
        if case is None or case.version < version:
            case = self._of_journal(case_id) or case
        if case is None:
            raise NoSuchThing(f"there is no case {case_id[:40]!r}")
        return case

    def shown(self, case_id: str, version: int) -> Case:
        """The case once the store has this version.

        Raises:
            NotShownYet: it has not in time. The version is journaled all the same.
        """

        def look() -> Case | None:
            case = self._store.cases.case(case_id)
            return case if case is not None and case.version >= version else None

        return until_shown(self._clock, look, case_id, version, self._wait_s)

    def _of_journal(self, case_id: str) -> Case | None:
        return folded(case_id, self._journal.history(case_source(self._site, case_id), FAMILY))

    # -- parts

    def _placed(self, opening: Opening, actor: Actor) -> Opening:
        area = opening.area
        if opening.place is not None:
            found = self._area(opening.place)
            # A code that is given must be one that the place lies in; the finer of the two counts.
            if area and not (found.startswith(area) or area.startswith(found)):
                raise OutsideCity(f"the place lies in {found}, not in {area}")
            area = max(area, found, key=len)
        if not area and actor.place != WHOLE:
            area = actor.place
        estate = opening.estate or estate_at(self._store.features, opening.place)
        return msgspec.structs.replace(opening, area=area, estate=estate)

    def _area(self, place: tuple[float, float]) -> str:
        chain = self._store.features.locate(*place)
        if not chain:
            raise OutsideCity(f"{place[0]}, {place[1]} lies in no jurisdiction of this city")
        return str(chain[-1])

    def _sealed(self, case: str, words: Words | None) -> str:
        if words is None or words == Words():
            return ""
        if self._words is None:
            raise NoSuchThing("this desk keeps no words of persons; it needs a vault")
        if self._words.erased(case):
            raise IllegalTransition(
                f"a person's words in case {case} were erased, and it takes none any more; open a new one"
            )
        return self._words.put(case, words)

    def _unseal(self, key: str) -> None:
        if key and self._words is not None:
            self._words.drop(key)


def orgs_of(case: Case) -> tuple[str, ...]:
    """The organisations whose case it is: who holds it, who helps, and the channel that brought it."""
    return (case.holder, *case.helpers, case.channel)


def _of_key(case: Case, actor: Actor) -> Case:
    """The case that a key opened before. Keys can be known, or guessed, by others (a channel's numbers)."""
    if not decide(actor, "case.read", case.area, orgs=orgs_of(case)).allowed:
        raise AccessDenied(f"this key or number is of a case that {actor.who} may not see")
    return case


def _check_facts(detail: Mapping[str, Fact], actor: Actor) -> None:
    forged = sorted(OWN_FACTS.intersection(detail)) if actor.role != SYSTEM else []
    if forged:
        raise MissingValue(f"detail.{forged[0]} is not yours to set; leave it out", "detail")


def _allow(actor: Actor, action: str, place: str, case: Case | None = None) -> None:
    level, orgs = (case.level, orgs_of(case)) if case else ("", ())
    decision = decide(actor, action, place, level=level, orgs=orgs)
    if not decision.allowed:
        raise AccessDenied(decision.why)
