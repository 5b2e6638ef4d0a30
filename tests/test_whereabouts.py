"""What a clip hides: every person the traces know, and everything where they know nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.media import TICKS, Anchor, CaptureMap
from events.observations import Box
from storage import trace
from storage.whereabouts import SKEW_US, Whereabouts

START = 1_750_000_000_000_000


def opening(pts: int = 0, epoch: int = 1, at_s: float = 0.0) -> trace.Open:
    anchor = Anchor(pts=0, capture_us=START + int(at_s * 1e6), source="file", uncertainty_us=0)
    return trace.Open(epoch=epoch, pts=pts, model="", settings="", width=100, height=100, anchors=(anchor,))


def look(s: float, *tracks: tuple[int, float], label: str = "person") -> trace.Frame:
    """At s seconds these tracks: (ordinal, x1), boxes of 10 x 40 at y 50."""
    rows = tuple((n, label, 0.9, x, 50.0, x + 10, 90.0, True) for n, x in tracks)
    return trace.Frame(pts=round(s * TICKS), tracks=rows)


def reached(s: float) -> trace.Reached:
    return trace.Reached(pts=round(s * TICKS))


def us(s: float) -> int:
    return START + round(s * 1e6)


def test_a_box_between_looks_is_interpolated_and_padded() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20)), look(1.2, (1, 24))]])
    boxes = known.at(us(1.1))
    assert boxes is not None
    (box,) = boxes
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((0.21, 0.46, 0.33, 0.94))


def test_a_box_that_jumped_is_hidden_all_along_its_way() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20)), look(1.2, (1, 60))]])
    boxes = known.at(us(1.1))
    assert boxes is not None
    assert [(b.x1 <= 0.2, b.x2 >= 0.7) for b in boxes] == [(True, True)]


def test_a_person_is_hidden_before_the_first_and_after_the_last_look() -> None:
    known = Whereabouts(
        [
            [
                opening(),
                *[look(t / 5) for t in range(10)],
                look(2, (1, 20)),
                *[look(2.2 + t / 5) for t in range(10)],
            ]
        ]
    )
    assert known.at(us(0.9)) == []
    for s in (1.1, 1.9, 2.9):
        boxes = known.at(us(s))
        assert boxes is not None
        assert [(b.x1, b.x2) for b in boxes] == [pytest.approx((0.15, 0.35))]
    assert known.at(us(3.1)) == []


def test_where_looks_are_far_apart_all_that_both_saw_is_hidden() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20)), look(7, (2, 60)), reached(9)]])
    boxes = known.at(us(4))
    assert boxes is not None
    assert sorted(b.centre[0] for b in boxes) == pytest.approx([0.25, 0.65])


def test_a_track_seen_at_both_ends_of_a_long_gap_is_hidden_between() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20)), look(4, (1, 60))]])
    boxes = known.at(us(2.5))
    assert boxes is not None
    assert any(b.x1 <= 0.2 and b.x2 >= 0.7 for b in boxes)


def test_what_no_trace_covers_is_unknown() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20))], [opening(pts=20 * TICKS), reached(30)]])
    assert known.at(us(-0.1)) is None
    assert known.at(us(0.5)) is not None
    assert known.at(us(1.5)) is None  # the analysis has not come further
    assert known.at(us(25)) == []
    assert known.at(us(31)) is None
    assert Whereabouts([]).at(us(0)) is None
    assert Whereabouts([[]]).at(us(0)) is None


def test_segments_that_follow_each_other_are_covered_across_the_border() -> None:
    known = Whereabouts([[opening(), reached(10)], [opening(pts=round(10.1 * TICKS)), reached(20)]])
    assert known.at(us(10.05)) == []


def test_shed_packets_are_unknown() -> None:
    shed = trace.Shed(from_pts=2 * TICKS, to_pts=5 * TICKS, why="packets")
    known = Whereabouts([[opening(), look(1.9), shed, look(5), reached(9)]])
    assert known.at(us(1.95)) == []
    assert known.at(us(2)) is None
    assert known.at(us(4.99)) is None
    assert known.at(us(5)) == []


def test_refused_looks_count_only_if_they_leave_a_long_gap() -> None:
    def refused(s: float) -> trace.Shed:
        return trace.Shed(from_pts=round(s * TICKS), to_pts=round(s * TICKS), why="look")

    short = Whereabouts([[opening(), look(1, (1, 20)), refused(1.2), look(1.4, (1, 20)), reached(9)]])
    assert short.at(us(1.2))
    long = Whereabouts([[opening(), look(1), refused(1.2), refused(3), look(4), look(6), reached(9)]])
    assert long.at(us(2)) is None
    assert long.at(us(5)) == []


def test_only_personal_labels_are_hidden() -> None:
    known = Whereabouts([[opening(), look(1, (1, 20), label="car"), look(1.2, (1, 20), label="car")]])
    assert known.at(us(1.1)) == []


def test_epochs_do_not_mix() -> None:
    """Ordinals begin again with each connection; capture time is what joins them."""
    known = Whereabouts(
        [
            [opening(), look(1, (1, 10)), reached(1.1)],
            [opening(epoch=2, at_s=1.2), look(0.2, (1, 80)), reached(3)],
        ]
    )
    boxes = known.at(us(1.2))
    assert boxes is not None
    assert sorted(b.centre[0] for b in boxes) == pytest.approx([0.15, 0.85])


def faint(s: float, x: float, label: str = "person") -> trace.Frame:
    """At s seconds a box of 10 x 40 at y 50 that no track covers."""
    return trace.Frame(pts=round(s * TICKS), faint=((label, x, 50.0, x + 10, 90.0),))


def test_who_is_detected_but_not_tracked_is_hidden_for_half_a_second() -> None:
    looks = [look(t / 5) for t in range(20)]
    known = Whereabouts([[opening(), *looks[:10], faint(2, 20), *looks[11:]]])
    for s in (1.55, 2, 2.45):
        boxes = known.at(us(s))
        assert boxes is not None
        assert [(b.x1, b.x2) for b in boxes] == [pytest.approx((0.15, 0.35))]
    assert known.at(us(1.45)) == known.at(us(2.55)) == []
    assert Whereabouts([[opening(), *looks[:10], faint(2, 20, "car"), *looks[11:]]]).at(us(2)) == []


def test_who_was_detected_before_a_long_gap_is_hidden_in_it() -> None:
    boxes = Whereabouts([[opening(), faint(1, 20), look(7), reached(9)]]).at(us(4))
    assert boxes is not None
    assert [b.centre[0] for b in boxes] == [pytest.approx(0.25)]


def test_on_another_stream_a_walkers_whole_way_within_the_skew_is_hidden() -> None:
    """30 of 100 pixels a second: wherever the other stream's clock puts the walker, a box is there."""
    looks = [look(t / 5, (1, 6.0 * t)) for t in range(15)]
    known = Whereabouts([[opening(), *looks]])
    boxes = known.at(us(1.5), SKEW_US)
    assert boxes is not None
    (box,) = boxes
    assert box.x1 <= 0.15
    assert box.x2 >= 0.85
    own = known.at(us(1.5))
    assert own is not None
    assert own[0].x2 - own[0].x1 < 0.15


def test_on_another_stream_what_is_unknown_within_the_skew_is_unknown() -> None:
    shed = trace.Shed(from_pts=4 * TICKS, to_pts=5 * TICKS, why="packets")
    known = Whereabouts([[opening(), *[look(t / 5) for t in range(20)], shed, look(5), reached(9)]])
    assert known.at(us(2.9), SKEW_US) == []
    for s in (0.9, 3.1, 4.5, 5.9, 8.1):
        assert known.at(us(s), SKEW_US) is None
    assert known.at(us(7), SKEW_US) == []


def test_on_another_stream_refused_looks_in_a_long_gap_count_too() -> None:
    refused = trace.Shed(from_pts=4 * TICKS, to_pts=4 * TICKS, why="look")
    lines = [opening(), *[look(t / 5) for t in range(15)], refused, look(5), reached(9)]
    assert Whereabouts([lines]).at(us(2.5)) == []
    assert Whereabouts([lines]).at(us(2.5), SKEW_US) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.lists(st.tuples(st.integers(1, 3), st.floats(0, 90)), max_size=3)),
        max_size=12,
        unique_by=lambda item: item[0],
    ),
    st.data(),
)
def test_whoever_was_seen_is_hidden_when_seen(
    looks: list[tuple[int, list[tuple[int, float]]]], data: st.DataObject
) -> None:
    lines: list[trace.Line] = [opening()]
    lines += [look(t / 10, *dict(tracks).items()) for t, tracks in sorted(looks)]
    known = Whereabouts([lines])
    for t, tracks in looks:
        boxes = known.at(us(t / 10))
        assert boxes is not None
        for _, x in dict(tracks).items():
            seen = Box(x / 100, 0.5, x / 100 + 0.1, 0.9)
            assert any(
                b.x1 <= seen.x1 and b.y1 <= seen.y1 and b.x2 >= seen.x2 and b.y2 >= seen.y2 for b in boxes
            )
    end = max((t for t, _ in looks), default=0)
    t = data.draw(st.floats(-1, 12))
    assert (known.at(us(t)) is None) == (not 0 <= us(t) - START <= end * 100_000)


def test_another_streams_room_is_small_only_where_both_are_dated_by_the_camera() -> None:
    def dated(*at: tuple[float, str]) -> tuple[Anchor, ...]:
        return tuple(
            Anchor(pts=round(s * TICKS), capture_us=us(s), source=source, uncertainty_us=0)  # type: ignore[arg-type]
            for s, source in at
        )

    own = trace.Open(
        epoch=1,
        pts=0,
        model="",
        settings="",
        width=100,
        height=100,
        anchors=dated((0, "arrival"), (3, "rtcp")),
    )
    known = Whereabouts([[own, look(1, (1, 20)), reached(9)]])
    shown = CaptureMap(dated((0, "arrival"), (5, "rtcp")))
    assert [known.skew_us(us(s), [shown]) for s in (1, 4)] == [SKEW_US, SKEW_US]
    assert known.skew_us(us(6), [shown]) < SKEW_US
    assert known.skew_us(us(6), []) == SKEW_US  # nothing is known of the stream shown
