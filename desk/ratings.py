"""Ratings of property companies: what people enter, contest and decide, as events; what is asked.

ratings = RatingDesk(journal, store, rules, clock, "linli", "Asia/Shanghai")
rating = ratings.of_estate("estate-7", actor)
entry = ratings.enter("estate-7", "inspection", -2.0, "blocked fire lane", actor)
ratings.follow("estate-7", entry.entry, "contested", "cleared the same day", company)
"""

import secrets
from collections.abc import Sequence

import msgspec

from city import ratings as rules_of
from city.estates import Estate, estate_of
from city.ratings import Entry, Rating, RatingRules, State
from city.rights import Actor, decide, within
from desk.shown import WAIT_S, until_shown
from events.civic import Rated, desk_source
from events.clock import Clock
from events.errors import AccessDenied, NoSuchThing
from events.events import Event
from events.ids import event_id
from storage.city.store import CityStore
from storage.journal import Journal

FAMILY = "desk"
LAYER = "estate"


class RatingDesk:
    """See the module's text. From any thread.

    Args:
        site: id of the site, for events' sources.
        zone: of the days of contracts.
        wait_s: so long the store is waited for before a change is answered.
    """

    def __init__(
        self,
        journal: Journal,
        store: CityStore,
        rules: RatingRules,
        clock: Clock,
        site: str,
        zone: str = "Asia/Shanghai",
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._site = site
        self._zone = zone
        self._wait_s = wait_s
        self.rules = rules

    # -- what is asked

    def all(self, actor: Actor, area: str = "", company: str = "") -> list[Rating]:
        """The ratings in a jurisdiction, as far as the actor may see them, the worst first.

        Raises:
            StorageError: of the store.
        """
        estates = [
            estate
            for estate in (estate_of(f, self._zone) for f in self._store.features.every(LAYER))
            if estate.area.startswith(area)
            and company in ("", estate.company)
            and decide(actor, "rating.read", estate.area).allowed
        ]
        found = self._store.desk.ratings(self.rules, estates, self._clock.wall_us())
        return sorted(found, key=lambda rating: (rating.score, rating.company, rating.estate))

    def of_estate(self, estate: str, actor: Actor) -> Rating:
        """The rating of an estate's company, with all its points.

        Raises:
            NoSuchThing: no such estate within the actor's jurisdiction, or nobody has it under contract.
            AccessDenied: the actor may not see ratings.
        """
        known = self._estate(estate, actor, "rating.read")
        rating = self._store.desk.rating(self.rules, known, self._clock.wall_us())
        if rating is None:
            raise NoSuchThing(f"no company has the estate {estate[:40]!r} under contract now")
        return rating

    def history(self, estate: str, entry: str, actor: Actor) -> Sequence[tuple[int, Rated]]:
        """What was said of an entry, with when, in order; none: it follows from its case, and nobody said
        anything of it. Raises like `of_estate`."""
        self._entry(self._estate(estate, actor, "rating.read"), entry)
        return self._store.desk.said(entry)

    # -- what people say

    def enter(  # noqa: PLR0913 - what an entry is made of
        self,
        estate: str,
        category: str,
        points: float,
        note: str,
        actor: Actor,
        *,
        cause: str = "",
        since_us: int = 0,
        key: str = "",
    ) -> Entry:
        """Enter points by hand.

        Args:
            key: the same one again enters nothing and answers what it entered; '': always a new entry.

        Raises:
            NoSuchThing, AccessDenied: not this estate, or not by this actor.
            MissingValue: no such category, points out of its bounds, no reason.
            NotShownYet: it is entered, and the store is behind.
            StorageError: nothing was entered.
        """
        known = self._estate(estate, actor, "rating.enter")
        if not known.company:
            raise NoSuchThing(f"no company has the estate {estate[:40]!r} under contract")
        now = self._clock.wall_us()
        entry = Entry(
            entry=event_id(self._site, "rated", estate, key or secrets.token_hex(16)),
            state="entered",
            company=known.company,
            estate=known.id,
            category=category,
            points=points,
            since_us=since_us or now,
            expires_us=0,
            cause=cause,
            note=note,
            who=actor.who,
        )
        if key and self._journal.history(_source(self._site, entry.entry), FAMILY):
            return self._entry(known, entry.entry)
        return self._say(rules_of.entered(self.rules, entry), known, 0)

    def follow(self, estate: str, entry: str, state: State, note: str, actor: Actor) -> Entry:
        """Contest an entry, uphold it, or withdraw it; of those that follow from cases as well.

        Raises:
            NoSuchThing: no such estate or entry, as far as the actor may see.
            AccessDenied: a company contests what is its own; others decide.
            IllegalTransition: not from its state, or not by who contests. Nothing was changed.
            MissingValue: no reason.
            VersionConflict: somebody else was first.
            NotShownYet: it is said, and the store is behind.
            StorageError: nothing was changed.
        """
        action = "rating.contest" if state == "contested" else "rating.decide"
        known = self._estate(estate, actor, action)
        history = self._journal.history(_source(self._site, entry), FAMILY)
        # The journal's word counts: the store may not show yet what somebody else just said.
        found = _of(history[-1]) if history else self._entry(known, entry)
        if state == "contested" and actor.org != found.company:
            raise AccessDenied(f"{actor.who} does not act for {found.company}, whose entry it is")
        return self._say(rules_of.follows(found, state, actor.who, note), known, len(history))

    # -- parts

    def _estate(self, id: str, actor: Actor, action: str) -> Estate:
        feature = self._store.features.get(LAYER, id)
        estate = None if feature is None else estate_of(feature, self._zone)
        if estate is None or not within(actor.place, estate.area):
            raise NoSuchThing(f"there is no estate {id[:40]!r} here")
        decision = decide(actor, action, estate.area)
        if not decision.allowed:
            raise AccessDenied(decision.why)
        return estate

    def _entry(self, estate: Estate, entry: str) -> Entry:
        found = self._store.desk.entry(self.rules, estate, entry, self._clock.wall_us())
        if found is None:
            raise NoSuchThing(f"the estate {estate.id} has no entry {entry[:40]!r}")
        return found

    def _say(self, data: Rated, estate: Estate, sequence: int) -> Entry:
        source, now = _source(self._site, data.entry), self._clock.wall_us()
        id = event_id(source, FAMILY, 0, sequence, now, data.who)
        self._journal.append_next(
            [Event(id=id, source=source, time_us=now, epoch=0, sequence=sequence, data=data)]
        )

        def look() -> bool | None:
            return len(self._store.desk.said(data.entry)) > sequence or None

        until_shown(self._clock, look, f"entry {data.entry}", sequence, self._wait_s)
        return self._entry(estate, data.entry)


def summary(rating: Rating) -> Rating:
    """The rating without its points, for lists."""
    return msgspec.structs.replace(rating, points=())


def _source(site: str, entry: str) -> str:
    return desk_source(site, f"rated:{entry}")


def _of(event: Event) -> Entry:
    assert isinstance(event.data, Rated)
    return Entry(**{name: getattr(event.data, name) for name in Entry.__struct_fields__})
