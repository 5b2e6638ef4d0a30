"""Replay: the same bytes as seen, what a box without limits sees, and differences that are named."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli import analysing, settings
from events.errors import LinliError, StorageError
from events.events import Crossing, Event
from pipeline import stored
from pipeline.policy import AsSeen
from pipeline.replay import WINDOW_S, Difference, Replayer, match
from pipeline.resume import resume, unfinished
from pipeline.sink import unpack
from storage import trace
from storage.recovery import recover
from tests.clipmaker import START_US
from tests.loopmaker import draw, visits
from tests.recorded import INTRUSION, Recorded, open_site, record
from tests.siteworks import RULE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Twelve seconds, of which two were shed, and twelve more after a pause."""
    folder = tmp_path_factory.mktemp("replay")
    clip = draw(folder / "clip.mp4", 12, visits((15, 40), (60, 100)))
    opened = open_site(folder)
    shed = trace.Shed(from_pts=65 * 9000, to_pts=90 * 9000, why="packets")
    record(opened, clip, AsSeen([shed]))
    opened.clock.advance(30)
    record(opened, clip)
    yield opened
    opened.journal.close()


@pytest.fixture(scope="module")
def b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("replay") / "b.mp4", 6, visits((15, 40)), bf="2")


@pytest.fixture
def replayer(site: Recorded) -> Replayer:
    return Replayer("town", "gate", "main", site.journal, site.footage, site.model)


def test_as_seen_gives_the_same_bytes(site: Recorded, replayer: Replayer) -> None:
    moved: list[float] = []
    found = replayer.as_seen(site.make_lane, progress=moved.append)
    assert (found.missing, found.extra, found.notes) == ((), (), ())
    assert found.same == len(site.events())
    assert found.seconds == pytest.approx(23.8)
    assert moved == sorted(moved)
    assert moved[-1] == pytest.approx(found.seconds)


def test_a_span_begins_at_a_snapshot(site: Recorded, replayer: Replayer) -> None:
    found = replayer.as_seen(site.make_lane, START_US + 6_500_000, START_US + 9_000_000)
    assert (found.missing, found.extra) == ((), ())
    assert 1 <= found.same < len(site.events())
    assert found.seconds < 5


@pytest.mark.parametrize("phase_us", range(0, 2_000_000, 100_000))
def test_an_interval_may_end_at_any_picture(tmp_path: Path, b_frames: Path, phase_us: int) -> None:
    """With B-frames it can be closed after the snapshot of a picture that is shown later."""
    other = open_site(tmp_path)
    other.clock.advance(phase_us / 1e6)
    record(other, b_frames)
    replayer = Replayer("town", "gate", "main", other.journal, other.footage, other.model)
    start = START_US + phase_us
    for span in ((None, None), (start + 2_500_000, start + 3_500_000)):
        found = replayer.as_seen(other.make_lane, *span)
        assert (found.missing, found.extra) == ((), ())
    other.journal.close()


def test_every_frame_shows_what_was_shed(site: Recorded, replayer: Replayer) -> None:
    """The second visit of the first epoch crossed the line while packets were skipped."""
    make = analysing.lane_maker(site.loaded, site.loaded.camera("gate"), site.model, site.clock, full=True)
    found = replayer.every_frame(make)
    assert [e.data.rule for e in found.extra if isinstance(e.data, Crossing)] == ["middle"]
    assert not [e for e in found.missing if isinstance(e.data, Crossing)]


def test_a_changed_rule_is_a_difference(site: Recorded, replayer: Replayer) -> None:
    text = site.loaded.path.read_text()
    changed = site.loaded.path.with_name("changed.toml")
    changed.write_text(text.replace("[[0.5, 0.1], [0.5, 1.0]]", "[[0.2, 0.1], [0.2, 1.0]]"))
    loaded = settings.load(changed)
    make = analysing.lane_maker(loaded, loaded.camera("gate"), site.model, site.clock)
    found = replayer.as_seen(make, to_us=START_US + 12_000_000)
    assert found.missing
    assert found.extra
    assert RULE in text
    assert INTRUSION in text


def test_another_model_is_noted(site: Recorded) -> None:
    class Other:
        digest = "another"
        detect = site.model.detect

    replayer = Replayer("town", "gate", "main", site.journal, site.footage, Other())
    found = replayer.as_seen(site.make_lane)
    assert found.notes == ("the footage was analysed with another model than the one loaded now",)


def test_a_span_without_footage_is_refused(site: Recorded, replayer: Replayer) -> None:
    with pytest.raises(LinliError, match=r"no footage of gate/main in that span"):
        replayer.as_seen(site.make_lane, START_US + 900_000_000)


@pytest.mark.parametrize("lacks", ["gate", "engine"])
def test_what_another_version_left_is_named(
    site: Recorded, replayer: Replayer, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    monkeypatch.setattr(stored, "unpack", lambda blob: {k: v for k, v in unpack(blob).items() if k != lacks})
    with pytest.raises(StorageError, match="another version"):
        replayer.as_seen(site.make_lane, START_US + 6_500_000, START_US + 9_000_000)


def test_a_deleted_segment_splits_the_run(tmp_path: Path) -> None:
    """What is left on both sides of the hole replays the same."""
    clip = draw(tmp_path / "clip.mp4", 12, visits((15, 40), (60, 100)))
    other = open_site(tmp_path)
    record(other, clip)
    rows = sorted(other.journal.segments(), key=lambda row: row.n)
    (other.footage / rows[2].path).unlink()
    other.journal.delete_segment(rows[2].id)
    found = Replayer("town", "gate", "main", other.journal, other.footage, other.model).as_seen(
        other.make_lane
    )
    other.journal.close()
    assert (found.missing, found.extra) == ((), ())
    assert 5 < found.seconds < 10


def test_an_epoch_without_its_newest_segment_replays_the_same(tmp_path: Path) -> None:
    """What is left is not taken for the epoch's end: the alert of the second visit is still open there."""
    other = open_site(tmp_path)
    record(other, draw(tmp_path / "clip.mp4", 12, visits((15, 40), (62, 100))))
    rows = sorted(other.journal.segments(), key=lambda row: row.n)
    for row in rows[4:]:
        (other.footage / row.path).unlink()
        other.journal.delete_segment(row.id)
    found = replay(other)
    other.journal.close()
    assert (found.missing, found.extra) == ((), ())
    assert found.same > 2


def replay(site: Recorded, settings: str = "") -> Difference:
    return Replayer("town", "gate", "main", site.journal, site.footage, site.model, settings).as_seen(
        site.make_lane
    )


def test_other_settings_are_noted(site: Recorded) -> None:
    assert replay(site, "those of now").notes == (
        "the footage was analysed with other rules or settings than those of now",
    )
    made = analysing.lane_maker(site.loaded, site.loaded.camera("gate"), site.model, site.clock, full=True)
    replayer = Replayer("town", "gate", "main", site.journal, site.footage, site.model, "those of now")
    assert len(replayer.every_frame(made).notes) == 1


def test_a_damaged_trace_is_noted_and_replayed(tmp_path: Path) -> None:
    other = open_site(tmp_path)
    record(other, draw(tmp_path / "clip.mp4", 6, visits((15, 40))))
    path = other.footage / other.journal.segments()[0].trace_path
    raw = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*raw[:2], b"{garbage\n", *raw[3:]]))
    found = replay(other)
    other.journal.close()
    assert (found.missing, found.extra) == ((), ())
    assert found.notes == ("the trace is damaged in 1 places: what was decided there is not known",)


@pytest.mark.parametrize("killed_at", [31, 33, 37, 61, 72])
def test_a_resumed_epoch_replays_the_same(tmp_path: Path, killed_at: int) -> None:
    """Events of pictures that the kill took are named, and not called missing."""
    other = open_site(tmp_path)
    record(other, draw(tmp_path / "clip.mp4", 12, visits((15, 40), (60, 100))), killed_at=killed_at)
    recover(other.footage, other.journal)
    for epoch in unfinished(other.journal, "gate", "main"):
        resume(other.journal, epoch, other.footage, other.model, other.make_lane, other.sink)
    other.journal.flush()
    found = Replayer("town", "gate", "main", other.journal, other.footage, other.model).as_seen(
        other.make_lane
    )
    other.journal.close()
    assert (found.missing, found.extra) == ((), ())
    assert found.same >= 2


def crossing(time_s: float, direction: str = "in", label: str = "person") -> Event:
    data = Crossing(rule="middle", direction=direction, label=label, track=1, at=(0.5, 0.5))  # type: ignore[arg-type]
    return Event(
        id=f"{time_s}", source="/town/camera/gate", time_us=int(time_s * 1e6), epoch=1, sequence=0, data=data
    )


def test_matching_is_by_kind_and_nearest_time() -> None:
    had = [crossing(10), crossing(20), crossing(30, "out")]
    got = [crossing(10.5), crossing(20 + WINDOW_S + 0.1), crossing(30, "in"), crossing(9.0)]
    same, missing, extra = match(had, got)
    assert same == 1
    assert missing == had[1:]
    assert extra == got[1:]
    assert match(had, [msgspec.structs.replace(e, id="other") for e in had]) == (3, [], [])
