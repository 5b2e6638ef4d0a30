"""Domes and face cameras after a kill: what it took comes again once, and replays the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cli import settings, wiring
from events import codec
from events.clock import ManualClock
from events.events import Event, FaceCaptured, ViewChanged
from pipeline.lane import Lane
from pipeline.meter import Meter
from pipeline.policy import Policy, Unlimited
from pipeline.replay import Replayer
from pipeline.resume import unfinished
from storage.recovery import recover
from storage.references import References
from testbed.dome import Pose
from tests.clipmaker import START_US, packets_of
from tests.kindworks import STOPS, Bright, passing, place, positions, seen_in, still, tour
from tests.loopmaker import Scripted, visits
from tests.recorded import Recorded, record
from tests.siteworks import site_file

DOME = """
kind = "dome"
decode = "lazy"
preset = [{ id = "square" }, { id = "tall" }, { id = "kerb" }]
"""
RULES = """
[[camera.rules]]
kind = "line"
name = "walk"
preset = "square"
points = [[0.5, 0.1], [0.5, 1.0]]
[[camera.rules]]
kind = "intrusion"
name = "yard"
preset = "square"
[[camera.rules]]
kind = "anomaly"
name = "odd"
preset = "tall"
labels = ["person"]
warmup_h = 0
warmup_passes = 0
rate = 1e6
[[camera.rules]]
kind = "stationary"
name = "left"
preset = "kerb"
labels = ["person"]
for_s = 1.0
"""
Open = Callable[[Path], Recorded]


def opened(folder: Path, camera: str, rules: str, detector: Bright) -> Recorded:
    loaded = settings.load(site_file(folder, {"gate": "rtsp://h/m"}, {"gate": camera}, rules))
    clock = ManualClock(START_US)
    paths = wiring.Paths(loaded.data).make()
    model = cast(Any, detector)
    return Recorded(loaded, clock, wiring.open_journal(loaded, clock), model, paths.footage)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Pose], Path]:
    """The dome's clip, where it looked, and a folder of what was learned of its presets."""
    folder = tmp_path_factory.mktemp("filmed")
    poses = tour(folder / "tour.mp4")
    for n, stop in enumerate(STOPS):
        picture = seen_in(still(folder / "still.mp4", stop.preset, 1))
        References(folder / "presets").add("gate", stop.preset, picture, START_US + n, place(stop))
    return folder / "tour.mp4", poses, folder / "presets"


@pytest.fixture(scope="module")
def door_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return passing(tmp_path_factory.mktemp("door") / "door.mp4", 12, visits((15, 40), (60, 90)))


@pytest.fixture
def dome(filmed: tuple[Path, list[Pose], Path]) -> tuple[Open, Path, Policy]:
    clip, poses, presets = filmed

    def make(folder: Path) -> Recorded:
        folder.mkdir(exist_ok=True)
        (folder / "data").mkdir()
        (folder / "data" / "presets").symlink_to(presets)
        return opened(folder, DOME, RULES, Bright())

    return make, clip, Scripted([], set(), None, positions(packets_of(clip)[1], poses, 4))


@pytest.fixture
def door(door_clip: Path) -> tuple[Open, Path, Policy]:
    def make(folder: Path) -> Recorded:
        folder.mkdir(exist_ok=True)
        return opened(folder, 'kind = "face"', "", Bright("face", landmarks=True))

    return make, door_clip, Unlimited()


def said(site: Recorded) -> list[Event]:
    """All that the analysis said, in the journal's order."""
    site.journal.flush()
    return [record.event for record in site.journal.read(0, 5000, ("count", "alert", "view", "face"))]


def plain(events: list[Event]) -> list[tuple[str, str, int]]:
    """Type, rule and media time: all but ids and epochs."""
    return [(e.type, getattr(e.data, "rule", ""), e.pts) for e in events]


def starts_again(site: Recorded) -> Lane:
    """What a worker does at its start."""
    recover(site.footage, site.journal, ["gate"])
    lane = wiring._lane(
        site.loaded, site.loaded.camera("gate"), site.model, site.journal, Meter(lambda: 0), site.clock
    )
    site.journal.flush()
    return lane


def check(kind: tuple[Open, Path, Policy], folder: Path, killed_at: int) -> list[Event]:
    """A run that was killed, resumed and gone on with, against one that was not."""
    make, clip, policy = kind
    whole = make(folder / "whole")
    record(whole, clip, policy)
    expected = [e for e in said(whole) if e.pts < (killed_at - 5) * 9000]
    whole.journal.close()
    site = make(folder / "killed")
    record(site, clip, policy, killed_at=killed_at)
    before = said(site)
    lane = starts_again(site)
    after = said(site)
    assert [codec.encode(e) for e in after[: len(before)]] == [codec.encode(e) for e in before]
    assert plain(after)[: len(expected)] == plain(expected)
    assert not unfinished(site.journal, "gate", "main")
    assert site.journal.stats().conflicts == 0
    site.clock.advance(5)
    record(site, clip, policy, lane=lane)
    numbers: dict[tuple[int, str], list[int]] = {}
    for e in said(site):
        numbers.setdefault((e.epoch, e.family), []).append(e.sequence)
    assert len({epoch for epoch, _ in numbers}) == 2
    assert all(found == list(range(len(found))) for found in numbers.values())
    replayer = Replayer("town", "gate", "main", site.journal, site.footage, site.model)
    difference = replayer.as_seen(site.make_lane)
    assert (difference.missing, difference.extra) == ((), ())
    lost = [e for e in after if e.pts > 9000 * (killed_at - 10)]  # perhaps of pictures that the kill took
    assert len(said(site)) - len(lost) <= difference.same <= len(said(site))
    site.journal.close()
    return expected


@pytest.mark.parametrize("killed_at", [27, 43, 64, 83, 121])
def test_a_killed_dome_is_resumed_and_replayed(
    dome: tuple[Open, Path, Policy], tmp_path: Path, killed_at: int
) -> None:
    expected = check(dome, tmp_path, killed_at)
    if killed_at > 100:
        assert {"view", "alert", "count"} == {e.family for e in expected}
        assert len([e for e in expected if isinstance(e.data, ViewChanged)]) >= 4


@pytest.mark.parametrize("killed_at", [33, 48, 84, 118])
def test_a_killed_face_camera_is_resumed_and_replayed(
    door: tuple[Open, Path, Policy], tmp_path: Path, killed_at: int
) -> None:
    expected = check(door, tmp_path, killed_at)
    assert len([e for e in expected if isinstance(e.data, FaceCaptured)]) == (killed_at > 55) + (
        killed_at > 100
    )
