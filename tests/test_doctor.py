"""`linli doctor`: every trouble is found, named, and told how to mend; a sound site passes."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import settings, whole, wiring
from cli.doctor import Finding, examine
from cli.main import main
from events.clock import SystemClock
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.siteworks import site_file


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    folder = tmp_path_factory.mktemp("footage")
    plain = draw(folder / "plain.mp4", 4, visits())
    mounts = {
        "gate": Mount(plain),
        "jumps": Mount(plain),
        "locked": Mount(plain, user="guard", password="secret word"),
        "longgop": Mount(draw(folder / "long.mp4", 8, visits(), g="40")),
        "refresh": Mount(draw(folder / "refresh.mp4", 4, visits(), **{"intra-refresh": "1"})),
    }
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()


def found(path: Path) -> dict[str, list[Finding]]:
    by: dict[str, list[Finding]] = {}
    for finding in examine(settings.load(path), SystemClock()):
        by.setdefault(finding.what, []).append(finding)
    return by


def states(findings: list[Finding]) -> list[str]:
    return [f.state for f in findings]


def test_cameras_sound_and_not(cameras: GstServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "guard:another word")
    monkeypatch.setattr("cli.doctor.WATCH_S", 6.0)
    urls = {name: cameras.url(name) for name in ("gate", "locked", "longgop", "refresh")}
    path = site_file(
        tmp_path,
        urls | {"nobody": "rtsp://127.0.0.1:9/x", "nologin": cameras.url("gate")},
        {"locked": 'credentials = "env:WRONG"', "nologin": 'credentials = "env:LINLI_NOT_SET"'},
    )
    by = found(path)
    gate = by["camera gate/main"]
    assert set(states(gate)) == {"ok"}
    assert gate[0].figures["size"] == "320x180"
    assert gate[0].figures["fps"] == pytest.approx(10, abs=1)
    assert gate[0].figures["gop_s"] == pytest.approx(1.0, abs=0.1)
    assert any("blind time while asleep: up to 1.0 s" in f.text for f in gate)
    assert "warn" in states(by["camera longgop/main"])
    assert any("set it to 1-2 s" in f.text for f in by["camera longgop/main"])
    assert any("intra refresh" in f.text for f in by["camera refresh/main"])
    assert [(f.state, "check the camera's user" in f.text) for f in by["camera locked/main"]] == [
        ("fail", True)
    ]
    assert [(f.state, "refused the connection" in f.text) for f in by["camera nobody/main"]] == [
        ("fail", True)
    ]
    assert [(f.state, "LINLI_NOT_SET" in f.text) for f in by["camera nologin/main"]] == [("fail", True)]
    for name in ("console", "disk", "fsync", "journal", "model"):
        assert states(by[name]) == ["ok"], by[name]
    assert "another word" not in repr(by)


def test_a_stream_that_jumps_is_a_finding(cameras: GstServer, tmp_path: Path) -> None:
    path = site_file(tmp_path, {"jumps": cameras.url("jumps")})
    findings: list[Finding] = []
    loaded = settings.load(path)
    source = wiring.source(loaded, loaded.camera("jumps"), "main", SystemClock())
    source.open()  # the first client starts the clip
    for finding in examine(loaded, SystemClock()):
        findings.append(finding)
        if finding.what == "model":
            cameras.fault("jumps", "jump", seconds=-2)
    source.close()
    assert findings[-1].what == "camera jumps/main"
    assert findings[-1].state in ("ok", "fail")


def broken(folder: Path, change: str) -> list[Finding]:
    path = site_file(folder, {"gate": "rtsp://127.0.0.1:9/x"})
    data = folder / "data"
    whole.totals(settings.load(path), SystemClock())  # makes journal and store
    match change:
        case "store":
            (data / "store.db").write_bytes(b"no database at all, " * 400)
        case "journal":
            (data / "journal.db").write_bytes(b"no database at all, " * 400)
        case "pages":
            with sqlite3.connect(data / "journal.db") as journal:
                journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with (data / "journal.db").open("r+b") as file:
                file.seek(4096 + 100)
                file.write(bytes(range(256)) * 40)
        case "checksum":
            (folder / "bright.onnx").write_bytes(b"another model")
        case "shape":
            manifest = folder / "bright.toml"
            manifest.write_text(manifest.read_text().replace("width = 128", "width = 96"))
        case "gone":
            (folder / "bright.onnx").unlink()
        case "reserve":
            path.write_text(path.read_text().replace("reserve_gb = 0", "reserve_gb = 1e9"))
        case "open":
            path.write_text(path.read_text().replace("[console]", '[console]\nhost = "0.0.0.0"'))
        case "labels":
            path.write_text(path.read_text().replace('kind = "line"', 'kind = "line"\nlabels = ["tiger"]'))
    return [f for f in examine(settings.load(path), SystemClock()) if f.state == "fail"]


@pytest.mark.parametrize(
    ("change", "what", "words"),
    [
        ("store", "store.db", ["store.db", "damaged", "restore a copy"]),
        ("journal", "journal", ["journal.db"]),
        ("pages", "journal", ["journal.db"]),
        ("checksum", "model", ["SHA-256", "bright.onnx"]),
        ("shape", "model", ["128", "96", "[input]"]),
        ("gone", "model", ["bright.onnx"]),
        ("reserve", "disk", ["less than the reserve", "recording.reserve_gb"]),
        ("open", "console", ["0.0.0.0"]),
        ("labels", "model", ["tiger", "person"]),
    ],
)
def test_each_trouble_is_named_with_its_mend(
    tmp_path: Path, change: str, what: str, words: list[str]
) -> None:
    failed = [f for f in broken(tmp_path, change) if not f.what.startswith("camera")]
    assert failed, change
    texts = " ".join(f"{f.what}: {f.text}" for f in failed)
    assert what in texts
    for word in words:
        assert word in texts


def test_the_command_answers_with_its_exit_status(tmp_path: Path) -> None:
    path = site_file(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"})
    done = CliRunner().invoke(main, ["doctor", str(path), "--json"])
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["what"]: line["state"] for line in lines}["camera gate/main"] == "fail"
    assert "refused the connection" in CliRunner().invoke(main, ["doctor", str(path)]).stdout
