"""What each payload changes, and intervals put together again."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from events.events import AnyPayload, ClaimTaken, Segment
from events.topics import KEPT
from storage.database import queries
from storage.projections import _STATEMENTS, CountRow, batch, changes, merge_counts, newest
from tests.contracts.examples import SENSOR, crossing, event, health, reading


def test_every_payload_is_projected_but_the_segment_which_is_only_kept() -> None:
    """A claim changes what others changed: `storage/applying.py`. The city has a store of its own."""
    of_the_box = {payload for payload in get_args(AnyPayload) if family(payload) not in KEPT}
    assert of_the_box - set(_STATEMENTS) == {Segment, ClaimTaken}


def family(payload: type) -> str:
    return str(payload.__struct_config__.tag).split(".")[1]  # type: ignore[attr-defined]


def test_a_change_names_a_query_and_carries_its_values() -> None:
    change = changes(crossing(3))
    assert change is not None
    _, values = change
    for store in ("store", "postgres"):
        assert set(batch([change]).at_once) <= set(queries(store))
    assert values["at"] == "[0.5,0.25]"
    assert (values["rule"], values["direction"], values["sequence"]) == ("door", "in", 3)
    assert [changes(event(health(s), 0)) is not None for s in ("raised", "note")] == [True, True]


def test_of_readings_the_newest_is_that_of_the_latest_time_and_of_two_the_first() -> None:
    sent = [reading(0, 1.0, second=5), reading(1, 2.0, second=9), reading(2, 3.0, second=9), reading(3, 4.0)]
    other = reading(0, 7.0, sensor=SENSOR + "b")
    values = [change[1] for e in [*sent, other] if (change := changes(e))]
    assert [(v["source"], v["value"]) for v in newest(values)] == [(SENSOR, 2.0), (SENSOR + "b", 7.0)]


def row(counts: dict[str, int], occupancy: dict[str, float], observed_s: float) -> CountRow:
    return CountRow(
        source="/s/camera/c",
        rule="r",
        start_us=0,
        end_us=60,
        counts=counts,
        occupancy=occupancy,
        observed_s=observed_s,
    )


def test_occupancy_is_weighted_by_what_was_observed() -> None:
    parts = [row({}, {"person": 3.0}, 10.0), row({}, {"person": 1.0, "car": 4.0}, 30.0)]
    assert merge_counts(parts)[0].occupancy == {"car": 3.0, "person": 1.5}
    assert merge_counts([row({}, {"car": 1.0}, 0.0)] * 2)[0].occupancy == {"car": 0.0}


@given(st.lists(st.dictionaries(st.sampled_from(["in.person", "out.car", "max.person"]), st.integers(0, 99))))
def test_merging_loses_no_count(parts: list[dict[str, int]]) -> None:
    merged = merge_counts([row(counts, {}, 1.0) for counts in parts])
    assert len(merged) == (1 if parts else 0)
    for name in {name for counts in parts for name in counts}:
        pick = max if name.startswith("max.") else sum
        assert merged[0].counts[name] == pick(counts.get(name, 0) for counts in parts)
