"""The specification of the two times, as tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.media import (
    TICKS,
    WRAP,
    Anchor,
    CaptureMap,
    Discontinuity,
    Unwrapper,
    parse_rfc3339,
    rfc3339,
    ticks,
)


def anchor(pts: int, capture_us: int) -> Anchor:
    return Anchor(pts=pts, capture_us=capture_us, source="arrival", uncertainty_us=500_000)


def test_capture_time_runs_with_media_time_from_the_latest_anchor() -> None:
    m = CaptureMap((anchor(0, 1_000_000), anchor(10 * TICKS, 12_000_000)))
    assert m.at(5 * TICKS) == 6_000_000
    assert m.at(10 * TICKS) == 12_000_000
    assert m.at(11 * TICKS) == 13_000_000
    assert m.at(-TICKS) == 0


def test_a_later_anchor_never_changes_what_was_mapped_before() -> None:
    before = CaptureMap((anchor(0, 0),))
    after = before.extend(anchor(9 * TICKS, 50_000_000))
    assert [before.at(t * TICKS) for t in range(9)] == [after.at(t * TICKS) for t in range(9)]


def test_anchors_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        CaptureMap((anchor(10, 0), anchor(5, 0)))
    with pytest.raises(ValueError, match="at least one"):
        CaptureMap(())


@given(st.integers(0, 4_000_000_000_000_000))
def test_rfc3339_goes_both_ways(us: int) -> None:
    assert parse_rfc3339(rfc3339(us)) == us


def test_a_time_without_a_zone_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match=r"\+08:00"):
        parse_rfc3339("2026-01-31T08:00:00")


@given(st.integers(0, WRAP - 1), st.lists(st.integers(1, 5 * TICKS), max_size=60))
def test_unwrapping_undoes_the_wrap_of_32_bits(start: int, steps: list[int]) -> None:
    unwrap = Unwrapper(max_gap_s=10)
    raw, expected = start, 0
    assert unwrap.feed(raw) == 0
    for step in steps:
        raw = (raw + step) % WRAP
        expected += step
        assert unwrap.feed(raw) == expected


def test_wraps_add_up_over_days() -> None:
    unwrap = Unwrapper(max_gap_s=10_000)
    step = ticks(9_000)
    for n in range(40):
        assert unwrap.feed((n * step) % WRAP) == n * step


@pytest.mark.parametrize("jump", [-1, -TICKS, 11 * TICKS, 3600 * TICKS])
def test_a_jump_ends_the_epoch(jump: int) -> None:
    unwrap = Unwrapper(max_gap_s=10)
    unwrap.feed(5 * 3600 * TICKS)
    unwrap.feed(5 * 3600 * TICKS + 3600)
    with pytest.raises(Discontinuity) as e:
        unwrap.feed(5 * 3600 * TICKS + 3600 + jump)
    assert e.value.jump_s == pytest.approx(jump / TICKS)


def test_nothing_but_the_clock_asks_for_now() -> None:
    """Rooms below the pipeline take time as a value; `events/clock.py` is the one place that asks."""
    import re
    from pathlib import Path

    asks = re.compile(r"\btime\.(time|time_ns|monotonic|monotonic_ns)\(|datetime\.(now|utcnow|today)\(")
    root = Path(__file__).parent.parent
    found = [
        f"{path.relative_to(root)}:{n}"
        for room in ("events", "ingest", "detectors", "storage", "pipeline", "console", "cli")
        for path in sorted((root / room).rglob("*.py"))
        for n, line in enumerate(path.read_text().splitlines(), 1)
        if asks.search(line) and path.relative_to(root).as_posix() != "events/clock.py"
    ]
    assert found == []
