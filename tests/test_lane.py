"""The lane: from packets to what the sink is told, and a failure that stays its own."""

from pathlib import Path

import pytest

from events.clock import ManualClock
from events.events import AlertCleared
from events.media import TICKS, Anchor
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.policy import Limits, Live, Unlimited
from tests.clipmaker import START_US, packets_of
from tests.loopmaker import ANCHOR, FPS, Sees, cut, draw, make_lane, run_whole, visits, work

WHERE = visits((10, 40))


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> list[Arrived]:
    clip = draw(tmp_path_factory.mktemp("lane") / "visit.mp4", 6, WHERE)
    info, packets = packets_of(clip)
    return cut(info, packets, [2, 4])


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Begin:
    info, _ = packets_of(draw(tmp_path_factory.mktemp("lane") / "info.mp4", 1, WHERE))
    return Begin(7, info, ANCHOR)


def test_bytes_and_seconds_that_wait(arrived: list[Arrived], begin: Begin) -> None:
    lane, _ = make_lane(Unlimited())
    assert not lane.busy
    lane.put(begin)
    for item in arrived[:31]:
        lane.put(item)
    assert lane.queued_bytes == sum(item.packet.size for item in arrived[:31])
    assert lane.behind_s == pytest.approx(3.0)
    work(lane, Sees(WHERE))
    assert (lane.queued_bytes, lane.behind_s, lane.busy) == (0, 0.0, False)


def test_one_snapshot_for_each_segment(arrived: list[Arrived], begin: Begin) -> None:
    lane, kept = make_lane(Unlimited())
    run_whole(lane, Sees(WHERE), begin.info, arrived)
    assert [(id_, pts) for id_, (_, pts, _, _) in kept.snapshots.items()] == [
        ("s0", 0),
        ("s1", 2 * TICKS),
        ("s2", 4 * TICKS),
    ]


def test_the_first_packet_of_a_segment_is_never_shed(arrived: list[Arrived], begin: Begin) -> None:
    policy = Live(Limits())
    lane, kept = make_lane(policy)
    lane.put(begin)
    for item in arrived:
        lane.put(item)  # six seconds at once: more than the box may be behind
    policy.force()
    work(lane, Sees(WHERE))
    assert set(kept.snapshots) == {"s0", "s1", "s2"}
    assert lane.loop.tally.skipped > 20


def test_a_look_that_waits_holds_the_rest_back(arrived: list[Arrived], begin: Begin) -> None:
    lane, _ = make_lane(Unlimited())
    lane.put(begin)
    for item in arrived:
        lane.put(item)
    first = lane.advance()
    assert first is not None
    assert lane.advance() is first
    assert lane.granted()
    fed = lane.loop.tally.packets
    lane.answer(None)
    assert lane.loop.tally.refused == 1
    assert lane.advance() is not first
    assert lane.loop.tally.packets >= fed


def test_anchors_map_what_comes_after_them(arrived: list[Arrived], begin: Begin) -> None:
    lane, kept = make_lane(Unlimited())
    lane.put(begin)
    step = Anchor(pts=2 * TICKS, capture_us=START_US + 2_500_000, source="rtcp", uncertainty_us=10)
    for item in arrived:
        if item.packet.pts == 2 * TICKS:
            lane.put(step)
        lane.put(item)
    lane.put(End("stopped"))
    work(lane, Sees(WHERE))
    for event in kept.got:
        if 0 < event.pts < 2 * TICKS:
            assert event.time_us == START_US + event.pts * 1_000_000 // TICKS
        elif event.pts > 2 * TICKS:
            assert event.time_us == step.capture_us + (event.pts - step.pts) * 1_000_000 // TICKS


def test_wakes_are_measured_against_capture(arrived: list[Arrived], begin: Begin) -> None:
    clock = ManualClock(START_US + 7_000_000)
    lane, _ = make_lane(Unlimited(), clock=clock)
    run_whole(lane, Sees(WHERE), begin.info, arrived)
    assert max(lane.wakes_us) <= 7_000_000
    assert min(lane.wakes_us) > 500_000


class Breaks(Sees):
    """Finds a box that is none, so that the loop fails as by a fault of ours."""

    def detect(self, frame, crops=()):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError


def fail(lane: Lane) -> None:
    try:
        work(lane, Breaks(WHERE))
    except ZeroDivisionError as error:
        lane.fail(error)


def test_a_failure_ends_the_epoch_and_the_next_one_begins_afresh(
    arrived: list[Arrived], begin: Begin
) -> None:
    lane, kept = make_lane(Unlimited())
    lane.put(begin)
    for item in arrived[:20]:
        lane.put(item)
    fail(lane)
    assert lane.failed_at is not None
    assert kept.ends == [(7, "gave up")]
    assert [(n.what, n.state) for n in kept.said] == [("analysis", "raised")]
    assert "ZeroDivisionError" in kept.said[0].message
    assert Path(__file__).name in kept.said[0].message
    for item in arrived[20:]:
        lane.put(item)
    lane.put(End("lost"))
    work(lane, Sees(WHERE))
    assert lane.queued_bytes == 0  # passed over, not kept
    assert kept.ends == [(7, "gave up")]
    lane.put(Begin(8, begin.info, begin.anchor))
    for item in arrived:
        lane.put(item)
    lane.put(End("stopped"))
    work(lane, Sees(WHERE))
    assert kept.said[-1].state == "cleared"
    assert kept.ends[-1] == (8, "stopped")
    assert [e.epoch for e in kept.got if isinstance(e.data, AlertCleared)] == [8]
    for family in ("count", "alert"):
        for epoch in (7, 8):
            numbers = [e.sequence for e in kept.got if (e.family, e.epoch) == (family, epoch)]
            assert numbers == list(range(len(numbers)))


def test_it_says_what_the_loop_says_in_order(arrived: list[Arrived], begin: Begin) -> None:
    lane, kept = make_lane(Unlimited())
    run_whole(lane, Sees(WHERE), begin.info, arrived)
    assert [e.pts for e in kept.got] == sorted(e.pts for e in kept.got)
    assert len(kept.got) > 3
    assert lane.loop.tally.packets == 6 * FPS
