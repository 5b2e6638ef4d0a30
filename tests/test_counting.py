"""Crossings: once per real crossing, whatever the path, its noise, its gaps and its ordinals."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.counting import CrossingCounter, crossings
from events.observations import Observation
from tests.scenes import person, seen

A, B = (200.0, 500.0), (800.0, 500.0)
"""A line that points to the right: its left is above, in is downwards."""

BAND = 8.0
Path = list[tuple[float, float]]


def count(path: Path, height: float = 80.0) -> list[str]:
    counter = CrossingCounter(A, B, BAND)
    found = [counter.update(n, 1, "person", foot, height) for n, foot in enumerate(path)]
    return [c.direction for c in found if c]


@pytest.mark.parametrize(
    ("case", "path", "expected"),
    [
        ("straight in", [(500, 480), (500, 495), (500, 505), (500, 520)], ["in"]),
        ("straight out", [(500, 520), (500, 505), (500, 495), (500, 480)], ["out"]),
        ("in one step over the whole band", [(500, 400), (500, 600)], ["in"]),
        ("turns back before the line", [(500, 480), (500, 496), (500, 480)], []),
        ("turns back after the line, within the band", [(500, 480), (500, 506), (500, 480)], []),
        ("turns back beyond the band: two crossings", [(500, 480), (500, 510), (500, 480)], ["in", "out"]),
        (
            "stands on the line and sways",
            [(500, 480), *[(500, 497), (500, 503)] * 20, (500, 480)],
            [],
        ),
        ("sways, then goes on", [(500, 480), *[(500, 497), (500, 503)] * 20, (500, 520)], ["in"]),
        ("appears on the line", [(500, 499), (500, 501), (500, 540)], []),
        (
            "appears on the line, goes back and comes again",
            [(500, 501), (500, 480), (500, 540)],
            ["in"],
        ),
        ("round the end", [(180, 480), (190, 520)], []),
        ("round the end, back through it", [(180, 480), (180, 520), (300, 520), (300, 480)], ["out"]),
        ("round the end within the band", [(210, 480), (195, 498), (195, 502), (210, 520)], []),
        ("cut in the band, back round the end", [(210, 480), (210, 502), (190, 502), (190, 480)], []),
        ("exactly through the end", [(200, 480), (200, 520)], ["in"]),
        ("exactly through the other end", [(800, 520), (800, 480)], ["out"]),
        ("a hair beyond the end", [(199.99, 480), (199.99, 520)], []),
        ("a foot point exactly on the line", [(500, 480), (500, 500), (500, 520)], ["in"]),
        (
            "exactly on it, and back",
            [(500, 480), (500, 500), (500, 480), (500, 500), (500, 480)],
            [],
        ),
        ("along the line within the band", [(250, 480), *((x, 503) for x in range(260, 900, 20))], []),
        ("vanishes within the band", [(500, 480), (500, 507)], []),
        ("never near", [(500, 100), (900, 200), (100, 300)], []),
    ],
)
def test_the_hard_cases(case: str, path: Path, expected: list[str]) -> None:
    assert count(path) == expected, case
    mirrored = [(1000 - x, 1000 - y) for x, y in path]
    turned = ["in" if way == "out" else "out" for way in expected]
    if "exactly on" not in case:  # a point on the line itself belongs to its left
        assert count(mirrored) == turned, f"{case}, turned round"


def test_the_band_grows_with_the_object() -> None:
    sway = [(500.0, 480.0), (500.0, 512.0), (500.0, 480.0)]
    assert count(sway, height=80) == ["in", "out"]
    assert count(sway, height=400) == [], "12 px of 400 are a detector's noise"


def test_where_and_how_often() -> None:
    counter = CrossingCounter(A, B, BAND)
    counter.update(0, 7, "person", (300, 480), 80)
    first = counter.update(1, 7, "person", (340, 520), 80)
    assert first
    assert (first.track, first.at, first.occurrence, first.pts) == (7, (320, 500), 0, 1)
    second = counter.update(2, 7, "person", (340, 480), 80)
    assert second
    assert second.occurrence == 1
    counter.ended(7)
    assert counter.walks == {}
    assert counter.update(3, 7, "person", (340, 520), 80) is None, "an ended track begins anew"


@st.composite
def walks(draw: st.DrawFn) -> tuple[Path, list[str]]:
    """A path by way points well beyond the band, with noise below the band; and its true crossings."""
    points = draw(st.lists(st.tuples(st.floats(230, 770), st.floats(20, 180), st.booleans()), min_size=2))
    stops = [(x, 500 + (d if below else -d)) for x, d, below in points]
    path: Path = []
    noise = st.floats(-7.9, 7.9)
    truth: list[str] = []
    for p, q in pairwise(stops):
        n = draw(st.integers(1, 25))
        for i in range(n + 1):
            x = p[0] + (q[0] - p[0]) * i / n
            y = p[1] + (q[1] - p[1]) * i / n
            path.append((x + draw(noise), y + draw(noise)))
        if (p[1] > 500) != (q[1] > 500):
            truth.append("in" if q[1] > 500 else "out")
    return path, truth


@settings(deadline=None)
@given(walks())
def test_noise_below_the_band_changes_nothing(walk: tuple[Path, list[str]]) -> None:
    path, truth = walk
    assert count(path) == truth


@settings(deadline=None)
@given(walks(), st.sets(st.integers(0, 200)))
def test_dropped_frames_change_the_total_by_whole_round_trips_only(
    walk: tuple[Path, list[str]], dropped: set[int]
) -> None:
    path, truth = walk
    kept = [foot for n, foot in enumerate(path) if n not in dropped or n in (0, len(path) - 1)]
    found = count(kept)
    net = truth.count("in") - truth.count("out")
    assert found.count("in") - found.count("out") == net
    assert len(found) <= len(truth)


@st.composite
def pedestrians(draw: st.DrawFn) -> tuple[list[Observation], list[str]]:
    """One person at walking speed, 5 or 10 frames a second, seen with noise, gaps and changes of ordinal."""
    fps = draw(st.sampled_from([5, 10]))
    height = draw(st.floats(60, 120))
    speed = draw(st.floats(0.4, 0.7)) * height  # a turn while unseen stays within reach
    legs = draw(st.lists(st.tuples(st.floats(300, 700), st.floats(60, 150)), min_size=2, max_size=5))
    below = draw(st.booleans())
    stops = []
    for x, d in legs:
        stops.append((x, 500 + d if below else 500 - d))
        below = not below
    feet: Path = []
    for p, q in pairwise(stops):
        length = ((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) ** 0.5
        n = max(int(length / speed * fps), 2)
        feet += [(p[0] + (q[0] - p[0]) * i / n, p[1] + (q[1] - p[1]) * i / n) for i in range(n)]
    feet += [stops[-1]] * 3
    truth = ["in" if q[1] > 500 else "out" for _, q in pairwise(stops)]
    noise = st.floats(-0.04 * height, 0.04 * height)
    observations, ordinal, since = [], 1, 0
    gap = 0
    for n, (x, y) in enumerate(feet):
        inner = 3 < n < len(feet) - 3
        if gap == 0 and inner and n - since > fps and draw(st.integers(0, 9)) == 0:
            gap = draw(st.integers(1, fps))
            if draw(st.booleans()):
                ordinal += 1
            since = n + gap
        if gap and inner:
            gap -= 1
            observations.append(seen(n / fps))
            continue
        gap = 0
        observations.append(seen(n / fps, person(ordinal, x + draw(noise), y + draw(noise), height)))
    return observations, truth


@settings(max_examples=150, deadline=None)
@given(pedestrians())
def test_new_ordinals_and_gaps_of_a_second_lose_and_double_nothing(
    walk: tuple[list[Observation], list[str]],
) -> None:
    observations, truth = walk
    found = [c.direction for c in crossings(observations, A, B, BAND)]
    assert found == truth


def lost_and_found(after_s: float, x: float, label: str = "person") -> Iterator[Observation]:
    """Walks down to just above the line, is lost, and something appears below it."""
    for n in range(20):
        yield seen(n / 5, person(1, 500, 420 + 4 * n))
    yield seen(4.0, ended=(1,))
    for n in range(10):
        yield seen(4.0 + after_s + n / 5, person(2, x, 500 + 16 * after_s + 4 * n, label=label))


def test_a_successor_under_a_new_ordinal_ends_the_passage() -> None:
    assert [c.direction for c in crossings(lost_and_found(0.6, 505), A, B)] == ["in"]
    assert [c.direction for c in crossings(lost_and_found(1.6, 505), A, B)] == ["in"]


@pytest.mark.parametrize(
    ("after_s", "x", "label"), [(6.0, 505, "person"), (0.6, 650, "person"), (0.6, 505, "dog")]
)
def test_too_late_too_far_or_of_another_class_is_somebody_else(after_s: float, x: float, label: str) -> None:
    assert list(crossings(lost_and_found(after_s, x, label), A, B, labels=("person", "dog"))) == []
