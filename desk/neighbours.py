"""What neighbours do with each other: micro-wishes that somebody claims, and a council's proposals.

Both are kinds of appeals. A wish without a holder may be claimed by whoever is at work where it lies, for the
organisation that they act for; the first claim counts. A council's resolution is one step of its proposal,
and the matter that it opens is the next.
"""

from collections.abc import Mapping

import msgspec

from city.cases import Case
from city.rights import OWN, Actor, decide
from city.scenario import Step
from desk.appeallinks import SCENARIO
from desk.cases import CaseDesk
from events.civic import Fact
from events.errors import AccessDenied, IllegalTransition, MissingValue, NoSuchThing
from storage.city.casequery import CaseQuery, Page
from storage.city.store import CityStore

WISH, COUNCIL = "wish", "council"
"""Kinds of appeals."""
WISHES = "wish"
"""Category of wishes: by it they are listed."""


class Neighbours:
    """See the module's text. From any thread."""

    def __init__(self, desk: CaseDesk, store: CityStore) -> None:
        self._desk = desk
        self._store = store

    def wishes(self, area: str, after: str = "", limit: int = 100) -> Page:
        """Wishes in an area that are open; those with a holder are claimed.

        Raises:
            ValueError: `after` is of no page.
        """
        query = CaseQuery(scenario=SCENARIO, category=WISHES, area=area, open=True)
        return self._store.cases.page(query, after, limit)

    def wish(self, id_: str, actor: Actor) -> Case:
        """A wish that the actor may see: everybody at work where it lies may. Raises NoSuchThing."""
        case = self._store.cases.case(id_)
        if (
            case is None
            or case.scenario != SCENARIO
            or case.detail.get("kind") != WISH
            or not decide(actor, "case.read", case.area, orgs=(actor.org, case.holder)).allowed
        ):
            raise NoSuchThing(f"there is no wish {id_[:40]!r} in your jurisdiction")
        return case

    def claim(self, id_: str, version: int, actor: Actor, org: str = "") -> Case:
        """The wish is the claimer's organisation's to fulfil.

        Args:
            org: a volunteer team for which somebody without an organisation of their own claims.

        Raises:
            NoSuchThing, AccessDenied.
            MissingValue: nobody is named.
            VersionConflict, IllegalTransition: somebody claimed it before, or it is over.
        """
        case = self.wish(id_, actor)
        holder = actor.org or org
        if not holder:
            raise MissingValue("say which team claims it (org)", "org")
        if actor.org and org not in ("", actor.org):
            raise AccessDenied(f"{actor.who} acts for {actor.org}, not for {org}")
        if case.holder and case.holder != holder:
            raise IllegalTransition(f"wish {id_} was claimed by {case.holder} before")
        if actor.role in OWN:
            # Until it is claimed it is nobody's: whoever may work here acts for its channel this once.
            actor = msgspec.structs.replace(actor, org=case.channel)
        step = Step(action="claim", holder=holder)
        return self._desk.step(id_, version, step, actor)

    def resolve(
        self, id_: str, version: int, passed: bool, votes: Mapping[str, int], note: str, actor: Actor
    ) -> Case:
        """What the council decided of a proposal.

        Args:
            votes: yes, no, abstained -> how many.

        Raises:
            NoSuchThing, AccessDenied, VersionConflict, IllegalTransition.
            MissingValue: the votes say the contrary.
        """
        yes, no = votes.get("yes", 0), votes.get("no", 0)
        if passed != (yes > no):
            raise MissingValue(f"{yes} yes and {no} no are not what was decided", "passed")
        detail: dict[str, Fact] = {f"votes-{name}": count for name, count in votes.items()}
        step = Step(action="resolve" if passed else "reject", note=note, detail=detail)
        return self._desk.step(id_, version, step, actor)

    def become(self, id_: str, version: int, category: str, holder: str, actor: Actor) -> Case:
        """A matter is opened of a resolved proposal; the case's `other` names it. Raises like `resolve`."""
        return self._desk.step(
            id_, version, Step(action="become-matter", category=category, holder=holder), actor
        )
