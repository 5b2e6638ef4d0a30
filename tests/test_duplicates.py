"""Duplicates among appeals: what a score must hold to, whatever the appeals are."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.duplicates import DAY_US, WEIGHTS, Chain, Said, best, compare, metres, reachable

NOW = 1_790_000_000_000_000
places = st.tuples(st.floats(117.0, 117.01), st.floats(35.0, 35.01))
appeals = st.builds(
    Said,
    case=st.uuids().map(str),
    category=st.sampled_from(["noise", "water"]),
    time_us=st.integers(NOW, NOW + 20 * DAY_US),
    place=st.none() | places,
    channel=st.sampled_from(["hotline", "online"]),
    caller=st.sampled_from([b"", b"one", b"two"]),
)


def said(case: str = "a", **more: object) -> Said:
    fields: dict[str, object] = {"case": case, "category": "noise", "time_us": NOW, "place": (117.0, 35.0)}
    return Said(**fields | more)  # type: ignore[arg-type]


@given(appeals, appeals)
def test_either_way_round_is_the_same(one: Said, other: Said) -> None:
    there, back = compare(one, other), compare(other, one)
    assert there.score == pytest.approx(back.score, abs=1e-12)
    assert 0 <= there.score <= 1
    assert there.text


@given(appeals, appeals)
def test_the_same_caller_never_makes_it_less(one: Said, other: Said) -> None:
    strangers = msgspec.structs.replace(one, caller=b"x"), msgspec.structs.replace(other, caller=b"y")
    same = msgspec.structs.replace(one, caller=b"x"), msgspec.structs.replace(other, caller=b"x")
    assert compare(*same).score >= compare(*strangers).score
    assert reachable(one, other) or compare(one, other).score < WEIGHTS.similar_at


@given(appeals, places, st.floats(0, 1), st.floats(0, 1))
def test_further_away_or_later_is_never_more_alike(
    one: Said, to: tuple[float, float], near: float, far: float
) -> None:
    near, far = sorted((near, far))
    start = msgspec.structs.replace(one, place=(117.0, 35.0))

    def at(share: float) -> Said:
        place = (117.0 + (to[0] - 117.0) * share, 35.0 + (to[1] - 35.0) * share)
        return msgspec.structs.replace(start, case="b", place=place)

    def later(share: float) -> Said:
        return msgspec.structs.replace(start, case="b", time_us=start.time_us + int(share * 10 * DAY_US))

    assert compare(start, at(near)).score >= compare(start, at(far)).score - 1e-9
    assert compare(start, later(near)).score >= compare(start, later(far)).score - 1e-9


@given(appeals, appeals)
def test_what_is_about_different_things_is_never_the_same(one: Said, other: Said) -> None:
    other = msgspec.structs.replace(other, category=one.category + "x")
    assert compare(one, other).score == 0


@given(st.lists(appeals, max_size=40, unique_by=lambda one: one.case))
def test_every_chain_hangs_on_a_head_that_came_before(some: list[Said]) -> None:
    by_case = {one.case: one for one in some}
    links = {link.case: link.of for link in Chain().links(some)}
    for case, of in links.items():
        assert of not in links
        assert by_case[of].time_us <= by_case[case].time_us
        assert compare(by_case[case], by_case[of]).score >= WEIGHTS.linked_at


@given(st.lists(appeals, min_size=1, max_size=30, unique_by=lambda one: one.case))
def test_a_chain_misses_none_that_comparing_with_every_head_finds(some: list[Said]) -> None:
    heads: list[Said] = []
    expected: dict[str, float] = {}
    for one in sorted(some, key=lambda one: (one.time_us, one.case)):
        link = best(one, heads)
        if link is not None and link.likeness.score >= WEIGHTS.linked_at:
            expected[one.case] = link.likeness.score
        else:
            heads.append(one)
    assert {link.case: link.likeness.score for link in Chain().links(some)} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("other", "linked"),
    [
        (said("b", time_us=NOW + DAY_US // 24), True),
        (said("b", place=(117.0003, 35.0), time_us=NOW + DAY_US // 24), True),
        (said("b", place=(117.003, 35.0), time_us=NOW + DAY_US // 24), False),
        (said("b", time_us=NOW + 5 * DAY_US), False),
        (said("b", time_us=NOW + 5 * DAY_US, caller=b"me"), True),
        (said("b", time_us=NOW + DAY_US, place=None, caller=b"me"), True),
        (said("b", time_us=NOW + DAY_US, place=None), False),
        (said("b", time_us=NOW + 15 * DAY_US, caller=b"me"), False),
    ],
)
def test_what_is_linked(other: Said, linked: bool) -> None:
    assert (compare(said(caller=b"me"), other).score >= WEIGHTS.linked_at) is linked


def test_a_score_is_explained() -> None:
    likeness = compare(
        said(channel="hotline", caller=b"me"),
        said("b", channel="online", caller=b"me", place=(117.0002, 35.0), time_us=NOW + DAY_US // 8),
    )
    assert likeness.text == "both noise; 18 m apart; 3 hours apart; the same caller by another channel"
    assert sum(point.points for point in likeness.why) > -WEIGHTS.base


def test_metres_on_the_ground() -> None:
    # A degree of latitude is 111.2 km on a sphere of the earth's mean radius.
    assert metres((117.0, 35.0), (117.0, 35.001)) == pytest.approx(111.2, abs=0.1)
    assert metres((117.0, 35.0), (117.001, 35.0)) == pytest.approx(111.2 * 0.819, abs=0.2)
