"""Events that open cases or move them, as the packs' triggers say; each of them once.

The id of a case follows from the site, the scenario and what the event is about, so that the same event again
opens nothing; a step says which event it answers. What an operator judges on the box's page moves the case,
and what is judged on the case comes back to the rules by the desk (`desk/cases.py`): its own judgement is
known by its id, and moves nothing.
"""

import logging
from collections.abc import Mapping
from string import Formatter
from typing import Any, get_args

import msgspec

from city import steps as rules
from city.clocks import Calendar
from city.rights import SYSTEM
from city.scenario import Opening, Pack, Step, Trigger
from desk.casebook import CAUSE, CaseBook, Story
from desk.placing import estate_at
from events.clock import Clock
from events.errors import ConfigError, IllegalTransition, MissingValue, VersionConflict
from events.events import AlertRaised, Event, Severity
from events.ids import event_id
from events.payload import Place
from storage.city.store import CityStore

log = logging.getLogger(__name__)

WHO = "trigger"
STALE_S = 86_400.0
"""What is older opens nothing: a desk that begins its work does not begin it with last year's alerts."""
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_FACTS = ("rule", "kind", "label")
"""Of an alert, kept with its case."""
_TRIES = 5
"""For one step, when others move the same case meanwhile."""


class _Geometry(msgspec.Struct, frozen=True):
    type: str
    coordinates: Any = None
    geometries: "tuple[_Geometry, ...]" = ()


class _Placed(msgspec.Struct, frozen=True):
    """As much of a thing's GeoJSON as is needed."""

    geometry: _Geometry | None = None


class Triggers:
    """See the module's text. Used by one thread at a time.

    Args:
        stale_s: how old an event may be to open a case.
    """

    def __init__(
        self,
        book: CaseBook,
        store: CityStore,
        packs: Mapping[str, Pack],
        clock: Clock,
        calendar: Calendar,
        *,
        stale_s: float = STALE_S,
    ) -> None:
        self._book = book
        self._store = store
        self._clock = clock
        self._calendar = calendar
        self._stale_us = int(stale_s * 1e6)
        self._by_type: dict[str, list[tuple[Pack, Trigger]]] = {}
        for pack in packs.values():
            for trigger in pack.triggers:
                self._by_type.setdefault(trigger.event, []).append((pack, trigger))

    @property
    def families(self) -> tuple[str, ...]:
        """Of the events that are to be taken."""
        return tuple(sorted({type_.split(".")[1] for type_ in self._by_type}))

    def take(self, event: Event) -> int:
        """What follows from the event; answers how many cases it opened or moved.

        Raises:
            StorageError, VersionConflict: not now; the event may be given again.
        """
        done = 0
        for pack, trigger in self._by_type.get(event.type, ()):
            about = str(getattr(event.data, trigger.cause, ""))
            if not about or not _fits(trigger, event.data):
                continue
            case = self.case_of(pack.id, about)
            try:
                if trigger.then == "open":
                    done += self._open(pack, trigger, event, case, about)
                else:
                    done += self._step(pack, trigger, event, case)
            except (IllegalTransition, MissingValue) as e:  # it is past that, or the pack wants a person
                log.debug("event %s moves nothing: %s", event.id, e)
            except ConfigError as e:
                log.error("pack %s cannot be applied to event %s: %s", pack.id, event.id, e)
        return done

    def case_of(self, scenario: str, about: str) -> str:
        """Id of the case that an alert, or whatever it is, opens."""
        return event_id(self._book.site, "case", scenario, about)

    def _open(self, pack: Pack, trigger: Trigger, event: Event, case: str, about: str) -> bool:
        now = self._clock.wall_us()
        if now - event.time_us > self._stale_us or self._book.story(case) is not None:
            return False
        place = self._place(event)
        data: Any = event.data
        detail = {"source": event.source, CAUSE: event.id}
        detail |= {
            name: str(getattr(data, name)) for name in ("rule", "kind", "label") if hasattr(data, name)
        }
        opening = Opening(
            category=_filled(trigger.category, data) or pack.id,
            title=_filled(trigger.title, data),
            severity=_severity(trigger, data),
            area=self._area(place),
            place=place,
            estate=estate_at(self._store.features, place),
            cause=about,
            channel=_channel(event),
            occurred_us=int(getattr(data, "since_us", 0)) or event.time_us,
            who=WHO,
            role=SYSTEM,
            detail=detail,
        )
        return self._book.write(case, now, rules.open_case(pack, opening, now, self._calendar))

    def _step(self, pack: Pack, trigger: Trigger, event: Event, case: str) -> bool:
        for _ in range(_TRIES):
            story = self._book.story(case)
            if story is None or story.answered(event.id) or _is_echo(story, event):
                return False
            step = Step(
                action=trigger.then,
                who=str(getattr(event.data, "who", "")) or WHO,
                role=SYSTEM,
                note=str(getattr(event.data, "note", "")),
                marks=_marks(trigger, event.data),
                detail={CAUSE: event.id},
            )
            now = max(self._clock.wall_us(), story.case.updated_us)
            data = rules.step(pack, story.case, step, now, self._calendar)
            if self._book.write(story, now, data):
                return True
        raise VersionConflict(f"case {case} is moved by others all the time")

    def _place(self, event: Event) -> Place | None:
        """Where it happened; where the alert does not say, where its camera or sensor is on the map."""
        place: Place | None = getattr(event.data, "place", None)
        if place is not None:
            return place
        seen = self._store.features.feature(event.source.split("/")[2], event.key)
        geometry = msgspec.json.decode(seen, type=_Placed).geometry if seen else None
        if geometry is not None and geometry.geometries:  # the thing itself, then what it sees
            geometry = geometry.geometries[0]
        if geometry is None or geometry.type != "Point":
            return None
        lon, lat = msgspec.convert(geometry.coordinates, tuple[float, float], strict=False)
        return lon, lat

    def _area(self, place: Place | None) -> str:
        """Code of the finest jurisdiction there; '': nobody knows, and a person has to place it."""
        chain = self._store.features.locate(*place) if place is not None else ()
        return str(chain[-1]) if chain else ""


def _fits(trigger: Trigger, data: object) -> bool:
    return all(str(getattr(data, name, "")) in values for name, values in trigger.where.items())


def _filled(text: str, data: object) -> str:
    """The text with the payload's fields in it."""
    parts = Formatter().parse(text)
    return "".join(before + (str(getattr(data, name, "")) if name else "") for before, name, _, _ in parts)


def _severity(trigger: Trigger, data: object) -> Severity:
    said = getattr(data, trigger.severity, "") if trigger.severity else ""
    return next((severity for severity in _SEVERITIES if severity == said), "minor")


def _marks(trigger: Trigger, data: object) -> tuple[str, ...]:
    found = (marks.get(str(getattr(data, name, ""))) for name, marks in trigger.marks.items())
    return tuple(mark for mark in found if mark)


def _channel(event: Event) -> str:
    """What it came by: camera, sensor or joint alert, as its source says."""
    return event.source.split("/")[2] if isinstance(event.data, AlertRaised) else "trigger"


def _is_echo(story: Story, event: Event) -> bool:
    """Whether the event is the judgement that a step of this very case made (`CaseDesk`)."""
    return event.family == "judgement" and any(
        event.id == event_id(event.source, "judgement", story.case.case, step.sequence, step.time_us)
        for step in story.events
    )
