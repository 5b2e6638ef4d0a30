"""How matters, alerts and appeals really move: steps one after the other, their clocks, marks and people."""

from typing import Any

import msgspec
import pytest

from city.clocks import HOUR_US
from city.packs import Opening, allowed, open_case
from city.scenario import LEVELS
from events.errors import IllegalTransition, MissingValue
from tests.packworks import (
    APPEAL,
    CHINA,
    DAY_US,
    MATTER,
    MONDAY,
    VIDEO,
    after,
    along,
    begun,
    clock,
    ticked,
)


def test_a_matter_the_plain_way() -> None:
    case = along(
        MATTER,
        begun(MATTER),
        "accept clerk",
        "dispatch dispatcher holder=sanitation",
        "sign handler",
        "handle handler note=swept",
        "verify checker",
        "close clerk",
        "call-back checker marks=solved,dissatisfied",
    )
    assert (case.state, case.final, case.holder, case.handled_by) == ("closed", True, "sanitation", "handler")
    assert case.marks == ("called-back", "dissatisfied", "solved")
    assert not any(d.runs for d in case.deadlines)
    assert case.attention_us == 0


def test_who_checks_is_not_who_handled() -> None:
    case = along(MATTER, begun(MATTER), "accept worker", "dispatch worker holder=grid", "sign worker")
    case = along(MATTER, case, "handle worker note=swept")
    with pytest.raises(IllegalTransition, match="somebody else"):
        along(MATTER, case, "verify worker")
    with pytest.raises(IllegalTransition, match="somebody else"):
        along(MATTER, along(MATTER, case, "verify checker"), "close worker")
    names = [a.name for a in allowed(MATTER, case, "grid worker", who="grid worker")]
    assert "verify" not in names
    assert "verify" in [a.name for a in allowed(MATTER, case, "grid worker", who="another")]


@pytest.mark.parametrize("action", ["park", "extend", "return-request"])
def test_what_needs_an_approver_needs_another_person(action: str) -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    role = "handler" if action == "return-request" else "supervisor"
    amount = " amount=2" if action == "extend" else ""
    with pytest.raises(IllegalTransition, match="approver"):
        after(MATTER, case, **_named(f"{action} {role} note=x approver={role}{amount}"))
    done = after(MATTER, case, **_named(f"{action} {role} note=x approver=mayor{amount}"))
    assert done.version == case.version + 1


def _named(text: str) -> dict[str, Any]:
    action, role, *values = text.split(" ")
    said: dict[str, Any] = dict(value.split("=") for value in values)
    if "amount" in said:
        said["amount"] = float(said["amount"])
    return {"action": action, "role": role, "who": role} | said


def test_parking_stops_the_clocks_and_goes_back_to_where_it_was() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    due = clock(case, "handle").due_us
    case = along(MATTER, case, "park supervisor note=winter approver=mayor", now_us=MONDAY + HOUR_US)
    assert (case.state, case.marks, clock(case, "handle").left) == ("parked", ("parked",), 5.0)
    assert not any(d.runs for d in case.deadlines)
    case = along(MATTER, case, "unpark supervisor", now_us=MONDAY + 7 * DAY_US)
    assert (case.state, case.marks) == ("handling", ())
    assert clock(case, "handle").due_us == due + 7 * DAY_US


def test_supervising_what_is_parked_does_not_lose_the_way_back() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    case = along(MATTER, case, "park supervisor note=x approver=mayor", "supervise supervisor note=hurry")
    assert along(MATTER, case, "unpark supervisor").state == "handling"


def test_an_order_that_came_back_has_its_handling_time_again() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads")
    case = along(MATTER, case, "return-request handler note=no approver=head", "return-grant dispatcher")
    assert not clock(case, "handle").runs
    later = MONDAY + 7 * DAY_US
    case = along(MATTER, case, "dispatch dispatcher holder=water", now_us=later)
    assert (clock(case, "handle").started_us, clock(case, "handle").runs) == (later, True)


def test_what_is_public_goes_by_the_packs_categories() -> None:
    rule = msgspec.structs.replace(MATTER.opening, public=("02", "0501"))
    pack = msgspec.structs.replace(MATTER, opening=rule)
    codes = ("0203", "0501", "0502")
    opened = [open_case(pack, Opening(category=c, role="clerk"), MONDAY, CHINA).public for c in codes]
    assert opened == [True, True, False]
    hidden = Opening(category="0203", role="clerk", public=False)
    assert not open_case(pack, hidden, MONDAY, CHINA).public


def test_an_extension_is_bounded_and_whole() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    ask = {"action": "extend", "role": "supervisor", "who": "s", "note": "rain", "approver": "mayor"}
    for amount in (0.5, 11.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MissingValue, match="amount"):
            after(MATTER, case, **ask, amount=amount)
    longer = after(MATTER, case, **ask, amount=5.0)
    assert clock(longer, "handle").due_us == clock(case, "handle").due_us + 7 * DAY_US
    assert longer.detail["amount"] == 5.0
    longer = after(MATTER, longer, **ask, amount=3.0)
    with pytest.raises(MissingValue, match="at most 2"):
        after(MATTER, longer, **ask, amount=3.0)
    assert after(MATTER, longer, **ask, amount=2.0).detail["extended"] == 10.0


def test_up_and_down_the_four_levels() -> None:
    case = along(MATTER, begun(MATTER), "accept worker")
    levels = [case.level]
    for role in ("worker", "dispatcher", "dispatcher"):
        case = along(MATTER, case, f"raise {role} note=not-ours")
        levels.append(case.level)
    assert levels == list(LEVELS)
    assert (case.state, case.holder) == ("accepted", "")
    with pytest.raises(IllegalTransition, match="no level above 'city'"):
        along(MATTER, case, "raise dispatcher note=up")
    case = along(MATTER, case, "lower dispatcher note=yours level=community")
    assert case.level == "community"
    with pytest.raises(IllegalTransition, match="goes down"):
        along(MATTER, case, "lower dispatcher note=yours level=town")


def test_joint_handling_keeps_its_helpers_until_it_goes_elsewhere() -> None:
    case = along(
        MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads helpers=water,power"
    )
    case = along(MATTER, case, "sign handler", "assist handler note=dug")
    assert (case.holder, case.helpers) == ("roads", ("water", "power"))
    case = along(MATTER, case, "return-request handler note=no approver=head", "return-grant dispatcher")
    assert (case.state, case.holder, case.helpers) == ("accepted", "", ())


def test_the_platforms_deadline_wins_and_parking_does_not_stop_it() -> None:
    due = MONDAY + DAY_US
    case = begun(MATTER, channel="upstream", due_us=due, role="system")
    case = along(MATTER, case, "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    assert clock(case, "handle").due_us == clock(case, "total").due_us == due
    case = along(MATTER, case, "park supervisor note=x approver=mayor")
    assert clock(case, "upstream").runs
    assert case.due_us == due
    case = after(
        MATTER, case, action="upstream-deadline", role="system", who="up", due_us=MONDAY + 3 * DAY_US
    )
    case = along(MATTER, case, "unpark supervisor", now_us=MONDAY + 2 * DAY_US)
    assert clock(case, "handle").due_us == MONDAY + 3 * DAY_US


def test_more_time_from_the_platform_gives_our_clocks_their_own_time_again() -> None:
    due = MONDAY + DAY_US
    case = begun(MATTER, channel="upstream", due_us=due, role="system")
    case = along(MATTER, case, "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    own = clock(along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads"), "handle")
    case, _ = ticked(MATTER, case, due)
    assert "overdue" in clock(case, "handle").told
    case = after(
        MATTER, case, due, action="upstream-deadline", role="system", who="up", due_us=due + 30 * DAY_US
    )
    assert (clock(case, "handle").due_us, clock(case, "handle").told) == (own.due_us, ())
    sooner = after(
        MATTER, case, due, action="upstream-deadline", role="system", who="up", due_us=due + HOUR_US
    )
    assert clock(sooner, "handle").due_us == due + HOUR_US


def test_the_platform_takes_back_refuses_and_wants_it_again() -> None:
    case = along(
        MATTER, begun(MATTER, channel="upstream", due_us=MONDAY + DAY_US, role="system"), "accept clerk"
    )
    asked = along(MATTER, case, "upstream-return dispatcher note=not-here approver=mayor")
    assert along(MATTER, asked, "upstream-return-granted system").state == "returned"
    case = along(MATTER, asked, "upstream-return-refused system")
    assert case.state == "accepted"
    case = along(MATTER, case, "dispatch dispatcher holder=roads", "sign handler", "handle handler note=x")
    case = along(MATTER, case, "verify checker", "close clerk")
    again = after(
        MATTER, case, action="upstream-redo", role="system", who="up", note="no", due_us=MONDAY + 9 * DAY_US
    )
    assert (again.state, again.final, again.closed_us) == ("handling", False, 0)
    assert clock(again, "upstream").due_us == MONDAY + 9 * DAY_US
    own = along(MATTER, begun(MATTER), "accept clerk")
    with pytest.raises(IllegalTransition, match="channel is upstream"):
        along(MATTER, own, "upstream-return dispatcher note=x approver=mayor")


def test_an_alert_is_judged_again_and_becomes_a_matter_only_if_it_is_true() -> None:
    case = begun(VIDEO, role="system")
    case = along(VIDEO, case, "acknowledge operator", "judge operator marks=false")
    with pytest.raises(IllegalTransition, match="only once it is true"):
        along(VIDEO, case, "become-matter operator other=case-2")
    case = along(VIDEO, case, "judge supervisor marks=true")
    assert case.marks == ("true",)
    case = along(VIDEO, case, "become-matter operator other=case-2")
    assert (case.state, case.final, case.other) == ("turned", True, "case-2")
    with pytest.raises(MissingValue, match="other case"):
        along(VIDEO, begun(VIDEO, role="system"), "judge operator marks=duplicate")
    with pytest.raises(IllegalTransition, match="itself"):
        along(VIDEO, begun(VIDEO, role="system"), "judge operator marks=duplicate other=case-1")


def test_a_duplicate_appeal_is_linked_and_called_back_like_the_first() -> None:
    case = along(APPEAL, begun(APPEAL), "place clerk", "link clerk other=case-2")
    assert (case.state, case.final, case.other) == ("linked", False, "case-2")
    case = along(APPEAL, case, "matter-closed system", "call-back checker marks=solved", "close clerk")
    assert (case.state, case.marks) == ("closed", ("called-back", "duplicate", "solved"))
    assert not any("delete" in action.name for action in APPEAL.actions)


def test_wishes_are_claimed_and_councils_resolve() -> None:
    wish = along(APPEAL, begun(APPEAL, detail={"kind": "wish"}), "place clerk")
    assert along(APPEAL, wish, "claim handler holder=team-7").holder == "team-7"
    with pytest.raises(IllegalTransition, match="kind is council"):
        along(APPEAL, wish, "resolve clerk note=yes")
    council = along(APPEAL, begun(APPEAL, detail={"kind": "council"}), "resolve clerk note=agreed")
    assert along(APPEAL, council, "become-matter clerk other=case-2").state == "in-work"


def test_an_appeal_without_a_place_is_not_placed() -> None:
    case = begun(APPEAL, area="")
    with pytest.raises(IllegalTransition, match="lies nowhere"):
        along(APPEAL, case, "place clerk")
    assert along(APPEAL, case, "place clerk area=370481001").area == "370481001"


@pytest.mark.parametrize(
    ("severity", "kind", "amount"),
    [("critical", "hours", 2), ("major", "hours", 24), ("minor", "working-days", 5)],
)
def test_deadlines_go_by_the_table(severity: Any, kind: str, amount: float) -> None:
    case = along(MATTER, begun(MATTER, severity=severity), "accept clerk", "dispatch dispatcher holder=roads")
    handle = clock(case, "handle")
    assert (handle.kind, handle.amount) == (kind, amount)
    assert bool(clock(case, "sign").warn_us) == (severity != "critical")  # its row says: no warning


def test_a_deadline_in_a_year_that_nobody_has_published_says_so() -> None:
    december = MONDAY + 301 * DAY_US  # 28 December 2026
    case = along(MATTER, begun(MATTER, december), "accept clerk", now_us=december)
    assert case.detail["unpublished"] == 2027
