"""References on disk, and the commands that teach and list presets."""

import os
import pwd
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from events.clock import ManualClock
from events.errors import StorageError
from events.events import Access
from events.media import rfc3339
from ingest.footage import FootageSource
from ingest.gate import Luma
from ingest.views import PtzPosition, Views
from storage.journal import Journal
from storage.references import ACROSS, MOST, References
from storage.segments import SegmentWriter
from testbed.dome import DomeSpec, Stop, film
from testbed.onvif import OnvifDevice
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.clipmaker import START_US
from tests.conftest import need_server

PLACE = PtzPosition(pan=0.25, tilt=-0.5, zoom=0.0)


def scene(seed: int, size: tuple[int, int] = (640, 360)) -> Luma:
    """A drawn place with blocks and edges."""
    rng = np.random.default_rng(seed)
    small = rng.integers(20, 235, (size[1] // 20, size[0] // 20)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST), (0, 0), 1.5))


# --- on disk


@pytest.fixture
def references(tmp_path: Path) -> References:
    return References(tmp_path / "presets")


def test_nothing_was_learned(references: References) -> None:
    learned = references.load("dome")
    assert (learned.pictures, learned.positions, learned.digest) == ({}, {}, "")


def test_what_is_kept_comes_back_small(references: References) -> None:
    path = references.add("dome", "gate", scene(1), START_US, PLACE)
    references.add("dome", "gate", scene(2), START_US + 1)
    references.add("other", "gate", scene(3), START_US)
    learned = references.load("dome")
    assert path.parent.name == "gate"
    assert [p.shape for p in learned.pictures["gate"]] == [(180, ACROSS), (180, ACROSS)]
    assert learned.positions == {"gate": PLACE}
    whole = cv2.resize(learned.pictures["gate"][0], (640, 360)).astype(int)
    assert np.abs(whole - scene(1)).mean() < 8
    views = Views(learned.pictures, learned.positions)
    assert [views.see(n * 18_000, scene(2)) for n in range(1, 6)][-2].preset == "gate"  # type: ignore[union-attr]


def test_the_digest_follows_pictures_positions_and_names(references: References) -> None:
    references.add("dome", "gate", scene(1), START_US)
    seen = [references.load("dome").digest]
    references.add("dome", "gate", scene(2), START_US + 1)
    seen.append(references.load("dome").digest)
    references.add("dome", "gate", scene(2), START_US + 1, PLACE)
    seen.append(references.load("dome").digest)
    references.forget("dome", "gate")
    references.add("dome", "yard", scene(1), START_US)
    seen.append(references.load("dome").digest)
    assert len(set(seen)) == 4
    assert references.load("dome").digest == seen[-1]


def test_there_is_a_most_and_a_way_to_start_over(references: References) -> None:
    for n in range(MOST):
        references.add("dome", "gate", scene(n), START_US + n, PLACE)
    with pytest.raises(StorageError, match="--replace"):
        references.add("dome", "gate", scene(9), START_US + 9)
    references.add("dome", "gate", scene(9), START_US + 9, replace=True)
    learned = references.load("dome")
    assert len(learned.pictures["gate"]) == 1
    assert learned.positions == {}


def test_a_half_written_picture_is_not_there_and_a_damaged_one_is_named(references: References) -> None:
    path = references.add("dome", "gate", scene(1), START_US)
    path.with_name(f".{path.name}.1-1.half").write_bytes(b"\x89PNG")
    assert len(references.load("dome").pictures["gate"]) == 1
    other = references.add("dome", "lane", scene(2), START_US)
    path.write_bytes(path.read_bytes()[:40])
    learned = references.load("dome")
    assert list(learned.pictures) == ["lane"], "a damaged picture costs its preset, not the site its start"
    (text,) = learned.damaged
    assert path.name in text
    assert "learn the preset again" in text
    other.unlink()


def test_forgetting_what_was_never_learned(references: References) -> None:
    references.forget("dome", "gate")


# --- the commands

SITE = """
[site]
id = "town"
data = "data"

[[camera]]
id = "dome"
kind = "dome"
url = "{url}"
{more}
[[camera.preset]]
id = "gate"
[[camera.preset]]
id = "yard"

[[camera]]
id = "wall"
url = "rtsp://127.0.0.1:9/wall"
"""
WAY = (
    Stop(preset="gate", x=0.3, y=0.4, width=0.4, dwell_s=4),
    Stop(preset="yard", x=0.7, y=0.6, width=0.4, dwell_s=4, move_s=1),
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a dome sends that rests at `gate` or `yard`, goes from one to the other, or shows a wall."""
    folder = tmp_path_factory.mktemp("dome")
    world = np.vstack([scene(5, (960, 720)), np.full((360, 960), 128, np.uint8)])
    blank = np.full((1080, 960), 128, np.uint8)
    specs = {
        "gate": DomeSpec(stops=WAY, seconds=4, fixed="gate"),
        "yard": DomeSpec(stops=WAY, seconds=4, fixed="yard"),
        "tour": DomeSpec(stops=WAY, seconds=9, light=0),
        "blank": DomeSpec(stops=WAY, seconds=3, fixed="gate", light=0),
    }
    for name, spec in specs.items():
        film(folder / f"{name}.mp4", [blank if name == "blank" else world], Fraction(10), spec)
    return {name: folder / f"{name}.mp4" for name in specs}


@pytest.fixture(scope="module")
def server(clips: dict[str, Path]) -> Iterator[GstServer]:
    try:
        running = GstServer({name: Mount(clip) for name, clip in clips.items()}).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield running
    running.close()


class Town:
    """A site with one dome."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "site.toml"
        self.kept = References(folder / "data" / "presets")

    def looks_at(self, url: str, more: str = "") -> "Town":
        self.file.write_text(SITE.format(url=url, more=more))
        return self

    def learn(self, preset: str, *more: str) -> Result:
        words = ["presets", "learn", str(self.file), "--camera", "dome", "--preset", preset, *more]
        return CliRunner().invoke(main, words)

    def list(self, *more: str) -> Result:
        return CliRunner().invoke(main, ["presets", "list", str(self.file), *more])


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path).looks_at("rtsp://127.0.0.1:9/none")


def test_learning_from_the_live_camera(town: Town, server: GstServer) -> None:
    done = town.looks_at(server.url("gate")).learn("gate")
    assert done.exit_code == 0, done.output
    assert "1 of at most 6" in done.output
    town.looks_at(server.url("yard"))
    assert town.learn("yard").exit_code == 0
    assert set(town.kept.load("dome").pictures) == {"gate", "yard"}
    listed = town.list("--now").output
    assert "dome: it looks at yard" in listed
    assert "wall" not in listed


def test_another_presets_view_is_refused(town: Town, server: GstServer) -> None:
    town.looks_at(server.url("gate")).learn("gate")
    refused = town.learn("yard")
    assert refused.exit_code == 2
    assert "looks at preset 'gate' now" in refused.output
    assert set(town.kept.load("dome").pictures) == {"gate"}


def test_a_bare_wall_is_refused(town: Town, server: GstServer) -> None:
    refused = town.looks_at(server.url("blank")).learn("gate")
    assert refused.exit_code == 2
    assert "too little to see" in refused.output


def test_the_position_is_learned_and_shown(town: Town, server: GstServer, tmp_path: Path) -> None:
    secret = tmp_path / "login"
    secret.write_text("guard:hush")
    secret.chmod(0o600)
    with OnvifDevice("guard", "hush") as device:
        device.position = (0.25, -0.5, 0.0)
        more = f'onvif = "{device.url}"\ncredentials = "file:{secret}"'
        town.looks_at(server.url("gate"), more)
        done = town.learn("gate")
        assert done.exit_code == 0, done.output
        assert town.kept.load("dome").positions == {"gate": PLACE}
        assert "pan +0.250" in town.list().output
        device.position = (-0.25, -0.5, 0.0)
        assert "looks at no preset" in town.list("--now").output
        device.moving = True
        refused = town.learn("gate")
        assert "says that it moves" in refused.output
        assert "hush" not in refused.output + done.output


def test_learning_from_footage(
    town: Town, clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture that is kept was a look at footage, and is told; else it is not kept."""
    clock = ManualClock(START_US)
    journal = Journal(tmp_path / "data" / "journal.db", clock)
    source = FootageSource(clips["tour"], start_us=START_US)
    opened = source.open()
    epoch = journal.open_epoch("dome", "main", opened.info, opened.anchor)
    writer = SegmentWriter(
        tmp_path / "data" / "footage", "dome", "main", epoch, opened.info, journal, segment_s=3.0
    )
    for packet in source.packets():
        writer.write(packet)
    writer.close()
    journal.close()

    def at(seconds: float) -> str:
        return rfc3339(START_US + int(seconds * 1e6))

    assert town.learn("gate", "--at", at(1.5)).exit_code == 0
    moved = town.learn("yard", "--at", at(4.0))
    assert moved.exit_code == 2
    assert "moved" in moved.output
    assert "looks at preset 'gate'" in town.learn("yard", "--at", at(2.5)).output
    assert town.learn("yard", "--at", at(6.5)).exit_code == 0
    assert set(town.kept.load("dome").pictures) == {"gate", "yard"}
    before = [path.name for path in town.kept.files("dome", "yard")]
    assert "there is no footage" in town.learn("yard", "--at", at(60)).output
    assert [look.object for look in looks(tmp_path)] == ["dome/gate", "dome/yard"]
    (who, other) = (look.who for look in looks(tmp_path))
    assert who == other == f"cli {pwd.getpwuid(os.getuid()).pw_name}"
    assert looks(tmp_path)[0] == Access(
        who=who, what="preset", object="dome/gate", plain=True, purpose="learn preset", allowed=True
    )
    with monkeypatch.context() as full:
        full.setattr(Journal, "flush", no_room)
        refused = town.learn("yard", "--at", at(6.5), "--replace")
    assert refused.exit_code != 0
    assert "no room" in refused.output
    assert [path.name for path in town.kept.files("dome", "yard")] == before


def looks(folder: Path) -> list[Access]:
    journal = Journal(folder / "data" / "journal.db", ManualClock(START_US))
    try:
        events = [record.event.data for record in journal.read(0, 99, ("access",))]
    finally:
        journal.close()
    return [data for data in events if isinstance(data, Access)]


def no_room(_: Journal) -> None:
    raise StorageError("no room")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["learn", "--camera", "wall", "--preset", "gate"], "is no dome"),
        (["learn", "--camera", "dome", "--preset", "roof"], "the site file has gate, yard"),
        (["learn", "--camera", "none", "--preset", "gate"], "no camera 'none'"),
        (["learn", "--camera", "dome", "--preset", "gate", "--at", "soon"], "not a time"),
        (["list", "--camera", "wall"], "is no dome"),
    ],
)
def test_mistakes_are_named(town: Town, words: list[str], says: str) -> None:
    done = CliRunner().invoke(main, ["presets", words[0], str(town.file), *words[1:]])
    assert done.exit_code == 2
    assert says in done.output


def test_the_list_says_what_is_missing_and_what_is_left_over(town: Town) -> None:
    town.kept.add("dome", "gate", scene(1), START_US)
    town.kept.add("dome", "roof", scene(2), START_US)
    lines = town.list().output.splitlines()
    assert lines[0] == "dome"
    assert lines[1].split() == ["gate", "1", "picture"]
    assert "not learned yet" in lines[2]
    assert "roof" in lines[3]
    assert "no [[camera.preset]]" in lines[3]
