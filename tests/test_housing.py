"""Who lives, is registered and holds a home where: facts with dates, whatever order they are told in."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.housing import (
    FOREVER,
    ONE_AT_A_TIME,
    OUTSIDE,
    Fact,
    FactsDisagree,
    check_days,
    holds,
    standing,
    with_fact,
)

FIRST = date(2020, 1, 1)


def day(n: int) -> str:
    return (FIRST + timedelta(days=n)).isoformat()


def lives(home: str, since: int, until: int | None = None, kind: str = "residence") -> Fact:
    return Fact(kind=kind, home=home, since=day(since), until=FOREVER if until is None else day(until))  # type: ignore[arg-type]


def told(facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """The facts, told one after the other; what cannot be is left out."""
    known: tuple[Fact, ...] = ()
    for fact in facts:
        try:
            known = with_fact(known, fact)
        except FactsDisagree:
            continue
    return known


some_facts = st.lists(
    st.builds(
        lambda kind, home, since, length, as_: Fact(
            kind=kind,
            home=home,
            since=day(since),
            until=FOREVER if length is None else day(since + length),
            as_=as_ if kind == "tenure" else "",
        ),
        st.sampled_from(["residence", "registration", "tenure"]),
        st.sampled_from(["A", "B", "C", OUTSIDE]),
        st.integers(0, 12),
        st.none() | st.integers(1, 8),
        st.sampled_from(["owner", "tenant"]),
    ),
    max_size=8,
)


@given(some_facts)
def test_nobody_lives_or_is_registered_in_two_places_at_once(facts: list[Fact]) -> None:
    known = told(facts)
    for n in range(25):
        now = holds(known, day(n))
        for kind in ONE_AT_A_TIME:
            assert sum(fact.kind == kind for fact in now) <= 1, (kind, day(n), known)
        tenures = [fact.home for fact in now if fact.kind == "tenure"]
        assert len(set(tenures)) == len(tenures), (day(n), known)
    for fact in known:
        check_days(fact)


@given(some_facts)
def test_what_was_told_last_holds_from_its_day_on_until_its_end(facts: list[Fact]) -> None:
    known = told(facts[:-1])
    for new in facts[-1:]:
        try:
            after = with_fact(known, new)
        except FactsDisagree:
            continue
        later = [f.since for f in after if f.kind == new.kind and f.since > new.since]
        for n in range(25):
            if new.since <= day(n) < min([new.until, *later]):
                homes = {fact.home for fact in holds(after, day(n)) if fact.kind == new.kind}
                assert new.home in homes, (day(n), known, new, after)


@given(some_facts)
def test_what_is_told_again_changes_nothing(facts: list[Fact]) -> None:
    """A survey that is sent again: every row of it agrees with what came of it."""
    known: tuple[Fact, ...] = ()
    for fact in facts:
        try:
            known = with_fact(known, fact)
        except FactsDisagree:
            continue
        assert with_fact(known, fact) == known, fact


@given(some_facts)
def test_other_kinds_are_left_alone(facts: list[Fact]) -> None:
    known = told(facts)
    moved = with_fact(known, lives("Z", 13))
    assert [f for f in moved if f.kind != "residence"] == [f for f in known if f.kind != "residence"]


def test_a_move_ends_the_residence_before() -> None:
    known = with_fact((lives("A", 0),), lives("B", 5))
    assert known == (lives("A", 0, 5), lives("B", 5))
    assert [f.home for f in holds(known, day(4))] == ["A"]
    assert [f.home for f in holds(known, day(5))] == ["B"], "the day of the move counts for the new home"


def test_an_older_move_told_later_stands_before() -> None:
    assert with_fact((lives("B", 5),), lives("A", 0)) == (lives("A", 0, 5), lives("B", 5))


def test_a_person_moved_twice_on_one_day_is_asked_about() -> None:
    known = (lives("A", 0), lives("B", 0, kind="registration"))
    with pytest.raises(FactsDisagree, match="two places of residence from the same day 2020-01-01: A and B"):
        with_fact(known, lives("B", 0))


def test_a_span_over_another_one_is_asked_about() -> None:
    with pytest.raises(FactsDisagree, match="overlaps B from 2020-01-06; mend one of the dates"):
        with_fact((lives("B", 5),), lives("A", 0, 9))


def test_a_longer_stay_in_the_same_home_is_kept() -> None:
    known = with_fact((lives("A", 0, 5),), lives("A", 3, 9))
    assert [f.home for f in holds(known, day(7))] == ["A"]
    assert not holds(known, day(9))


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2020-13-01", FOREVER),
        ("", FOREVER),
        ("2020-01-02", "2020-01-02"),
        ("2020-01-02", "2020-01-01"),
        ("yesterday", "today"),
        ("20200102", FOREVER),
        ("2020-W01-4", FOREVER),
        ("2020-01-02", "99991231"),
    ],
)
def test_dates_that_cannot_be(since: str, until: str) -> None:
    with pytest.raises(FactsDisagree):
        with_fact((), Fact(kind="residence", home="A", since=since, until=until))


def test_homes_are_held_by_the_dozen() -> None:
    known = told([lives(home, 0, kind="tenure") for home in "ABC"])
    assert len(holds(known, day(0))) == 3


@pytest.mark.parametrize(
    ("residence", "registration", "expected"),
    [
        ("A", "A", "same"),
        ("A", "B", "registered-elsewhere"),
        ("A", OUTSIDE, "registered-elsewhere"),
        ("", "A", "lives-elsewhere"),
        ("", "", ""),
    ],
)
def test_residence_and_registration_are_two_things(residence: str, registration: str, expected: str) -> None:
    facts = [lives(residence, 0)] * bool(residence)
    facts += [lives(registration, 0, kind="registration")] * bool(registration)
    assert standing(facts, day(1)) == expected
    assert standing(facts, "2019-12-31") == "", "not yet"
