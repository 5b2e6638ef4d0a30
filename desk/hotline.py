"""A hotline's record as an appeal: checked, placed, with what is counted of it. Words of the caller apart.

What comes so has no steps of its own: it is a case as it stands, closed or not, and goes on from there.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo

import msgspec

from city import clocks
from city.cases import Case
from city.clocks import Calendar
from city.duplicates import Link
from city.scenario import Pack
from city.services import Services
from city.steps import BACK_FACT
from desk.appeallinks import LINKED, SCENARIO
from desk.appeals import RECEIVED, numbered
from desk.gazetteer import Found, plain
from desk.words import Words
from events.civic import Deadline
from events.errors import LinliError
from events.payload import Place

ORIGIN = "import"
"""Who opened what came in a batch."""
KINDS: Mapping[str, str] = {
    **{kind: kind for kind in ("help", "enquiry", "report", "complaint", "suggestion", "wish", "council")},
    **{"求助": "help", "咨询": "enquiry", "举报": "report", "投诉": "complaint", "建议": "suggestion"},
    "": "help",
}
VERDICTS: Mapping[str, str] = {
    **{mark: mark for mark in ("solved", "unsolved", "satisfied", "dissatisfied")},
    **{"已解决": "solved", "未解决": "unsolved", "满意": "satisfied", "基本满意": "satisfied"},
    "不满意": "dissatisfied",
}
"""Words of hotlines beside ours, from memory."""
_YES = frozenset(("yes", "true", "1", "y", "是"))
_NO = frozenset(("", "no", "false", "0", "n", "否"))
_BROKEN = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,100}")
_SLASHES = re.compile(r"(\d{4})[/.年](\d{1,2})[/.月](\d{1,2})日?[ T]*(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_CODE = re.compile(r"[0-9]{6}([0-9]{3}([0-9]{3}[A-Za-z0-9-]{0,20})?)?")
_DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,15})?")
_FIRST_US, _DAY_US = 946_684_800_000_000, 86_400_000_000
_MAX_WORDS = 20_000

Locate = Callable[[float, float], list[str]]
Find = Callable[[str], Found | None]


class RowRefused(LinliError):
    """A record that cannot be taken; the text says which field, why, and the mend, and shows nothing that a
    person said."""


class Appeal(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was checked."""

    case: Case
    words: Words


class Hotline:
    """Makes appeals of a hotline's records.

    Args:
        id_of: the case's id for a key.
        locate, find: where a place lies; where an address lies.
        channel: of records that name none.
        alone: those that name another one are refused.
        zone: of times that say none.
    """

    def __init__(  # noqa: PLR0913 - what decides about a row, each once
        self,
        pack: Pack,
        services: Services,
        calendar: Calendar,
        id_of: Callable[[str], str],
        locate: Locate,
        find: Find,
        *,
        channel: str = "hotline",
        alone: bool = False,
        zone: tzinfo,
        now_us: int,
    ) -> None:
        self._pack = pack
        self._services = services
        self._calendar = calendar
        self._id_of = id_of
        self._locate = locate
        self._find = find
        self._channel = channel
        self._alone = alone
        self._zone = zone
        self._now_us = now_us
        self._titles = {code: services.title(code) for code in services.services}
        self._codes = {
            **{name: s.code for s in services.services.values() for name in (s.name.lower(), s.name_zh)},
            **{code: code for code in services.services},
        }
        self._ends: dict[object, int] = {}

    def appeal(self, row: Mapping[str, str]) -> Appeal:
        """The appeal of a row. Raises RowRefused."""
        if _BROKEN.search("".join(row.values())):
            raise RowRefused("the row is neither UTF-8 nor GB18030; save the file again in one of them")
        reference = _reference(row)
        channel = row.get("channel") or self._channel
        if self._alone and channel != self._channel:
            raise RowRefused(f"the record is of {_told(channel)}, and you bring those of {self._channel}")
        category = self._category(row)
        opened = self._time(row, "received", needed=True)
        closed = self._time(row, "closed")
        if closed and closed < opened:
            raise RowRefused("closed is earlier than received")
        place, area = self._place(row)
        kind = KINDS.get(row.get("kind", "").lower())
        if kind is None:
            raise RowRefused(f"kind {_told(row['kind'])} is none of {', '.join(KINDS)[:-2]}; map it")
        marks = _marks(row, bool(closed))
        holder = row.get("handled_by", "")
        case = Case(
            case=self._id_of(numbered(channel, reference)),
            version=0,
            scenario=SCENARIO,
            pack=self._pack.digest,
            state="closed" if closed else _state(place, area, holder),
            final=bool(closed),
            title=self._titles[category],
            category=category,
            code_system=self._services.code_system,
            severity="minor",
            level="grid" if len(area) > 12 else "community",
            area=area,
            place=place,
            holder=holder[:200],
            deadlines=self._clocks(row, opened, closed, bool(holder)),
            marks=marks,
            channel=channel[:60],
            reference=reference,
            public=self._services.services[category].public,
            opened_us=opened,
            updated_us=closed or opened,
            closed_us=closed,
            opened_by=ORIGIN,
            last_by=ORIGIN,
            last_action="close" if closed else "open",
            detail={"kind": kind},
        )
        return Appeal(case=case, words=_words(row))

    def _category(self, row: Mapping[str, str]) -> str:
        given = row.get("category", "")
        found = self._codes.get(given) or self._codes.get(given.lower())
        if found is None:
            raise RowRefused(
                f"there is no category {_told(given)}; map it in [values.category]"
                if given
                else "category is missing (of merged cells only the first row has it)"
            )
        return found

    def _time(self, row: Mapping[str, str], name: str, needed: bool = False) -> int:
        text = row.get(name, "")
        if not text:
            if needed:
                raise RowRefused(f"{name} is missing")
            return 0
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = _written(text, name)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        time_us = int(moment.timestamp()) * 1_000_000 + moment.microsecond
        if name != "due" and not _FIRST_US <= time_us <= self._now_us + _DAY_US:
            raise RowRefused(f"{name} {_told(text)} is before the year 2000 or in the future")
        return time_us

    def _place(self, row: Mapping[str, str]) -> tuple[Place | None, str]:
        lon, lat, area = (row.get(name, "") for name in ("lon", "lat", "area"))
        if area and not _CODE.fullmatch(area):
            raise RowRefused(f"area {_told(area)} is no division code")
        if lon or lat:
            if not (_DEGREES.fullmatch(lon) and _DEGREES.fullmatch(lat)):
                raise RowRefused("lon and lat must both be degrees like 117.16")
            place = round(float(lon), 7), round(float(lat), 7)
            chain = self._locate(*place)
            if not chain:
                raise RowRefused("its place lies outside the city (are lon and lat exchanged?)")
            if area and not (chain[-1].startswith(area) or area.startswith(chain[-1])):
                raise RowRefused(f"its place lies in {chain[-1]}, not in {area}")
            return place, max(chain[-1], area, key=len)
        address = row.get("address", "")
        found = self._find(plain(address)) if address else None
        if found is None or not found.area.startswith(area):
            return None, area
        chain = self._locate(*found.place) if found.place else []
        return (found.place, chain[-1]) if chain else (None, found.area)

    def _clocks(self, row: Mapping[str, str], opened: int, closed: int, routed: bool) -> tuple[Deadline, ...]:
        """The clock that counts for on time: to the answer, or while it has nobody, to the routing."""
        name = "answer" if closed or routed else "route"
        due = self._time(row, "due")
        clock = self._pack.clocks.get(name)
        if due > opened:
            hours = (due - opened) / clocks.HOUR_US
            found = Deadline(name=name, kind="hours", amount=hours, started_us=opened, due_us=due)
        elif clock is None:
            return ()
        elif clock.kind == "working-days":  # ends with a day, whenever in another it began
            day = self._calendar.day(opened)
            end = self._ends.get(day)
            if end is None:
                end = self._ends[day] = clocks.due(opened, clock.kind, clock.amount, self._calendar)
            found = Deadline(name=name, kind=clock.kind, amount=clock.amount, started_us=opened, due_us=end)
        else:
            found = clocks.started(name, opened, clock.kind, clock.amount, clock.warn, self._calendar)
        return (clocks.met(found, closed) if closed else found,)


def linked(case: Case, link: Link, waits: bool) -> Case:
    """The appeal, linked to the one that it repeats. `waits`: that one is open."""
    detail = case.detail | {"score": round(link.likeness.score, 3), "why": link.likeness.text}
    if case.final or not waits:
        state = case.state
    else:
        state, detail = LINKED, detail | {BACK_FACT: case.state}
    marks = tuple(sorted({*case.marks, "duplicate"}))
    return msgspec.structs.replace(case, other=link.of, state=state, marks=marks, detail=detail)


def _reference(row: Mapping[str, str]) -> str:
    text = row.get("reference", "")
    if not _NUMBER.fullmatch(text):
        raise RowRefused("reference is missing, or has more than 100 characters")
    return text


def _marks(row: Mapping[str, str], closed: bool) -> tuple[str, ...]:
    marks = set()
    verdict = row.get("verdict", "")
    for part in re.split("[;；,，、|]", verdict) if verdict else ():
        if part.strip():
            mark = VERDICTS.get(part.strip())
            if mark is None:
                raise RowRefused(f"verdict {_told(part)} is none of {', '.join(VERDICTS)}; map it")
            marks |= {mark, "called-back"}
    if {"solved", "unsolved"} <= marks or {"satisfied", "dissatisfied"} <= marks:
        raise RowRefused("verdict says one thing and its contrary")
    if marks and not closed:
        raise RowRefused("there is a verdict, and closed is missing")
    once = row.get("answered_at_once", "").lower()
    if once in _YES:
        marks.add("at-once")
    elif once not in _NO:
        raise RowRefused(f"answered_at_once {_told(once)} is neither yes nor no")
    return tuple(sorted(marks))


def _state(place: Place | None, area: str, holder: str) -> str:
    if holder:
        return "routed"
    return "placed" if place is not None or len(area) >= 12 else RECEIVED


def _words(row: Mapping[str, str]) -> Words:
    text, answer = row.get("words", ""), row.get("answer", "")
    if len(text) + len(answer) > _MAX_WORDS:
        raise RowRefused(f"words and answer have more than {_MAX_WORDS} characters")
    return Words(
        text=f"{text}\n[answer] {answer}" if answer else text,
        name=row.get("name", ""),
        phone=row.get("phone", ""),
        email=row.get("email", ""),
        address=row.get("address", ""),
    )


def _written(text: str, name: str) -> datetime:
    found = _SLASHES.fullmatch(text)
    if found is not None:
        try:
            return datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]
        except ValueError:
            pass
    raise RowRefused(f"{name} {_told(text)} is no time; write it as 2026-01-31 08:00:00")


def _told(text: str) -> str:
    """A value that is no person's word, short."""
    return repr(text[:30])
