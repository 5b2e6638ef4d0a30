"""`linli export`: what is in the file, what is in the journal, and what is refused."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from cli import analysing, exporting, settings, wiring
from detectors.detections import NOTHING, Crop, Detections
from events.clock import SystemClock
from events.errors import DiskFull
from events.events import Access
from events.media import rfc3339
from storage.journal import Journal
from storage.rows import SegmentRow
from tests.clipmaker import START_US
from tests.loopmaker import draw, visits
from tests.recorded import open_site, record
from tests.test_cli import run

WHERE = visits((15, 50), (60, 110))
REGION = "0.05,0.05 0.25,0.05 0.25,0.25 0.05,0.25"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with twelve recorded seconds, a reconnection of six, and four more; its face model is real."""
    folder = tmp_path_factory.mktemp("export")
    opened = open_site(folder)
    record(opened, draw(folder / "clip.mp4", 12, WHERE))
    opened.clock.advance(6)
    record(opened, draw(folder / "second.mp4", 4, visits((5, 30))))
    opened.journal.close()
    path = opened.loaded.path
    path.write_text(path.read_text() + '\n[faces]\nmodel = "bright.toml"\n')
    return path


@pytest.fixture
def site(recorded: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(recorded.parent, tmp_path / "site")
    return tmp_path / "site" / "site.toml"


def at(seconds: float) -> str:
    return rfc3339(START_US + round(seconds * 1e6))


def export(site: Path, out: Path, *more: str, span: tuple[float, float] = (0, 11)) -> tuple[int, str, str]:
    return run(
        "export", site, "--camera", "gate", "--from", at(span[0]), "--to", at(span[1]), "--out", out, *more
    )


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]


def journal_of(site: Path) -> Journal:
    return wiring.open_journal(settings.load(site), SystemClock())


def looks(site: Path) -> list[Access]:
    journal = journal_of(site)
    try:
        return [e.event.data for e in journal.read(0, 100, ("access",)) if isinstance(e.event.data, Access)]
    finally:
        journal.close()


def rows(site: Path) -> list[SegmentRow]:
    journal = journal_of(site)
    try:
        return journal.segments("gate", "main")
    finally:
        journal.close()


def footage(site: Path) -> Path:
    return wiring.Paths(settings.load(site).data).footage


def stripes(picture: np.ndarray, n: int) -> float:
    """How well the box of picture n can be made out: steps from row to row within it."""
    left = WHERE(n)
    assert left is not None
    x = round(left)
    return float(np.abs(np.diff(picture[70:140, x + 2 : x + 38], axis=0)).mean())


def there(n: int) -> bool:
    return WHERE(n) is not None


# --- masked


def test_by_itself_people_are_hidden_in_every_picture_and_nothing_else(
    recorded: Path, tmp_path: Path
) -> None:
    code, out, err = export(recorded, tmp_path / "a.mp4", "--json")
    assert code == 0, err
    done = json.loads(out)
    assert done["hidden"] == "faces, people"
    assert done["hidden_whole"] == 0
    plain = tmp_path / "p.mp4"
    assert export(recorded, plain, "--plain", "--purpose", "to compare")[0] == 0
    shown, seen = pictures(tmp_path / "a.mp4"), pictures(plain)
    assert len(shown) == done["pictures"] == 111
    walked = [n for n in range(111) if there(n)]
    assert all(stripes(seen[n], n) > 20 for n in walked)  # else the test says nothing
    assert max(stripes(shown[n], n) for n in walked) < 4
    away = (
        np.abs(shown[0][:50] - seen[0][:50]).mean(),
        np.abs(shown[80][:20, :60] - seen[80][:20, :60]).mean(),
    )
    assert max(away) < 4  # noise of being encoded again


def test_the_file_says_what_it_is_and_has_no_sound(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    code, said, _ = export(recorded, out, "--region", REGION)
    assert code == 0
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video"]
        assert container.streams.video[0].codec_context.name == "h264"
        marking = json.loads(container.metadata["comment"])
    assert (marking["camera"], marking["stream"], marking["masked"]) == ("gate", "main", True)
    assert (marking["start"], marking["end"]) == (at(0), at(11))
    assert [text.split(":")[0] for text in marking["hidden"]] == ["faces", "people", "drawn regions"]
    assert len(marking["regions"][0]) == 4
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.mp4"]
    lines = dict(reversed(line.split("  ")) for line in said.splitlines() if "  " in line)
    assert lines.pop(str(out)) == hashlib.sha256(out.read_bytes()).hexdigest()
    used = [row for row in rows(recorded) if row.start_us <= START_US + 11e6]
    assert lines == {row.path: row.sha256 for row in used}
    assert len(used) == 6


@pytest.mark.parametrize("more", [[], ["--plain", "--purpose", "a test"], ["--mask", "faces"]])
def test_a_region_is_black_in_every_picture(recorded: Path, tmp_path: Path, more: list[str]) -> None:
    code, _, err = export(recorded, tmp_path / "a.mp4", "--region", REGION, *more, span=(3, 5))
    assert code == 0, err
    shown = pictures(tmp_path / "a.mp4")
    assert len(shown) == 21
    for picture in shown:
        inside = picture[9:45, 16:80]
        assert inside.max() < 12 + 16
        assert inside.std() < 3
        assert picture[55:100, 100:].mean() > 40  # the rest is there


def test_faces_alone_are_found_by_the_model_in_every_picture(recorded: Path, tmp_path: Path) -> None:
    """The box is the model's face; the traces know it as a person, whose upper part is hidden."""
    code, out, _ = export(recorded, tmp_path / "a.mp4", "--mask", "faces", "--json")
    assert code == 0
    assert json.loads(out)["with_faces"] >= 80
    shown = pictures(tmp_path / "a.mp4")
    assert max(stripes(shown[n], n) for n in range(111) if there(n)) < 4
    assert looks(recorded)[-1].object.endswith("hidden: faces")


def test_a_face_found_just_before_the_span_is_hidden_in_it(recorded: Path, tmp_path: Path) -> None:
    """The box leaves after picture 49; below what the traces hide of it only the model's look back does."""
    for name, more in (
        ("m", ["--mask", "faces"]),
        ("p", ["--plain", "--region", REGION, "--purpose", "test"]),
    ):
        assert export(recorded, tmp_path / name, *more, span=(5.1, 5.9))[0] == 0
    x = round(WHERE(49) or 0)
    places = [pictures(tmp_path / name)[0][110:145, x + 2 : x + 38] for name in ("m", "p")]
    assert places[0].std() < places[1].std() / 2


class Blind:
    """A face model that finds nothing."""

    digest = ""

    def detect(self, _: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        return NOTHING


def test_where_the_model_finds_no_face_heads_are_hidden_by_the_traces(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysing, "face_detector", lambda *_: Blind())
    assert export(recorded, tmp_path / "a.mp4", "--mask", "faces")[0] == 0
    shown = pictures(tmp_path / "a.mp4")
    for n in filter(there, range(111)):
        x = round(WHERE(n) or 0)
        above, below = shown[n][70:88, x + 2 : x + 38], shown[n][112:140, x + 2 : x + 38]
        assert np.abs(np.diff(above, axis=0)).mean() < 4, n
        assert np.abs(np.diff(below, axis=0)).mean() > 10, n


def test_what_no_trace_covers_is_hidden_whole_and_said(site: Path, tmp_path: Path) -> None:
    for row in rows(site):
        (footage(site) / row.trace_path).unlink()
    code, out, err = export(site, tmp_path / "a.mp4", "--mask", "everything-tracked", "--json")
    assert code == 0
    done = json.loads(out)
    assert done["hidden_whole"] == done["pictures"] == 111
    assert "111 of 111 pictures are hidden whole: no trace tells" in err
    shown = pictures(tmp_path / "a.mp4")
    assert max(stripes(shown[n], n) for n in range(111) if there(n)) < 12


def test_everything_tracked_is_hidden_whatever_it_is(site: Path, tmp_path: Path) -> None:
    for row in rows(site):
        path = footage(site) / row.trace_path
        path.write_text(path.read_text().replace('"person"', '"car"'))
    for masks, hidden in ((["people"], False), (["everything-tracked"], True)):
        out = tmp_path / f"{masks[0]}.mp4"
        assert export(site, out, "--mask", *masks)[0] == 0
        shown = pictures(out)
        assert (max(stripes(shown[n], n) for n in range(111) if there(n)) < 4) == hidden


# --- plain


def test_a_plain_export_is_the_footage_itself(recorded: Path, tmp_path: Path) -> None:
    code, _, err = export(
        recorded, tmp_path / "p.mp4", "--plain", "--purpose", "police  case 7", span=(2.5, 9)
    )
    assert code == 0, err

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(p) for p in container.demux(video=0) if p.size]

    written = packets(tmp_path / "p.mp4")
    stored = [p for row in rows(recorded) for p in packets(footage(recorded) / row.path)]
    assert written == stored[20:91]  # from the keyframe before
    with av.open(str(tmp_path / "p.mp4")) as container:
        marking = json.loads(container.metadata["comment"])
    assert (marking["masked"], marking["hidden"], marking["purpose"]) == (False, [], "police case 7")
    look = looks(recorded)[-1]
    assert (look.plain, look.purpose, look.what, look.allowed) == (True, "police case 7", "footage", True)
    assert look.object == f"gate/main {at(2.5)}/{at(9)} hidden: nothing"
    assert look.who.startswith("cli ")


# --- several epochs, gaps, damage


@pytest.mark.parametrize("more", [[], ["--plain", "--purpose", "a test"]])
def test_a_reconnection_is_joined_and_its_gap_is_told(
    recorded: Path, tmp_path: Path, more: list[str]
) -> None:
    code, out, err = export(recorded, tmp_path / "a.mp4", "--json", *more, span=(10, 30))
    assert code == 0, err
    first, second = json.loads(out)["gaps"]
    assert f"no footage from {first[0]} to {first[1]}" in err
    assert (first[0], second[1]) == (at(11.9), at(30))
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    steps = np.diff(times)
    assert steps.max() == pytest.approx(6.1, abs=0.2)
    assert np.sort(steps)[-2] < 0.15


@pytest.mark.parametrize("harm", ["bytes", "cut", "gone"])
@pytest.mark.parametrize("more", [[], ["--plain", "--purpose", "a test"]])
def test_a_damaged_segment_is_passed_over_and_told(
    site: Path, tmp_path: Path, harm: str, more: list[str]
) -> None:
    row = rows(site)[2]
    path = footage(site) / row.path
    data = bytearray(path.read_bytes())
    match harm:
        case "bytes":
            data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[: len(data) // 3])
        case "gone":
            path.unlink()
    code, out, err = export(site, tmp_path / "a.mp4", "--json", *more)
    assert code == 0, err
    done = json.loads(out)
    assert list(done["passed_over"]) == [row.path]
    assert f"footage {row.path} was passed over: " in err
    assert ("gone" if harm == "gone" else "damaged, or changed") in done["passed_over"][row.path]
    assert row.path not in done["segments"]
    assert len(done["gaps"]) == 1
    assert len(pictures(tmp_path / "a.mp4")) == 91


def test_footage_that_is_damaged_altogether_makes_no_file(site: Path, tmp_path: Path) -> None:
    for row in rows(site):
        (footage(site) / row.path).write_bytes(b"nothing")
    before = looks(site)
    code, _, err = export(site, tmp_path / "a.mp4")
    assert code == 2
    assert "none of the footage of that span can be used" in err
    assert not (tmp_path / "a.mp4").exists()
    assert looks(site) == before


def test_a_recovered_segment_without_a_hash_is_walked_through(site: Path, tmp_path: Path) -> None:
    """What has no hash to compare with must be readable to its end."""
    journal = journal_of(site)
    row = journal.segments("gate", "main")[2]
    journal.put_segment(msgspec.structs.replace(row, sha256=""))
    journal.close()
    code, out, _ = export(site, tmp_path / "a.mp4", "--json")
    assert code == 0
    assert json.loads(out)["passed_over"] == {}
    assert json.loads(out)["segments"][row.path] == row.sha256


# --- the journal first


class Watched(Journal):
    """Notes what lies in the folder when the look becomes durable."""

    folder: Path
    seen: list[list[str]]

    def flush(self) -> None:
        self.seen.append(os.listdir(self.folder))
        super().flush()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Watched]:
    folder = tmp_path / "out"
    folder.mkdir()
    Watched.folder, Watched.seen = folder, []
    monkeypatch.setattr(wiring, "Journal", Watched)
    return Watched


@pytest.mark.parametrize("more", [[], ["--plain", "--purpose", "a test"]])
def test_the_look_is_in_the_journal_before_anything_is_written(
    recorded: Path, watched: type[Watched], more: list[str]
) -> None:
    before = len(looks(recorded))
    watched.seen.clear()
    assert export(recorded, watched.folder / "a.mp4", *more, span=(0, 2))[0] == 0
    assert watched.seen == [[]]
    assert len(looks(recorded)) == before + 1


@pytest.mark.parametrize("more", [[], ["--plain", "--purpose", "a test"]])
def test_without_the_look_in_the_journal_there_is_no_export(
    recorded: Path, watched: type[Watched], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    def full(_: Journal) -> None:
        raise DiskFull("the journal has no room: free some space")

    monkeypatch.setattr(watched, "flush", full)
    code, _, err = export(recorded, watched.folder / "a.mp4", *more, span=(0, 2))
    assert code == 2
    assert "the journal has no room" in err
    assert os.listdir(watched.folder) == []


def test_a_disk_that_fills_up_leaves_nothing(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.cutting.os.replace", no_room)
    code, _, err = export(recorded, tmp_path / "a.mp4", span=(0, 2))
    assert code == 2
    assert "no room to write" in err
    assert os.listdir(tmp_path) == []


# --- refusals


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--region", "0.1,0.1 0.5,0.5"], "it has 2 points; a region needs at least 3"),
        (["--region", "0.1,0.1 1.5,0.5 0.2,0.9"], "the point 1.5,0.5 is outside the picture"),
        (["--region", "0,0 1,1 1,0 0,1"], "its outline crosses"),
        (["--region", "0,0 1,1 nan,0"], "is outside the picture"),
        (["--region", "here"], 'is not "x1,y1 x2,y2 x3,y3 ..."'),
        (["--plain"], "--purpose must say in 4 to 200 characters"),
        (["--plain", "--purpose", " x "], "--purpose must say in 4 to 200 characters"),
        (["--plain", "--purpose", "police", "--mask", "faces"], "--plain hides nobody and --mask does"),
        (["--stream", "sub"], "no footage of gate/sub from "),
        (["--camera", "yard"], "no camera 'yard'; the file has gate"),
        (["--from", "2031-01-01T00:00:00Z"], "does not lie before --to"),
        (["--from", "noon"], "'noon' is not a time"),
        (["--from", at(100), "--to", at(110)], f"there is some between {at(0)} and "),
        (["--out", "/nowhere/a.mp4"], "/nowhere/a.mp4 is in no folder that is there"),
        (["--out", "/tmp"], "/tmp is a folder"),
    ],
)
def test_what_makes_no_sense_is_named(recorded: Path, tmp_path: Path, more: list[str], message: str) -> None:
    before = len(looks(recorded))
    code, _, err = export(recorded, tmp_path / "a.mp4", *more)
    assert code == 2
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("linli: ")]) == 1
    assert os.listdir(tmp_path) == []
    assert len(looks(recorded)) == before


def test_a_file_is_overwritten_only_by_force(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    out.write_bytes(b"precious")
    code, _, err = export(recorded, out, span=(0, 1))
    assert code == 2
    assert "is there already; give another name, or --force" in err
    assert out.read_bytes() == b"precious"
    assert export(recorded, out, "--force", span=(0, 1))[0] == 0
    assert len(pictures(out)) == 11


def test_a_face_model_that_is_not_here_is_asked_for(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINLI_MODELS", str(tmp_path / "none"))
    site.write_text(site.read_text().replace('[faces]\nmodel = "bright.toml"', ""))
    before = looks(site)
    for more in ([], ["--mask", "faces"]):
        code, _, err = export(site, tmp_path / "a.mp4", *more)
        assert code == 2
        assert "`linli models pull centerface` gets it" in err
    assert looks(site) == before
    assert export(site, tmp_path / "a.mp4", "--mask", "people", span=(0, 1))[0] == 0


@pytest.mark.parametrize("change", ["face", "unasked"])
def test_people_that_no_trace_can_know_of_are_not_said_to_be_hidden(
    site: Path, tmp_path: Path, change: str
) -> None:
    text = site.read_text()
    if change == "face":
        start = text.index("[[camera.rules]]")
        text = text[:start] + text[text.index("[faces]") :]
        text = text.replace('url = "rtsp://h/m"', 'url = "rtsp://h/m"\nkind = "face"')
    else:
        text = text.replace('name = "middle"', 'name = "middle"\nlabels = ["car"]')
        text = text.replace('name = "yard"', 'name = "yard"\nlabels = ["car"]')
        text += "\n[privacy]\npixelate = []\n"
    site.write_text(text)
    code, _, err = export(site, tmp_path / "a.mp4")
    assert code == 2
    assert "its traces do not know where people are" in err
    assert "--mask faces" in err
    assert export(site, tmp_path / "a.mp4", "--mask", "faces", span=(0, 1))[0] == 0


def test_the_user_is_the_systems(monkeypatch: pytest.MonkeyPatch, recorded: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("LOGNAME", "somebody else")
    assert export(recorded, tmp_path / "a.mp4", "--mask", "people", span=(0, 1))[0] == 0
    assert looks(recorded)[-1].who == f"cli {exporting.user()}" != "cli somebody else"
