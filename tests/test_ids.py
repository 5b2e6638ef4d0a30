"""The specification of identity and sequence, as tests."""

from hypothesis import given
from hypothesis import strategies as st

from events.ids import event_id, next_epoch, timed_id

part = st.one_of(st.integers(), st.text(alphabet="abc/-0123456789"))


def test_an_id_is_the_same_in_every_process() -> None:
    assert event_id("site", "gate", 7, "line", 1_700_000_000_000_000, 3, "in", 0) == (
        event_id("site", "gate", 7, "line", 1_700_000_000_000_000, 3, "in", 0)
    )
    assert event_id("a", 1) == "kmr4ccm3ieam6su6tc68abq7v9"


@given(st.lists(part, min_size=1, max_size=6), st.lists(part, min_size=1, max_size=6))
def test_different_parts_give_different_ids(a: list[str | int], b: list[str | int]) -> None:
    same = [str(x) for x in a] == [str(x) for x in b]
    assert (event_id(*a) == event_id(*b)) == same


def test_epochs_only_grow_even_when_the_clock_is_set_back() -> None:
    assert next_epoch(1000, 0) == 1000
    assert next_epoch(500, 1000) == 1001


@given(
    st.integers(0, 1 << 54), st.integers(0, 1 << 54), st.lists(part, max_size=3), st.lists(part, max_size=3)
)
def test_timed_ids_sort_by_time_and_differ_by_parts(
    a_us: int, b_us: int, a: list[str | int], b: list[str | int]
) -> None:
    one, other = timed_id(a_us, *a), timed_id(b_us, *b)
    assert len(one) == 26
    assert (one < other) == (a_us < b_us) or a_us == b_us
    assert (one == other) == (a_us == b_us and [str(x) for x in a] == [str(x) for x in b])


def test_a_timed_id_is_the_same_in_every_process() -> None:
    assert timed_id(1_700_000_000_000_000, "s", "m1", "level") == "1ga4gc1sg008aa2se71fu1g339"
    assert timed_id(-5, "a") != timed_id(-6, "a")
