"""The analysis thread: fair by camera, newest pictures win, one camera's failure is its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from detectors.detections import Detections
from events.clock import SystemClock
from events.errors import ModelError
from ingest.packets import Packet, StreamInfo
from pipeline.contract import LoopSettings
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.meter import Meter
from pipeline.policy import Limits, Live
from pipeline.scheduler import Scheduler, SchedulerSettings
from storage import trace
from tests.clipmaker import packets_of
from tests.loopmaker import ANCHOR, Kept, Sees, cut, draw, make_lane, visits

WHERE = visits((5, 120))
"""Somebody walks nearly all the time: every look that is due is wanted."""
FULL = LoopSettings(fps=5, mode="full")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamInfo, list[Packet]]:
    return packets_of(draw(tmp_path_factory.mktemp("scheduler") / "busy.mp4", 12, WHERE))


class Slow(Sees):
    """A model that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(WHERE)
        self.seconds = seconds

    def detect(self, frame, crops=()) -> Detections:  # type: ignore[no-untyped-def]
        time.sleep(self.seconds)
        return super().detect(frame, crops)


def lane(name: str, limits: Limits | None = None, how: LoopSettings = FULL) -> tuple[Lane, Kept]:
    made, kept = make_lane(Live(limits or Limits()), how, clock=SystemClock())
    made.camera = name
    return made, kept


@contextmanager
def running(
    detector: Sees, lanes: list[Lane], auto: frozenset[str] = frozenset(), **how: float
) -> Iterator[Scheduler]:
    shared = dict.fromkeys((lane.camera for lane in lanes), detector)
    made = Scheduler(shared, lanes, auto, SchedulerSettings(**how), SystemClock(), Meter(lambda: 0))  # type: ignore[arg-type]
    made.start()
    try:
        yield made
    finally:
        made.drain(20)


def play(
    lanes: list[Lane], clip: tuple[StreamInfo, list[Packet]], times_real: float, made: Scheduler
) -> None:
    """What their readers would do."""
    info, packets = clip
    arrived = cut(info, packets, [6])
    for one in lanes:
        one.put(Begin(7, info, ANCHOR))
    started = time.monotonic()
    for item in arrived:
        time.sleep(max(0.0, item.packet.dts / 90_000 / times_real - (time.monotonic() - started)))
        for one in lanes:
            one.put(item)
        made.notify()
    for one in lanes:
        one.put(End("stopped"))


def hurry(one: Lane, arrived: list[Arrived], made: Scheduler) -> None:
    for item in arrived:
        one.put(item)
        made.notify()
        time.sleep(0.01)


def test_a_box_that_is_fast_enough_sheds_nothing(clip: tuple[StreamInfo, list[Packet]]) -> None:
    one, kept = lane("gate")
    with running(Sees(WHERE), [one]) as made:
        play([one], clip, 8, made)
    assert one.loop.tally.inferred > 50
    assert (one.loop.tally.refused, one.loop.tally.skipped) == (0, 0)
    assert kept.ends == [(7, "stopped")]


def test_a_box_that_is_too_slow_sheds_and_the_newest_pictures_win(
    clip: tuple[StreamInfo, list[Packet]],
) -> None:
    """Eight times real time with a model of 60 ms: 33 looks a second are wanted, 16 are possible."""
    limits = Limits(refuse_s=1.0, resume_s=0.4, skip_s=3.0)
    two = [lane("gate", limits), lane("yard", limits)]
    lanes = [one for one, _ in two]
    with running(Slow(0.06), lanes) as made:
        play(lanes, clip, 8, made)
        behind = max(one.behind_s for one in lanes)
        started = time.monotonic()
        assert made.drain(20)
        took = time.monotonic() - started
    assert behind < limits.skip_s + 2
    assert took < 1.5  # newest first: nothing of note was left to do
    for one, kept in two:
        assert one.loop.tally.refused + one.loop.tally.skipped > 10
        told = [line for line in kept.lines if isinstance(line, trace.Shed)]
        assert len([line for line in told if line.why == "look"]) == one.loop.tally.refused
        assert kept.ends == [(7, "stopped")]
    looks = [one.loop.tally.inferred for one in lanes]
    assert min(looks) > 8
    assert max(looks) < 2 * min(looks)  # fair by camera


def test_too_many_waiting_bytes_shed_at_the_camera_that_holds_most(
    clip: tuple[StreamInfo, list[Packet]],
) -> None:
    info, packets = clip
    (heavy, _), (light, _) = lane("heavy"), lane("light")
    heavy.put(Begin(7, info, ANCHOR))
    light.put(Begin(7, info, ANCHOR))
    for item in cut(info, packets, [6])[:31]:
        heavy.put(item)
    made = Scheduler(
        dict.fromkeys(("heavy", "light"), Slow(0.0)),
        [heavy, light],
        frozenset(),
        SchedulerSettings(queued_limit=1000),
        SystemClock(),
        Meter(int),
    )
    made.start()
    assert made.drain(10)
    assert heavy.loop.tally.skipped > 0
    assert light.loop.tally.skipped == 0


def test_cameras_on_auto_turn_lazy_under_load_and_full_again(clip: tuple[StreamInfo, list[Packet]]) -> None:
    (auto, kept), (fixed, told) = lane("auto"), lane("fixed")
    info, packets = clip
    arrived = cut(info, packets, [])
    detector = Slow(0.1)
    limits = {"review_s": 0.3, "lazy_above": 0.5, "full_below": 0.4}
    with running(detector, [auto, fixed], frozenset({"auto"}), **limits) as made:
        for one in (auto, fixed):
            one.put(Begin(7, info, ANCHOR))
        hurry(fixed, arrived[:40], made)
        hurry(auto, arrived[:20], made)
        time.sleep(1.0)
        hurry(auto, arrived[20:60], made)
        detector.seconds = 0.0
        time.sleep(2.5)
        hurry(auto, arrived[60:], made)
    assert [line.mode for line in kept.lines if isinstance(line, trace.Mode)][:2] == ["lazy", "full"]
    said = [n.message for n in kept.said if n.what == "decode-mode"]
    assert said[:2] == ["decoding is lazy", "decoding is full"]
    assert not [line for line in told.lines if isinstance(line, trace.Mode)]


def test_a_camera_that_cannot_turn_lazy_does_not_keep_the_others_from_it(
    clip: tuple[StreamInfo, list[Packet]],
) -> None:
    """The first is away, and so never comes to the keyframe at which it would turn."""
    (away, _), (here, kept) = lane("away"), lane("here")
    info, packets = clip
    arrived = cut(info, packets, [])
    limits = {"review_s": 0.2, "lazy_above": 0.3, "full_below": 0.0}
    with running(Slow(0.1), [away, here], frozenset({"away", "here"}), **limits) as made:
        here.put(Begin(7, info, ANCHOR))
        for part in (arrived[:30], arrived[30:60], arrived[60:]):
            hurry(here, part, made)
            time.sleep(0.8)
    assert [line.mode for line in kept.lines if isinstance(line, trace.Mode)][:1] == ["lazy"]


def test_a_failure_at_one_camera_is_not_the_others(clip: tuple[StreamInfo, list[Packet]]) -> None:
    (bad, told), (good, kept) = lane("bad"), lane("good")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bad.loop._analysis._engine.observe = broken  # type: ignore[method-assign,assignment]
    with running(Sees(WHERE), [bad, good]) as made:
        play([bad, good], clip, 20, made)
        assert made.drain(10)
        assert made.failure is None
    assert [(n.what, n.state) for n in told.said] == [("analysis", "raised")]
    assert "recording goes on" in told.said[0].message
    assert good.loop.tally.inferred > 50
    assert kept.ends == [(7, "stopped")]


def test_a_model_that_fails_ends_the_thread_for_the_supervisor(
    clip: tuple[StreamInfo, list[Packet]],
) -> None:
    class Fails(Sees):
        def detect(self, frame, crops=()) -> Detections:  # type: ignore[no-untyped-def]
            raise ModelError("the model gave 3 outputs, its manifest says 2")

    one, _ = lane("gate")
    with running(Fails(WHERE), [one]) as made:
        play([one], clip, 20, made)
        made.drain(5)
    assert not made.alive
    assert isinstance(made.failure, ModelError)


def test_an_idle_thread_costs_next_to_nothing() -> None:
    one, _ = lane("gate")
    with running(Sees(WHERE), [one], review_s=0.2) as made:
        time.sleep(1.5)
        assert made.load < 0.2


def test_each_camera_has_its_own_detector(clip: tuple[StreamInfo, list[Packet]]) -> None:
    """A face camera beside one that looks for people: the pictures go where they belong."""
    info, packets = clip
    (people, _), (faces, _) = lane("people"), lane("faces")
    one, other = Sees(WHERE), Sees(WHERE)
    detectors = {"people": one, "faces": other}
    made = Scheduler(detectors, [people, faces], frozenset(), SchedulerSettings(), SystemClock(), Meter(int))
    people.put(Begin(7, info, ANCHOR))
    for item in cut(info, packets[:60], []):
        people.put(item)
    made.start()
    assert made.drain(20)
    assert one.looks
    assert other.looks == []
