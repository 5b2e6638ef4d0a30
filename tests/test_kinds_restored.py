"""Domes and face cameras in memory, with the real parts: restored from any snapshot they go on the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.shots import BestShots, CaptureArea, ShotSettings
from events import codec
from events.events import AlertRaised, Crossing, FaceCaptured, ViewChanged
from events.media import TICKS
from events.rules import Anomaly, Intrusion, Line, Rule, Stationary
from ingest.packets import Packet, StreamInfo
from ingest.views import Views
from pipeline.analysis import Faces
from pipeline.lane import Lane
from pipeline.policy import AsSeen, Policy
from storage import trace
from testbed.dome import Pose
from tests.clipmaker import packets_of
from tests.kindworks import STOPS, Bright, passing, place, positions, seen_in, still, tour
from tests.loopmaker import Kept, Scripted, cut, make_lane, run_from, run_whole, visits

RULES: tuple[Rule, ...] = (
    Line(name="walk", preset="square", points=((0.5, 0.1), (0.5, 1.0))),
    Intrusion(name="yard", preset="square", clear_s=0.5),
    Anomaly(name="odd", preset="tall", warmup_h=0.0, warmup_passes=0, rate=1e6, clear_s=0.5),
    Stationary(name="left", preset="kerb", for_s=1.5, labels=("person",)),
)
STEP = TICKS // 10
Course = tuple[list[int], list[tuple[int, int]], set[int]]
"""Keyframes at which segments begin, spans to skip, looks to refuse."""


@dataclass(frozen=True)
class Film:
    info: StreamInfo
    packets: list[Packet] = field(repr=False)
    poses: list[Pose] = field(repr=False)
    make: Callable[[Policy], tuple[Lane, Kept]] = field(repr=False)
    detector: Bright

    @property
    def keyframes(self) -> int:
        return sum(packet.keyframe for packet in self.packets)


@pytest.fixture(scope="module")
def dome(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """One tour and a little more: the place where something as high as the picture walks is visited twice."""
    folder = tmp_path_factory.mktemp("dome")
    poses = tour(folder / "tour.mp4", 24)
    pictures = {
        stop.preset: [seen_in(still(folder / f"{stop.preset}.mp4", stop.preset, 1))] for stop in STOPS
    }
    places = {stop.preset: place(stop) for stop in STOPS}

    def make(policy: Policy) -> tuple[Lane, Kept]:
        return make_lane(policy, rules=RULES, views=Views(pictures, places))

    return Film(*packets_of(folder / "tour.mp4"), poses, make, Bright())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Three faces pass, one of them slowly."""
    path = tmp_path_factory.mktemp("door") / "door.mp4"
    passing(path, 24, visits((12, 40), (60, 150), (180, 204)))

    def make(policy: Policy) -> tuple[Lane, Kept]:
        area = CaptureArea(((0.02, 0.0), (0.98, 0.0), (0.98, 1.0), (0.02, 1.0)))
        faces = Faces(area, BestShots(ShotSettings(hold_s=3.0)), True)
        return make_lane(policy, rules=(), faces=faces)

    return Film(*packets_of(path), [], make, Bright("face", landmarks=True))


def said(kept: Kept) -> tuple[list[bytes], list[bytes]]:
    return [codec.encode(e) for e in kept.got], [msgspec.json.encode(line) for line in kept.lines]


@st.composite
def courses(draw_: st.DrawFn) -> Course:
    borders = draw_(st.lists(st.integers(1, 23), min_size=1, max_size=3, unique=True))
    starts = draw_(st.lists(st.integers(0, 200), max_size=2))
    skips = [(n * STEP, n * STEP + draw_(st.integers(1, 25)) * STEP) for n in starts]
    refused = {n * STEP for n in draw_(st.sets(st.integers(0, 220), max_size=25))}
    return borders, skips, refused


class Judging(Scripted):
    """Tells an operator's word on the newest anomaly before one packet, besides what is scripted."""

    kept: Kept

    def judge(self, kept: Kept, pts: int, verdict: str) -> None:
        self.kept, self._pts, self._verdict = kept, pts, verdict

    def told(self, pts: int) -> Sequence[trace.Told]:
        odd = [e.data for e in self.kept.got if isinstance(e.data, AlertRaised) and e.data.rule == "odd"]
        if pts != self._pts or not odd:
            return super().told(pts)
        judged = {"type": "verdict", "pts": pts, "alert": odd[-1].alert, "verdict": self._verdict}
        return [*super().told(pts), msgspec.convert(judged, trace.Verdict)]


def told_by(film: Film, every: int) -> dict[int, list[trace.Told]]:
    return positions(film.packets, film.poses, every)


def check(
    film: Film,
    course: Course,
    told: Mapping[int, Sequence[trace.Told]] | None = None,
    judged: tuple[int, str] = (-1, ""),
    whole: bool = True,
) -> Kept:
    """A run, and what is restored from each of its snapshots. `judged`: at which packet, how. `whole`: from
    the very first one, too."""
    borders, skips, refused = course
    arrived = cut(film.info, film.packets, borders)
    policy = Judging(skips, refused, None, told)
    lane, live = film.make(policy)
    policy.judge(live, film.packets[judged[0]].pts if judged[0] >= 0 else -1, judged[1])
    run_whole(lane, film.detector, film.info, arrived)
    events, lines = said(live)
    assert len(live.snapshots) == 1 + len(borders)
    for blob, pts, n_events, n_lines in list(live.snapshots.values())[0 if whole else 1 :]:
        lane, again = film.make(AsSeen(live.lines))
        run_from(lane, film.detector, film.info, arrived, (blob, pts))
        assert said(again) == (events[n_events:], lines[n_lines:])
        assert again.last == live.last
    return live


def test_the_tour_shows_what_it_is_made_for(dome: Film) -> None:
    live = check(dome, ([3, 14], [], set()), told_by(dome, 5))
    views = [e.data.preset for e in live.got if isinstance(e.data, ViewChanged) and e.data.preset]
    assert views == ["square", "tall", "kerb", "square", "tall", "kerb"]
    raised = [e.data.rule for e in live.got if isinstance(e.data, AlertRaised)]
    assert raised.count("odd") == 2
    assert {"yard", "left"} <= set(raised)
    assert [e for e in live.got if isinstance(e.data, Crossing)]


def test_the_door_shows_what_it_is_made_for(door: Film) -> None:
    live = check(door, ([3, 9, 14], [], set()))
    assert len([e for e in live.got if isinstance(e.data, FaceCaptured)]) == 3


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    course=courses(),
    every=st.sampled_from([0, 3, 40]),
    judged_at=st.integers(100, 235),
    verdict=st.sampled_from(["true", "false", "ignore"]),
)
def test_a_dome_that_learns_goes_on_the_same_from_any_snapshot(
    dome: Film, course: Course, every: int, judged_at: int, verdict: str
) -> None:
    told = told_by(dome, every) if every else {}
    check(dome, course, told, (judged_at, verdict), whole=False)


@settings(max_examples=8, deadline=None)
@given(course=courses())
def test_a_face_camera_goes_on_the_same_from_any_snapshot(door: Film, course: Course) -> None:
    check(door, course, whole=False)
