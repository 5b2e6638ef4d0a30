"""Inspection campaigns, carried out: made, their places visited, what was found there entered.

A campaign and each of its visits is a thing of the map (`campaign`, `visit`): it has a jurisdiction, a place
and a history as all of them have. Of two who bring the result of one visit the first one counts. Points go to
the property company of the estate (`desk/ratings.py`), in the name of who made the campaign; faults become
matters. Both are made once, however often the same result is sent.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from city.campaigns import MOST, Answer, Campaign, Question, Target, Visit, check_answers, check_form, effects
from city.features import Feature
from city.rights import WHOLE, Actor, decide
from city.scenario import Opening
from desk.cases import CaseDesk
from desk.ratings import RatingDesk
from desk.shown import WAIT_S, until_shown
from events.civic import PlaceChanged, place_source
from events.clock import Clock
from events.errors import AccessDenied, MissingValue, NoSuchThing, OutsideCity, VersionConflict
from events.events import Event
from events.ids import event_id
from events.payload import Place
from storage.city.features import Window
from storage.city.store import CityStore
from storage.journal import Journal

CAMPAIGN, VISIT = "campaign", "visit"
"""Layers of the map."""
FAMILY = "place"


class Campaigns:
    """See the module's text. From any thread."""

    def __init__(
        self,
        journal: Journal,
        store: CityStore,
        cases: CaseDesk,
        ratings: RatingDesk | None,
        clock: Clock,
        site: str,
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._journal = journal
        self._store = store
        self._cases = cases
        self._ratings = ratings
        self._clock = clock
        self._site = site
        self._wait_s = wait_s

    def make(
        self,
        title: str,
        due_us: int,
        questions: tuple[Question, ...],
        targets: Sequence[Target],
        actor: Actor,
    ) -> Campaign:
        """Begin a campaign.

        Raises:
            AccessDenied: not by this actor, or not for these places.
            MissingValue: the form does not hang together, or there are no places.
            OutsideCity: a place lies in no jurisdiction.
            NotShownYet, StorageError.
        """
        check_form(questions)
        now = self._clock.wall_us()
        if not 0 < len(targets) <= MOST:
            raise MissingValue(f"a campaign has 1 to {MOST} places", "targets")
        if due_us <= now:
            raise MissingValue("the deadline is in the past", "due_us")
        id_ = event_id(self._site, CAMPAIGN, secrets.token_hex(16))
        visits = list(self._visits(id_, targets))
        for visit in visits:
            _allow(actor, "rating.enter", visit.area)
        for estate in sorted({visit.estate for visit in visits if visit.estate}):
            self._check_estate(estate, actor)
        campaign = Campaign(
            id=id_,
            title=title,
            area=_common([visit.area for visit in visits]),
            due_us=due_us,
            questions=questions,
            visits=len(visits),
            who=actor.who,
            since_us=now,
        )
        features = [_of_campaign(campaign), *(_of_visit(visit) for visit in visits)]
        self._journal.append_next([self._event(feature, 0, now, actor.who) for feature in features])
        last = visits[-1].id
        until_shown(self._clock, lambda: self._store.features.get(VISIT, last), id_, 0, self._wait_s)
        return campaign

    def campaign(self, id_: str, actor: Actor) -> Campaign:
        """One of them, if any of it is in the actor's reach. Raises NoSuchThing."""
        feature = self._store.features.get(CAMPAIGN, id_)
        campaign = _campaign(feature) if feature is not None else None
        if campaign is None or not (
            decide(actor, "map.read", campaign.area).allowed or actor.place.startswith(campaign.area)
        ):
            raise NoSuchThing(f"there is no campaign {id_[:40]!r} here")
        return campaign

    def all(self, actor: Actor) -> list[Campaign]:
        """Campaigns in reach of the actor, the newest first."""
        found = [_campaign(feature) for feature in self._store.features.every(CAMPAIGN)]
        seen = [
            c
            for c in found
            if decide(actor, "map.read", c.area).allowed or (actor.role and actor.place.startswith(c.area))
        ]
        return sorted(seen, key=lambda c: (-c.since_us, c.id))

    def visits(
        self, campaign: str, area: str = "", after: str = "", limit: int = 100
    ) -> tuple[list[Visit], str]:
        """Places of a campaign within an area, and where to go on."""
        window = Window(filters={"campaign": campaign}, area=area)
        page = self._store.features.items(VISIT, window, limit, after)
        return [_visit(text) for text in page.texts], page.next

    def visit(self, id_: str, actor: Actor) -> Visit:
        """One place of a campaign. Raises NoSuchThing."""
        text = self._store.features.feature(VISIT, id_)
        visit = _visit(text) if text is not None else None
        if visit is None or not decide(actor, "map.read", visit.area).allowed:
            raise NoSuchThing(f"there is no visit {id_[:40]!r} in your jurisdiction")
        return visit

    def result(self, id_: str, version: int, answers: Mapping[str, Answer], actor: Actor) -> Visit:
        """What was found at a place; the same result again changes nothing.

        Raises:
            NoSuchThing, AccessDenied.
            MissingValue: the form asks for something else.
            VersionConflict: somebody else was there before.
            NotShownYet: it holds, and the store is behind.
            StorageError: points or matters may be missing; send it again.
        """
        visit = self.visit(id_, actor)
        _allow(actor, "case.open", visit.area)
        campaign = self.campaign(visit.campaign, actor)
        check_answers(campaign, answers)
        now = self._clock.wall_us()
        done = msgspec.structs.replace(
            visit, state="done", version=1, answers=dict(answers), who=actor.who, done_us=now
        )
        again = visit.state == "done" and (visit.who, visit.answers) == (actor.who, dict(answers))
        if not again:
            if visit.version != version or visit.state == "done":
                raise VersionConflict(f"visit {id_} was made by {visit.who or 'somebody'} before")
            self._journal.append_next([self._event(_of_visit(done), 1, now, actor.who)])
        self._follow(campaign, visit, answers)
        return until_shown(self._clock, lambda: self._done(id_), id_, 1, self._wait_s)

    def _done(self, id_: str) -> Visit | None:
        text = self._store.features.feature(VISIT, id_)
        visit = _visit(text) if text is not None else None
        return visit if visit is not None and visit.state == "done" else None

    def _follow(self, campaign: Campaign, visit: Visit, answers: Mapping[str, Answer]) -> None:
        """Points and matters of a result, each once."""
        maker = Actor(campaign.who, "supervisor", WHOLE)
        for question, effect in effects(campaign, answers):
            note = f"{campaign.title}: {question.title}"[:200]
            key = f"{visit.id}/{question.code}"
            if effect.matter:
                opening = Opening(
                    category=effect.matter,
                    area=visit.area,
                    place=visit.place,
                    estate=visit.estate,
                    cause=visit.id,
                    channel="inspection",
                    title=note,
                )
                self._cases.open("matter", opening, maker, key=key)
            if effect.points and visit.estate and self._ratings is not None:
                self._ratings.enter(
                    visit.estate, effect.rating, effect.points, note, maker, cause=visit.id, key=key
                )

    def _visits(self, campaign: str, targets: Sequence[Target]) -> Iterator[Visit]:
        for n, target in enumerate(targets):
            area = target.area
            place: Place | None = None
            if target.place is not None:
                place = round(target.place[0], 7), round(target.place[1], 7)
                chain = self._store.features.locate(*place)
                if not chain or not (chain[-1].startswith(area) or area.startswith(chain[-1])):
                    raise OutsideCity(f"place {n + 1} ({target.name}) lies in no jurisdiction of this city")
                area = max(chain[-1], area, key=len)
            if not area:
                raise MissingValue(f"place {n + 1} ({target.name}) has neither place nor area", "targets")
            yield Visit(
                id=f"{campaign}-{n + 1}",
                campaign=campaign,
                name=target.name,
                area=area,
                place=place,
                estate=target.estate,
            )

    def _check_estate(self, id_: str, actor: Actor) -> None:
        """Its company may be given points, by whoever visits, in the actor's name."""
        feature = self._store.features.get("estate", id_)
        if feature is None or not decide(actor, "rating.enter", feature.parent).allowed:
            raise MissingValue(f"there is no estate {id_[:40]!r} in your jurisdiction", "targets")

    def _event(self, feature: Feature, version: int, now: int, who: str) -> Event:
        source = place_source(self._site, feature.what, feature.id)
        body = msgspec.json.encode(feature).decode()
        data = PlaceChanged(what=feature.what, feature=feature.id, body=body, valid_us=now, who=who)
        id_ = event_id(source, FAMILY, 0, version, now, who)
        return Event(id=id_, source=source, time_us=now, epoch=0, sequence=version, data=data)


def _allow(actor: Actor, action: str, area: str) -> None:
    decision = decide(actor, action, area)
    if not decision.allowed:
        raise AccessDenied(decision.why)


def _common(areas: Sequence[str]) -> str:
    """The smallest division that all of them lie in."""
    first, last = min(areas), max(areas)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    if first == last:
        return first
    return first[: next((digits for digits in (12, 9, 6) if digits <= same), 0)]


def _of_campaign(campaign: Campaign) -> Feature:
    return Feature(
        id=campaign.id,
        what=CAMPAIGN,
        name=campaign.title,
        parent=campaign.area,
        properties={
            "due_us": campaign.due_us,
            "form": msgspec.json.encode(campaign.questions).decode(),
            "visits": campaign.visits,
            "who": campaign.who,
        },
        since_us=campaign.since_us,
    )


def _campaign(feature: Feature) -> Campaign:
    has: Mapping[str, Any] = feature.properties
    return Campaign(
        id=feature.id,
        title=feature.name,
        area=feature.parent,
        due_us=int(has["due_us"]),
        questions=msgspec.json.decode(str(has["form"]), type=tuple[Question, ...]),
        visits=int(has["visits"]),
        who=str(has["who"]),
        since_us=feature.since_us,
    )


def _of_visit(visit: Visit) -> Feature:
    point = {"type": "Point", "coordinates": list(visit.place)} if visit.place else None
    return Feature(
        id=visit.id,
        what=VISIT,
        name=visit.name,
        parent=visit.area,
        geometry=point,
        properties={
            "campaign": visit.campaign,
            "estate": visit.estate,
            "state": visit.state,
            "version": visit.version,
            "answers": msgspec.json.encode(visit.answers).decode(),
            "who": visit.who,
            "done_us": visit.done_us,
        },
    )


class _Whole(msgspec.Struct):
    id: str
    properties: dict[str, Any]
    geometry: dict[str, Any] | None = None


def _visit(text: str) -> Visit:
    whole = msgspec.json.decode(text, type=_Whole)
    has = whole.properties
    at = (whole.geometry or {}).get("coordinates")
    return Visit(
        id=whole.id,
        campaign=str(has["campaign"]),
        name=str(has.get("name", "")),
        area=str(has.get("parent", "")),
        place=(float(at[0]), float(at[1])) if at else None,
        estate=str(has.get("estate", "")),
        version=int(has["version"]),
        state="done" if has["state"] == "done" else "open",
        answers=msgspec.json.decode(str(has["answers"]), type=dict[str, Answer]),
        who=str(has.get("who", "")),
        done_us=int(has.get("done_us", 0)),
    )
