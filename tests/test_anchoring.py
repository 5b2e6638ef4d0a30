"""Capture time of live streams: least delay, sender reports, and what is not believed."""

from hypothesis import given
from hypothesis import strategies as st

from events.media import TICKS, CaptureMap
from ingest.anchoring import RTCP_TOLERANCE_US, TRUST_US, CaptureClock

STEP = TICKS // 10
T0 = 1_750_000_000_000_000


def us(pts: int) -> int:
    return pts * 1_000_000 // TICKS


@given(st.lists(st.integers(0, 400_000), min_size=40, max_size=200), st.integers(0, 3_000_000))
def test_bursts_do_not_move_the_clock_beyond_the_first_delay(delays: list[int], first: int) -> None:
    clock = CaptureClock(T0 + first)
    delays[5] = 0
    for n, delay in enumerate(delays):
        clock.arrived(n * STEP, T0 + us(n * STEP) + delay)
    error = clock.at(len(delays) * STEP) - (T0 + us(len(delays) * STEP))
    assert -1 <= error <= 100_000


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(-6_000_000, 6_000_000), st.integers(0, 500_000)), max_size=120
    )
)
def test_the_anchors_handed_out_map_as_the_clock_did(history: list[tuple[bool, int, int]]) -> None:
    clock = CaptureClock(T0)
    anchors, seen = [clock.first], []
    for n, (report, off, delay) in enumerate(history):
        pts = n * 7 * STEP
        if report:
            clock.reported(pts, T0 + us(pts) + off)
        clock.arrived(pts, T0 + us(pts) + delay)
        seen.append((pts, clock.at(pts)))
        anchors += clock.taken()
    mapped = CaptureMap(tuple(anchors))
    assert [(pts, mapped.at(pts)) for pts, _ in seen] == seen


def test_a_sender_report_takes_over_and_small_differences_make_no_new_anchor() -> None:
    clock = CaptureClock(T0 + 300_000)
    clock.reported(5 * TICKS, T0 + us(5 * TICKS))
    assert clock.at(6 * TICKS) == T0 + us(6 * TICKS)
    assert [a.source for a in clock.taken()] == ["rtcp"]
    clock.reported(10 * TICKS, T0 + us(10 * TICKS) + RTCP_TOLERANCE_US)
    assert clock.taken() == []
    clock.reported(15 * TICKS, T0 + us(15 * TICKS) + RTCP_TOLERANCE_US + 1)
    assert [a.pts for a in clock.taken()] == [15 * TICKS]


def test_a_camera_whose_clock_is_wrong_is_not_believed_but_told_of() -> None:
    clock = CaptureClock(T0)
    clock.reported(TICKS, T0 + us(TICKS) - 8 * 3_600_000_000)
    assert clock.taken() == []
    assert not clock.by_rtcp
    assert clock.clock_error_us == -8 * 3_600_000_000


def test_a_camera_whose_clock_goes_wrong_later_loses_its_trust() -> None:
    clock = CaptureClock(T0)
    clock.reported(TICKS, T0 + us(TICKS))
    clock.reported(9 * TICKS, T0 + us(9 * TICKS) + TRUST_US + 1)
    assert [a.source for a in clock.taken()] == ["rtcp", "arrival"]
    assert abs(clock.at(9 * TICKS) - (T0 + us(9 * TICKS))) < 1_000


def test_a_drifting_media_clock_is_followed_by_arrival() -> None:
    clock = CaptureClock(T0)
    drift = 1.0005  # half a second in a thousand: a bad crystal
    for n in range(0, 4000):
        pts = n * STEP
        clock.arrived(pts, T0 + int(us(pts) * drift))
    end = 3999 * STEP
    assert abs(clock.at(end) - (T0 + int(us(end) * drift))) < 150_000
    assert 1 <= len(clock.taken()) < 10


def test_the_wall_clock_stepping_does_not_touch_what_was_mapped() -> None:
    clock = CaptureClock(T0)
    before = [clock.at(n * STEP) for n in range(10)]
    for n in range(10, 1000):
        clock.arrived(n * STEP, T0 + us(n * STEP) + 3_600_000_000)
    assert [clock.at(n * STEP) for n in range(10)] == before
