"""Citizens' appeals, one intake for all channels: placed, compared with what was said before, linked.

    appeals = Appeals(desk, store, box, vault, clock)
    taken = appeals.take(Report(category="noise", place=(117.16, 35.08), words=Words(text="...")), actor)
    appeals.look(taken.token)                       # what the citizen may see

Where it lies is found by its place, else by its address (`desk/gazetteer.py`); what cannot be placed stays
received, until somebody does. A token is given to each caller and kept nowhere: the case's id is a hash of
it, or (of one that has a number in its channel) it is the id with a proof that only the vault's key can make.
What is the same as another is linked to it, and is answered when that is.
"""

import hmac
import logging
import secrets
from base64 import b32hexencode
from hashlib import blake2b
from typing import Literal

import msgspec

from city.cases import Case
from city.duplicates import WEIGHTS, Link, Weights
from city.rights import OWN, Actor, system
from city.scenario import Opening, Step
from city.services import Services, shipped
from desk.appeallinks import LINKED, SCENARIO, Linker
from desk.cases import CaseDesk
from desk.gazetteer import Gazetteer, middle
from desk.words import Words, WordsBox
from events.civic import CaseStepped, Fact
from events.clock import Clock
from events.errors import IllegalTransition, MissingValue, NoSuchThing, VersionConflict
from events.payload import Place
from storage.city.store import CityStore
from storage.city.vault import Vault

log = logging.getLogger(__name__)

RECEIVED = "received"
"""State of the pack in which an appeal begins."""
ME = system("intake")
_GRID_DIGITS = 12
_PROOF = 20
"""Characters (100 bits)."""
_ANSWERS = frozenset(("answer", "answer-at-once", "refuse", "reject", "resolve"))
"""Actions of which the note is for the citizen."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody reports."""

    category: str
    """A service's code (`city/services.py`)."""
    kind: str = "help"
    """help, enquiry, report, complaint, suggestion, wish, council."""
    place: Place | None = None
    area: str = ""
    """A jurisdiction's code, where it is known."""
    address_id: str = ""
    """Id of a building on the map, or code of a jurisdiction."""
    channel: str = ""
    reference: str = ""
    """Its number in the channel: the same one again is the same appeal."""
    occurred_us: int = 0
    severity: str = "minor"
    words: Words = Words()
    """Everything that a person said; sealed before anything is journaled."""


class Ticket(msgspec.Struct, frozen=True):
    """By which an appeal is opened, and by which its citizen sees it."""

    key: str
    token: str


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """An appeal that was taken in."""

    case: Case
    token: str
    """For the citizen, who may see its state by it. It is shown now and never again."""
    linked: str = ""
    """The appeal that it is the same as."""
    why: str = ""
    """For which reasons."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a citizen sees of an appeal: nothing about persons, not even about themselves."""

    case: Case
    note: str = ""
    """The last answer in official words."""
    solved: bool | None = None
    satisfied: bool | None = None
    called_back: bool = False


class Appeals:
    """See the module's text. From any thread."""

    def __init__(
        self,
        desk: CaseDesk,
        store: CityStore,
        box: WordsBox,
        vault: Vault,
        clock: Clock,
        *,
        services: Services | None = None,
        weights: Weights = WEIGHTS,
    ) -> None:
        self.links = Linker(store, box, vault, weights)
        self.services = services or shipped()
        self.gazetteer = Gazetteer(store.features)
        self._desk = desk
        self._store = store
        self._vault = vault
        self._clock = clock

    # -- taking in

    def take(self, report: Report, actor: Actor) -> Taken:
        """Open an appeal, place it, and link it if it is the same as one that is open.

        Raises:
            MissingValue: no such category.
            OutsideCity: its place lies in no jurisdiction.
            AccessDenied: this actor opens none, or not there.
            NotShownYet: it was opened, and the store is behind. Who has to know the token all the same uses
                `ticket` and `take_as`.
            StorageError: nothing was opened.
        """
        return self.take_as(self.ticket(report, actor), report, actor)

    def ticket(self, report: Report, actor: Actor) -> Ticket:
        """Key and token of an appeal that is to be taken in; of one with a reference always the same."""
        if report.reference:
            return self.ticket_of(channel_of(report, actor), report.reference)
        chance = token(secrets.token_bytes(32))
        return Ticket(chance, chance)

    def ticket_of(self, channel: str, reference: str) -> Ticket:
        """The same for a channel's number."""
        key = numbered(channel, reference)
        case = self._desk.id_of(SCENARIO, key)
        return Ticket(key, f"{case}-{self._proof(case)}")

    def _proof(self, case: str) -> str:
        """The secret half of the token of a case that has a number."""
        return token(self._vault.blind(f"token:{case}"))[:_PROOF]

    def take_as(self, ticket: Ticket, report: Report, actor: Actor) -> Taken:
        """As `take`, with what `ticket` gave; the same one again takes nothing in."""
        service = self.services.services.get(report.category)
        if service is None:
            raise MissingValue(f"there is no category {report.category[:40]!r} of appeals", "category")
        place, area = self.place(report)
        opening = Opening(
            category=service.code,
            code_system=self.services.code_system,
            title=self.services.title(service.code),
            severity=report.severity,  # type: ignore[arg-type]  # the form checks it
            level=self._level(place, area),
            area=area,
            place=place,
            channel=channel_of(report, actor),
            reference=report.reference,
            public=service.public,
            occurred_us=report.occurred_us,
            detail={"kind": report.kind},
        )
        words = report.words if report.words != Words() else None
        case = self._desk.open(SCENARIO, opening, actor, key=ticket.key, words=words)
        case, link = self.settle(case, report.words)
        linked = case.other if case.state == LINKED else ""
        return Taken(case=case, token=ticket.token, linked=linked, why=link.likeness.text if link else "")

    def place(self, report: Report) -> tuple[Place | None, str]:
        """Where it lies, as well as is known: a place and a jurisdiction's code.

        Raises:
            MissingValue: `address_id` is of nothing on the map.
        """
        if report.place is not None:
            return report.place, report.area
        if report.address_id:
            return self._of_address_id(report.address_id)
        found = self.gazetteer.find(report.words.address, report.area) if report.words.address else None
        return self._sure(found.place, found.area) if found else (None, report.area)

    def _sure(self, place: Place | None, area: str) -> tuple[Place | None, str]:
        """A building's place, unless it lies outside of everything: then where it is said to be."""
        return (place, "") if place is not None and self._store.features.locate(*place) else (None, area)

    def _of_address_id(self, id_: str) -> tuple[Place | None, str]:
        building = self._store.features.get("building", id_)
        if building is not None and (place := middle(building)) is not None:
            return self._sure(place, building.parent)
        if self._store.features.feature("jurisdiction", id_) is None:
            raise MissingValue(
                f"address_id {id_[:60]!r} is neither a building nor a jurisdiction", "address_id"
            )
        return None, id_

    def _level(self, place: Place | None, area: str) -> Literal["", "grid"]:
        chain = self._store.features.locate(*place) if place else []
        finest = max([area, *chain], key=len)
        return "grid" if len(finest) > _GRID_DIGITS else ""

    def settle(self, case: Case, words: Words | None = None) -> tuple[Case, Link | None]:
        """What follows from an opening: linked, or placed. Doing it again changes nothing.

        Args:
            words: those of the case, where they are at hand.
        """
        if case.version or case.state != RECEIVED or case.scenario != SCENARIO:
            return case, None
        link = self.links.find(case, words)
        step = self._settling(case, link)
        if step is None:
            return case, link
        try:
            return self._desk.step(case.case, 0, step, ME), link
        except (VersionConflict, IllegalTransition) as e:  # somebody was quicker
            log.info("%s was moved before it was settled: %s", case.case, e)
            return self._desk.seen(case.case), link

    def _settling(self, case: Case, link: Link | None) -> Step | None:
        facts: dict[str, Fact] = {}
        if link is not None:
            facts = {"score": round(link.likeness.score, 3), "why": link.likeness.text}
            if link.likeness.score >= self.links.weights.linked_at:
                return Step(action="link", other=link.of, detail=facts, note=link.likeness.text)
            facts["similar"] = link.of
        if not is_placed(case):
            return None
        return Step(action="place", area=case.area, place=case.place, detail=facts)

    # -- what the citizen sees and says

    def look(self, token: str) -> Seen:
        """The appeal of a token. Raises NoSuchThing."""
        case = self._store.cases.case(self.id_of(token))
        if case is None:
            raise NoSuchThing("no appeal has this token; look whether it was typed as it was given")
        return self.seen(case)

    def id_of(self, token: str) -> str:
        """Id of the case that a token is of, if it is of one; '': surely not."""
        case, dash, proof = token.partition("-")
        if not dash:
            return self._desk.id_of(SCENARIO, token)
        return case if hmac.compare_digest(proof.encode(), self._proof(case).encode()) else ""

    def seen(self, case: Case) -> Seen:
        """What its citizen may see of an appeal; of a linked one the other's answer, if it has none."""
        marks = case.marks
        return Seen(
            case=case,
            note=self._answer(case.case) or (self._answer(case.other) if case.other else ""),
            solved=_word(marks, "solved", "unsolved"),
            satisfied=_word(marks, "satisfied", "dissatisfied"),
            called_back="called-back" in marks,
        )

    def verdict(self, token: str, solved: bool, satisfied: bool | None) -> Seen:
        """What the citizen says of the answer.

        Raises:
            NoSuchThing, IllegalTransition (it was not answered yet), VersionConflict.
        """
        case = self.look(token).case
        marks = ["solved" if solved else "unsolved"]
        if satisfied is not None:
            marks.append("satisfied" if satisfied else "dissatisfied")
        step = Step(action="verdict", marks=tuple(marks))
        return self.seen(self._desk.step(case.case, case.version, step, system("citizen")))

    def _answer(self, case: str) -> str:
        notes = [
            row.data.note
            for row in self._store.cases.steps(case)
            if isinstance(row.data, CaseStepped) and row.data.action in _ANSWERS
        ]
        return notes[-1] if notes else ""


def channel_of(report: Report, actor: Actor) -> str:
    """The channel that an appeal comes by: of a channel always its own."""
    return actor.org if actor.role in OWN else report.channel or actor.role.replace(" ", "-")


def numbered(channel: str, reference: str) -> str:
    """The key of a channel's number, by which it is the same appeal however often it comes."""
    return f"{channel}:{reference}"


def token(secret: bytes) -> str:
    """26 letters and digits (130 bits) of a secret."""
    return b32hexencode(blake2b(secret, digest_size=17).digest()).decode().lower()[:26]


def is_placed(case: Case) -> bool:
    """Whether somebody can be sent: it has a place, or lies in a community."""
    return case.place is not None or len(case.area) >= _GRID_DIGITS


def _word(marks: tuple[str, ...], yes: str, no: str) -> bool | None:
    return True if yes in marks else False if no in marks else None
