"""Cases moved by the packs that ship, without a journal or a store."""

from typing import Any

import msgspec

from city import calendars
from city.cases import Case, opened, stepped
from city.clocks import HOUR_US
from city.escalation import next_step
from city.packs import Opening, Pack, Step, open_case, shipped, step
from events.civic import CaseOpened, CaseStepped

PACKS = shipped()
CHINA = calendars.shipped()
MONDAY = 1_772_416_800_000_000
"""2026-03-02 10:00 in Shanghai."""
DAY_US = 24 * HOUR_US
MATTER, VIDEO, APPEAL = PACKS["matter"], PACKS["video"], PACKS["appeal"]


def begun(pack: Pack, now_us: int = MONDAY, **more: Any) -> Case:
    """A case of the pack, opened by the first role that may."""
    request = Opening(
        **({"category": "0203", "role": pack.opening.roles[0], "who": "reporter", "area": "370481001"} | more)
    )
    data = open_case(pack, request, now_us, CHINA)
    return opened("case-1", now_us, msgspec.json.decode(msgspec.json.encode(data), type=CaseOpened))


def after(pack: Pack, case: Case, now_us: int = MONDAY, **more: Any) -> Case:
    """The case after a step, as it comes out of the journal."""
    data = step(pack, case, Step(**more), now_us, CHINA)
    read = msgspec.json.decode(msgspec.json.encode(data), type=CaseStepped)
    return stepped(case, case.version + 1, now_us, read)


def along(pack: Pack, case: Case, *steps: str, now_us: int = MONDAY) -> Case:
    """The case after steps like `dispatch dispatcher holder=a`; who takes one is called like the role."""
    for text in steps:
        action, role, *values = text.split(" ")
        said: dict[str, Any] = dict(value.split("=") for value in values)
        if "marks" in said:
            said["marks"] = tuple(said["marks"].split(","))
        if "helpers" in said:
            said["helpers"] = tuple(said["helpers"].split(","))
        role = {"worker": "grid worker"}.get(role, role)
        case = after(pack, case, now_us, **({"action": action, "role": role, "who": role} | said))
    return case


def clock(case: Case, name: str) -> Any:
    return next(d for d in case.deadlines if d.name == name)


def ticked(pack: Pack, case: Case, now_us: int) -> tuple[Case, list[str]]:
    """The case after all that the timer has to do now."""
    taken: list[str] = []
    while (due := next_step(pack, case, now_us)) is not None:
        assert len(taken) < 20, taken
        case = stepped(case, case.version + 1, now_us, step(pack, case, due, now_us, CHINA))
        taken.append(due.action)
    return case, taken
