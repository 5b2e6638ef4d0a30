"""Targets: handed over, not confused; feet that stay where they are when something hides them."""

import pytest

from events.observations import Box, Track
from events.targets import Targets
from tests.scenes import person, seen


def walk(targets: Targets, ordinal: int, frames: range, x: float = 500, step: float = 8) -> None:
    for n in frames:
        targets.update(seen(n / 10, person(ordinal, x + step * n, 500)))


def test_a_track_is_one_target_with_its_own_serial() -> None:
    targets = Targets()
    for n in range(30):
        found = targets.update(seen(n / 10, person(4, 100 + 5 * n, 500), person(9, 800, 300)))
        assert [(t.serial, t.ordinal) for t in found] == [(1, 4), (2, 9)]


def test_predictions_move_nothing() -> None:
    targets = Targets()
    targets.update(seen(0, person(1, 500, 500)))
    ghost = Track(1, "person", 0.0, Box(700, 400, 740, 480), seen=False)
    assert targets.update(seen(0.1, ghost)) == []
    assert targets.state.targets[1].x == 500
    only_ghost = Track(2, "person", 0.0, Box(100, 100, 140, 180), seen=False)
    assert targets.update(seen(0.2, only_ghost)) == []
    assert list(targets.state.targets) == [1], "a prediction alone is no target"


def test_a_walker_is_handed_over_where_it_would_be_by_now() -> None:
    targets = Targets()
    walk(targets, 1, range(10))
    for n in range(10, 25):
        targets.update(seen(n / 10))
    (found,) = targets.update(seen(2.5, person(2, 500 + 8 * 25, 500)))
    assert (found.serial, found.ordinals) == (1, (1, 2))


@pytest.mark.parametrize(
    ("why", "newcomer", "at_s"),
    [
        ("too late", person(2, 572, 500), 4.0),
        ("too far", person(2, 300, 500), 1.5),
        ("another class", person(2, 572, 500, label="dog"), 1.5),
        ("another size", person(2, 572, 500, height=200), 1.5),
    ],
)
def test_somebody_else_is_a_new_target(why: str, newcomer: Track, at_s: float) -> None:
    targets = Targets()
    walk(targets, 1, range(10), step=0)
    walk(targets, 1, range(10, 20), step=0)
    targets.update(seen(2.0))
    targets.update(seen(2.2))
    (found,) = targets.update(seen(2.0 + at_s, newcomer))
    assert found.serial == 2, why


def test_who_walked_out_of_the_picture_has_no_successor() -> None:
    targets = Targets()
    for n in range(10):
        targets.update(seen(n / 10, person(1, 890 + 10 * n, 500)))
    targets.update(seen(1.0))
    targets.update(seen(1.2))
    (found,) = targets.update(seen(1.3, person(2, 975, 500)))
    assert found.serial == 2


def test_two_lost_and_two_found_go_to_the_nearest() -> None:
    targets = Targets()
    for n in range(10):
        targets.update(seen(n / 10, person(1, 500, 500), person(2, 530, 500)))
    targets.update(seen(1.0))
    found = targets.update(seen(1.2, person(3, 532, 500), person(4, 502, 500)))
    assert [(t.serial, t.ordinal) for t in found] == [(1, 4), (2, 3)]


def test_a_target_that_is_there_is_not_handed_over() -> None:
    targets = Targets()
    targets.update(seen(0, person(1, 500, 500)))
    found = targets.update(seen(0.1, person(1, 500, 500), person(2, 505, 500)))
    assert [t.serial for t in found] == [1, 2]


def test_an_ordinal_that_comes_back_after_its_target_was_handed_over_is_new() -> None:
    targets = Targets()
    targets.update(seen(0, person(1, 500, 500)))
    targets.update(seen(0.5, person(2, 505, 500)))
    found = targets.update(seen(1.0, person(2, 505, 500), person(1, 700, 500)))
    assert [(t.serial, t.ordinal) for t in found] == [(1, 2), (2, 1)]


def test_hidden_feet_stay_below_the_head() -> None:
    targets = Targets()
    for n in range(20):
        targets.update(seen(n / 10, person(1, 500, 500)))
    for n in range(20, 30):
        half = Track(1, "person", 0.8, Box(480, 420, 520, 465))
        (found,) = targets.update(seen(n / 10, half))
    assert abs(found.y - 500) < 8, "the box ends at 465, the person does not"
    for n in range(30, 40):
        (found,) = targets.update(seen(n / 10, person(1, 500, 500)))
    assert abs(found.y - 500) < 2


def test_who_crouches_or_walks_away_is_not_hidden() -> None:
    targets = Targets()
    for n in range(20):
        targets.update(seen(n / 10, person(1, 500, 500)))
    for n in range(20, 40):
        (found,) = targets.update(seen(n / 10, Track(1, "person", 0.8, Box(480, 455, 520, 500))))
    assert abs(found.y - 500) < 2, "the top came down"


def test_targets_are_forgotten() -> None:
    targets = Targets()
    targets.update(seen(0, person(1, 500, 500), person(2, 100, 500)))
    targets.update(seen(1, ended=(1,)))
    targets.update(seen(4))
    assert targets.gone == [1], "ended and past the handover"
    targets.update(seen(40))
    assert targets.gone == [2], "its tracker never gave it up"
    assert (targets.state.targets, targets.state.current) == ({}, {})


def test_while_nothing_moves_what_was_there_stays() -> None:
    targets = Targets()
    targets.update(seen(0, person(1, 500, 500)))
    for t in range(1, 60):
        (found,) = targets.tick(t * 90_000)
        assert found.serial == 1
    (found,) = targets.update(seen(60, person(2, 500, 500)))
    assert found.serial == 1, "it was there until a second ago"
