"""Lines and zones: crossings and totals by interval."""

import pytest

from events.events import AlertRaised, Crossing, Interval
from events.media import TICKS
from events.rules import (
    Line,
    Loitering,
    Zone,
)
from tests.scenes import START_US, Camera, person, vehicle

SQUARE = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
LINE = Line(name="line", points=((0.2, 0.5), (0.8, 0.5)), labels=("person", "car"))
INSIDE, OUTSIDE = (500, 500), (500, 900)


def test_a_crossing_has_its_class_place_and_direction() -> None:
    camera = Camera(LINE)
    for n in range(20):
        camera.see(person(3, 400, 400 + 10 * n), vehicle(5, 700, 600 - 10 * n))
    crossed = camera.of(Crossing)
    assert {(c.direction, c.label, c.track) for c in crossed} == {("in", "person", 3), ("out", "car", 5)}
    assert all(c.at[1] == 0.5 for c in crossed)
    assert {event.source for event in camera.events} == {"/town/camera/gate"}
    assert {event.subject for event in camera.events} == {"line"}


def test_a_lines_totals_by_interval() -> None:
    camera = Camera(LINE)
    for n in range(20):
        camera.see(person(3, 400, 400 + 10 * n))
    camera.tick(130)
    camera.end()
    first, second, last = camera.of(Interval)
    none = {"in.person": 0, "out.person": 0, "in.car": 0, "out.car": 0}
    assert (first.counts, first.observed_s) == ({**none, "in.person": 1}, 60.0)
    assert (first.start_us, first.end_us) == (START_US, START_US + 60_000_000)
    assert (second.counts, last.counts) == (none, none)
    assert last.observed_s == pytest.approx(14.0), "closed as it was"


def test_a_zones_totals_by_interval() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    camera.stay(10, person(1, *OUTSIDE))
    camera.stay(15, person(1, *INSIDE))
    camera.stay(15, person(1, *INSIDE), person(2, 400, 400))
    camera.stay(25, person(1, *OUTSIDE))
    (interval,) = camera.of(Interval)
    assert interval.counts == {"max.person": 2, "entered.person": 2}
    assert interval.occupancy["person"] == pytest.approx((15 + 2 * 15) / 60, abs=0.01)


def test_an_interval_begins_with_who_is_there() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    camera.stay(130, person(1, *INSIDE), dt=1)
    first, second = camera.of(Interval)
    assert (first.counts["entered.person"], second.counts["entered.person"]) == (1, 0)
    assert second.counts["max.person"] == 1
    assert second.occupancy["person"] == 1.0


def test_the_mean_bridges_missed_detections_and_ordinals() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    for n in range(310):
        camera.see(*([person(1 + n // 40, *INSIDE)] if n % 8 < 5 else []))
    (interval,) = camera.of(Interval)
    assert interval.counts == {"max.person": 1, "entered.person": 1}
    assert interval.occupancy["person"] == pytest.approx(1.0, abs=0.02)


def test_a_zones_edge_does_not_flicker() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    for n in range(300):
        camera.see(person(1, 500, 700 + (4 if n % 2 else -4)))
    camera.end()
    assert camera.of(Interval)[0].counts["entered.person"] == 1


def test_what_was_shed_shrinks_what_was_observed() -> None:
    camera = Camera(LINE, Loitering(name="loitering", polygon=SQUARE, dwell_s=30))
    camera.stay(10, person(1, *INSIDE))
    assert camera.engine.shed(10 * TICKS, 40 * TICKS) == []
    camera.see(person(1, *INSIDE), dt=30)
    camera.stay(15, person(1, *INSIDE))
    assert camera.of(AlertRaised) == [], "25 s of dwell were seen"
    camera.stay(6, person(1, *INSIDE))
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(Interval)[0].observed_s == pytest.approx(30.0)
