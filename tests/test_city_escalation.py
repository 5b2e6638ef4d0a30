"""What is due by itself: warnings, what is overdue, escalation by time and by count."""

from city.clocks import HOUR_US
from tests.packworks import (
    MATTER,
    MONDAY,
    along,
    begun,
    clock,
    ticked,
)


def test_an_order_that_nobody_signs_for_is_warned_of_and_goes_up() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads")
    assert ticked(MATTER, case, MONDAY + HOUR_US)[1] == []
    case, taken = ticked(MATTER, case, clock(case, "sign").warn_us)
    assert (taken, case.state) == (["warn"], "dispatched")
    assert case.attention_us == clock(case, "sign").due_us
    case, taken = ticked(MATTER, case, clock(case, "sign").due_us)
    assert (taken, case.level, case.holder) == (["escalate"], "community", "roads")
    assert {"escalated", "overdue", "warned"} <= set(case.marks)


def test_at_the_highest_level_it_is_overdue_and_stays() -> None:
    case = along(MATTER, begun(MATTER, level="city"), "accept clerk", "dispatch dispatcher holder=roads")
    case, taken = ticked(MATTER, case, clock(case, "sign").due_us)
    assert (taken, case.level) == (["overdue"], "city")


def test_three_redos_go_up_whatever_the_time() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    for turn in (1, 2, 3):
        case = along(MATTER, case, "handle handler note=done", "redo checker note=not-done")
        case, taken = ticked(MATTER, case, MONDAY)
        assert taken == (["escalate-count"] if turn == 3 else [])
    assert case.level == "community"
    for turn in (4, 5, 6):
        case = along(MATTER, case, "handle handler note=done", "redo checker note=not-done")
        case, taken = ticked(MATTER, case, MONDAY)
        assert taken == (["escalate-count"] if turn == 6 else [])


def test_three_transfers_without_a_lead_go_up() -> None:
    case = along(MATTER, begun(MATTER, level="city"), "accept clerk", "dispatch dispatcher holder=a")
    case = along(MATTER, case, "transfer dispatcher holder=b note=x", "transfer dispatcher holder=c note=x")
    case = along(MATTER, case, "return-request handler note=x approver=head", "return-grant dispatcher")
    case, taken = ticked(MATTER, case, MONDAY)
    assert (taken, "supervised" in case.marks) == (["escalate-top"], True)
