"""Events of cases for the city store's tests: each follows the one before it."""

from collections.abc import Iterator, Mapping
from typing import Any

from events.civic import CaseOpened, CaseStepped, Deadline, case_source
from events.events import Event
from events.ids import event_id

SITE = "town"
EPOCH = 1_764_000_000_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
PLACE = (117.1573721, 35.1042356)
AREA = "370481001001"


def clock(name: str = "handle", at_us: int = EPOCH, hours: float = 24.0, **more: Any) -> Deadline:
    """A clock that was started then."""
    values: dict[str, Any] = {
        "name": name,
        "kind": "hours",
        "amount": hours,
        "started_us": at_us,
        "due_us": at_us + round(hours * HOUR_US),
    }
    return Deadline(**(values | more))


class Life:
    """A case as it goes on; each call answers the next event."""

    def __init__(self, case: str, at_us: int = EPOCH, **more: Any) -> None:
        self.case = case
        self.at_us = at_us
        self.version = -1
        self.holds: dict[str, Any] = {
            "state": "reported",
            "level": "grid",
            "area": AREA,
            "place": PLACE,
            "category": "0203",
            "holder": "",
            "deadlines": (),
        }
        self.more = {
            "scenario": "matter",
            "pack": "p1",
            "title": "Rubbish",
            "who": "wang",
            "role": "grid worker",
        }
        for name, value in more.items():
            (self.holds if name in self.holds else self.more)[name] = value

    def open(self) -> Event:
        """The opening."""
        return self._event(self.at_us, CaseOpened(**(self.more | self.holds)))

    def step(self, action: str, after_us: int = HOUR_US, **changes: Any) -> Event:
        """A step so much later; `changes`: of what holds from then on, or of the step alone."""
        was = self.holds["state"]
        alone = {
            name: changes.pop(name) for name in ("who", "role", "note", "other", "detail") if name in changes
        }
        self.holds |= changes
        self.at_us += after_us
        values = {"who": "li", "role": "dispatcher"} | alone
        return self._event(self.at_us, CaseStepped(action=action, was=was, **(values | self.holds)))

    def _event(self, at_us: int, data: CaseOpened | CaseStepped) -> Event:
        self.version += 1
        source = case_source(SITE, self.case)
        return Event(
            id=event_id(source, "case", 0, self.version),
            source=source,
            time_us=at_us,
            epoch=0,
            sequence=self.version,
            data=data,
        )


def whole_life(case: str, at_us: int = EPOCH, **more: Any) -> Iterator[Event]:
    """A matter from its report to the citizen's word, checked by another one."""
    life = Life(case, at_us, **more)
    yield life.open()
    yield life.step("accept", state="accepted", deadlines=(clock("sign", life.at_us, 2.0),))
    signed = clock("sign", at_us, 2.0, met_us=life.at_us)
    running = clock("handle", life.at_us, 24.0)
    yield life.step("dispatch", state="dispatched", holder="cleaning", deadlines=(signed, running))
    yield life.step("handle", state="handled", who="zhao", role="handler")
    met = clock("handle", running.started_us, 24.0, met_us=life.at_us)
    yield life.step("verify", state="verified", deadlines=(signed, met), who="sun", role="checker")
    yield life.step("close", state="closed", final=True, marks=("called-back", "solved", "satisfied"))


Facts = Mapping[str, Any]
