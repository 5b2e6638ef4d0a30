"""Ratings of property companies over HTTP: each company on each estate, each point with the case behind it,
open to appeal.
"""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from city.ratings import Entry, Point, Rating
from console.city.auth import reached
from console.city.context import City, city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import Code, Line, Name
from console.city.narrowing import Code as CodeParameter
from console.city.narrowing import Word, area_within
from events.civic import Rated

router = APIRouter(prefix="/ratings", tags=["ratings"])

EstateId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,80}$", examples=["E0101"])]
EntryId = Annotated[str, Path(pattern=r"^[a-z0-9]{1,64}$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])]
Points = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]


class PointShown(msgspec.Struct, frozen=True, kw_only=True):
    """A merit or demerit as it counts, and the case that it comes from."""

    entry: str
    state: str
    category: str
    points: float
    """As it counts."""
    entered_points: float
    """As entered, before it was set to households."""
    why: str
    since_us: int
    expires_us: int
    note: str
    who: str
    case: str | None
    """Path of the case; null: it comes from none."""


class RatingShown(msgspec.Struct, frozen=True, kw_only=True):
    """A company on an estate, now: score = base + merit - demerit."""

    company: str
    estate: str
    name: str
    area: str
    households: float
    base: float
    merit: float
    demerit: float
    score: float
    colour: str
    entries: str
    """Path of the rating with its points."""
    points: tuple[PointShown, ...] = ()


class ColourShown(msgspec.Struct, frozen=True, kw_only=True):
    """A colour, and the score from which it is given."""

    id: str
    title: str
    title_zh: str
    at_least: float


class RatingList(msgspec.Struct, frozen=True, kw_only=True):
    """Ratings without their points, the worst first; the colours, the best first."""

    items: tuple[RatingShown, ...]
    colours: tuple[ColourShown, ...]
    source: str
    """Where the rules' figures are from."""


class MeritForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merit (points above 0) or demerit that somebody enters, e.g. after an inspection."""

    category: Name
    points: Points
    note: Annotated[Line, msgspec.Meta(min_length=1)]
    cause: Code = ""
    """The case that it comes from."""


class FollowForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of an entry: its company contests it, a supervisor upholds or withdraws it."""

    state: Literal["contested", "upheld", "withdrawn"]
    note: Annotated[Line, msgspec.Meta(min_length=1)]


class EntryShown(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is after what was said."""

    entry: str
    state: str
    company: str
    estate: str
    category: str
    points: float
    since_us: int
    expires_us: int
    note: str
    who: str
    case: str | None


class SaidShown(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of an entry."""

    time_us: int
    state: str
    note: str
    who: str


class SaidList(msgspec.Struct, frozen=True, kw_only=True):
    """All that was said of an entry, in order; nothing: it follows from its case."""

    items: tuple[SaidShown, ...]


@router.get("", summary="Property companies by estate, the worst first", responses=gives(RatingList, "Now."))
def ratings(request: Request, area: CodeParameter = "", company: Word = "") -> Response:
    actor, prefix = reached(request, "rating.read")
    desk = city_of(request).ratings
    found = desk.all(actor, area_within(prefix, area), company)
    return answer(
        RatingList(
            items=tuple(_rating(rating) for rating in found),
            colours=tuple(
                ColourShown(id=c.id, title=c.title, title_zh=c.title_zh, at_least=c.at_least)
                for c in desk.rules.colours
            ),
            source=desk.rules.source,
        )
    )


@router.get("/{estate}", summary="One rating with all its points", responses=gives(RatingShown, "Now."))
def rating(request: Request, estate: EstateId) -> Response:
    actor, _ = reached(request, "rating.read")
    found = city_of(request).ratings.of_estate(estate, actor)
    points = tuple(_point(city_of(request), point) for point in found.points)
    return answer(msgspec.structs.replace(_rating(found), points=points))


@router.post(
    "/{estate}/entries",
    status_code=201,
    summary="Enter a merit or demerit",
    responses=gives(EntryShown, "The entry.", 201),
    openapi_extra=takes(MeritForm, {"category": "inspection", "points": -2, "note": "blocked fire lane"}),
)
def enter(request: Request, estate: EstateId, form: Annotated[MeritForm, reads(MeritForm)]) -> Response:
    actor, _ = reached(request, "rating.enter")
    city = city_of(request)
    entry = city.ratings.enter(estate, form.category, form.points, form.note, actor, cause=form.cause)
    return answer(_entry(city, entry), 201)


@router.post(
    "/{estate}/entries/{entry}",
    summary="Contest an entry, uphold or withdraw it",
    responses=gives(EntryShown, "The entry."),
    openapi_extra=takes(FollowForm, {"state": "contested", "note": "it was cleared the same day"}),
)
def follow(
    request: Request, estate: EstateId, entry: EntryId, form: Annotated[FollowForm, reads(FollowForm)]
) -> Response:
    actor, _ = reached(request, "rating.contest" if form.state == "contested" else "rating.decide")
    city = city_of(request)
    return answer(_entry(city, city.ratings.follow(estate, entry, form.state, form.note, actor)))


@router.get(
    "/{estate}/entries/{entry}", summary="What was said of an entry", responses=gives(SaidList, "In order.")
)
def said(request: Request, estate: EstateId, entry: EntryId) -> Response:
    actor, _ = reached(request, "rating.read")
    return answer(SaidList(items=tuple(map(_said, city_of(request).ratings.history(estate, entry, actor)))))


def _rating(rating: Rating) -> RatingShown:
    names = set(RatingShown.__struct_fields__) - {"entries", "points"}
    values = {name: getattr(rating, name) for name in names}
    return RatingShown(**values, entries=f"/city/ratings/{rating.estate}")


def _point(city: City, point: Point) -> PointShown:
    entry = point.entry
    return PointShown(
        entry=entry.entry,
        state=entry.state,
        category=entry.category,
        points=point.points,
        entered_points=entry.points,
        why=point.why,
        since_us=entry.since_us,
        expires_us=entry.expires_us,
        note=entry.note,
        who=entry.who,
        case=_case(city, entry),
    )


def _entry(city: City, entry: Entry) -> EntryShown:
    names = set(EntryShown.__struct_fields__) - {"case"}
    return EntryShown(**{name: getattr(entry, name) for name in names}, case=_case(city, entry))


def _case(city: City, entry: Entry) -> str | None:
    known = bool(entry.cause) and city.store.cases.case(entry.cause) is not None
    return f"/city/cases/{entry.cause}" if known else None


def _said(row: tuple[int, Rated]) -> SaidShown:
    time_us, data = row
    return SaidShown(time_us=time_us, state=data.state, note=data.note, who=data.who)
