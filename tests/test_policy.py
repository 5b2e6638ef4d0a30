"""What is shed, by how far the box is behind, and the same again from the trace."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.packets import Packet
from pipeline.policy import AsSeen, Limits, Live, Unlimited
from storage import trace


def packet(pts: int, keyframe: bool = False) -> Packet:
    nothing: Any = None
    return Packet(pts, pts, pts, keyframe, False, 100, nothing)


def test_looks_are_refused_until_the_box_has_nearly_caught_up() -> None:
    live = Live(Limits())
    said = [live.look(n, behind) for n, behind in enumerate([0.5, 1.1, 0.9, 0.4, 0.2, 0.9])]
    assert said == [True, False, False, False, True, True]


def test_packets_are_skipped_up_to_a_keyframe_near_the_newest_packet() -> None:
    live = Live(Limits())
    assert not live.skip(packet(0, True), 3.9)
    assert live.skip(packet(1), 4.1)
    assert live.skip(packet(2, True), 2.0)  # a keyframe, but still far behind
    assert live.skip(packet(3), 0.1)  # near, but no keyframe
    assert not live.skip(packet(4, True), 0.1)
    assert not live.skip(packet(5), 0.5)


def test_forced_skipping_ends_at_the_next_keyframe_that_is_near() -> None:
    live = Live(Limits())
    live.force()
    assert live.shedding
    assert live.skip(packet(0), 0.0)
    assert not live.skip(packet(1, True), 0.0)
    assert not live.shedding


def test_shedding_is_over_when_the_box_has_caught_up_even_if_nothing_is_looked_at() -> None:
    """A camera that falls asleep after a refused look asks for none: it must not be called too slow."""
    live = Live(Limits())
    assert not live.look(0, 2.0)
    assert live.shedding
    assert not live.skip(packet(1), 0.9)
    assert live.shedding
    assert not live.skip(packet(2), 0.1)
    assert not live.shedding


def test_a_wanted_mode_is_given_once() -> None:
    live = Live(Limits())
    live.want("lazy")
    assert [live.mode(0), live.mode(1)] == ["lazy", None]


def test_of_positions_the_last_is_told_and_all_judgements() -> None:
    """A dome tells its position for as long as its stream is away: what waits does not grow."""
    live = Live(Limits())
    for n in range(5):
        live.tell(trace.Position(pts=0, pan=n / 10, tilt=0, zoom=0, moving=False))
    assert not live.untold  # it is no judgement
    live.tell(trace.Verdict(pts=0, alert="a", verdict="true"))
    live.tell(trace.Verdict(pts=0, alert="b", verdict="true"))
    assert live.untold
    assert list(live.told(900)) == [
        trace.Verdict(pts=900, alert="a", verdict="true"),
        trace.Verdict(pts=900, alert="b", verdict="true"),
        trace.Position(pts=900, pan=0.4, tilt=0, zoom=0, moving=False),
    ]
    assert list(live.told(901)) == []
    assert not live.untold


@pytest.mark.parametrize("bad", [{"refuse_s": 0.2}, {"skip_s": 0.5}, {"resume_s": 0.0}])
def test_limits_out_of_order_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="resume_s < refuse_s < skip_s"):
        Limits(**bad)


def test_unlimited_sheds_nothing() -> None:
    policy = Unlimited()
    assert not policy.skip(packet(0), 1e9)
    assert policy.look(0, 1e9)
    assert policy.mode(0) is None


@dataclass
class Step:
    behind_s: float
    keyframe: bool


steps = st.lists(st.builds(Step, st.floats(0, 8), st.booleans()), max_size=80)


@given(steps)
def test_as_seen_skips_and_refuses_what_was(course: list[Step]) -> None:
    """Whatever `Live` decides, and the loop writes down, `AsSeen` decides again."""
    live = Live(Limits())
    lines: list[trace.Line] = []
    skipped, looked, begun = [], [], None
    for pts, step in enumerate(course):
        one = packet(pts, step.keyframe)
        skipped.append(live.skip(one, step.behind_s))
        if skipped[-1]:
            begun = pts if begun is None else begun
            looked.append(None)
            continue
        if begun is not None:
            lines.append(trace.Shed(from_pts=begun, to_pts=pts, why="packets"))
            begun = None
        looked.append(live.look(pts, step.behind_s))
        if not looked[-1]:
            lines.append(trace.Shed(from_pts=pts, to_pts=pts, why="look"))
    if begun is not None:
        lines.append(trace.Shed(from_pts=begun, to_pts=len(course), why="packets"))
    again = AsSeen(lines)
    for pts, step in enumerate(course):
        skip = again.skip(packet(pts, step.keyframe), 0.0)
        assert skip == skipped[pts]
        if not skip:
            assert again.look(pts, 99.0) == looked[pts]


def test_as_seen_takes_modes_that_were_wanted_not_those_that_were_forced() -> None:
    seen = AsSeen([trace.Mode(pts=5, mode="full"), trace.Mode(pts=9, mode="full", forced=True)])
    assert seen.mode(5) == "full"
    assert seen.mode(9) is None
