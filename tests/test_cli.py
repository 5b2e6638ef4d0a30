"""The commands as a person types them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from cli import settings, whole, wiring
from cli.main import main
from events.clock import SystemClock
from events.errors import ConfigError
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.recorded import open_site, record
from tests.siteworks import Site, site_file, until


def run(*args: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site file with twelve recorded seconds behind it."""
    folder = tmp_path_factory.mktemp("cli")
    opened = open_site(folder)
    record(opened, draw(folder / "clip.mp4", 12, visits((15, 40), (60, 100))))
    opened.journal.close()
    return opened.loaded.path


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# --- tail


def test_tail_prints_cloud_events(site: Path) -> None:
    code, out, _ = run("tail", site)
    assert code == 0
    found = events(out)
    assert len(found) > 8
    assert {e["specversion"] for e in found} == {"1.0"}
    assert {e["source"] for e in found} == {"/town/camera/gate"}


def test_tail_chooses_by_type_camera_and_offset(site: Path) -> None:
    alerts = events(run("tail", site, "--type", "alert")[1])
    assert alerts
    assert all(str(e["type"]).startswith("linli.alert.") for e in alerts)
    assert events(run("tail", site, "--camera", "yard")[1]) == []
    everything = events(run("tail", site)[1])
    assert events(run("tail", site, "--since", "3")[1]) == everything[3:]


def test_tail_as_a_group_goes_on_where_it_left_off(site: Path) -> None:
    first = events(run("tail", site, "--group", "office")[1])
    assert first == events(run("tail", site)[1])
    assert events(run("tail", site, "--group", "office")[1]) == []
    assert events(run("tail", site, "--group", "office", "--since", "2")[1]) == first[2:]


def test_a_group_is_done_with_what_it_did_not_ask_for(site: Path) -> None:
    """Else what nobody wants would be kept for it."""
    run("tail", site, "--group", "looks", "--type", "access")
    journal = wiring.open_journal(settings.load(site), SystemClock())
    assert journal.committed("looks") == journal.last_offset() > 0
    journal.close()


def test_a_group_is_forgotten(site: Path) -> None:
    run("tail", site, "--group", "once")
    code, out, err = run("tail", site, "--forget", "once")
    assert (code, out, err) == (0, "", "once is forgotten\n")
    journal = wiring.open_journal(settings.load(site), SystemClock())
    assert "once" not in journal.consumers()
    journal.add_consumer("projector")
    journal.close()
    for name in ("once", "projector"):
        code, _, err = run("tail", site, "--forget", name)
        assert code != 0
        assert f"there is no consumer '{name}' to forget; there is: " in err
        assert "projector" not in err.partition("there is: ")[2]


def test_tail_ends_quietly_when_nobody_reads_on(site: Path) -> None:
    command = f"{sys.executable} -m cli.main tail {site} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"timeout 20 {command}"], capture_output=True, text=True, timeout=30, check=False
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


# --- replay


def test_replay_prints_what_differs_and_answers_with_its_status(site: Path) -> None:
    code, out, _ = run("replay", site, "--camera", "gate", "--as-seen")
    figures = json.loads(out.splitlines()[-1])
    assert code == 0
    assert (figures["missing"], figures["extra"]) == (0, 0)
    assert figures["times_real_time"] > 5
    changed = site.with_name("changed.toml")
    changed.write_text(site.read_text().replace("[0.5, 0.1]", "[0.3, 0.1]"))
    code, out, _ = run("replay", changed, "--camera", "gate", "--as-seen")
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("- ")]
    assert [line for line in out.splitlines() if line.startswith("+ ")]
    code, _, _ = run("replay", changed, "--camera", "gate", "--every-frame", "--json")
    assert code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--camera", "yard"], "no camera 'yard'; the file has gate"),
        (["--camera", "gate", "--from", "yesterday"], "'yesterday' is not a time; write it as"),
        (["--camera", "gate", "--from", "2031-01-01T00:00:00"], "no footage of gate/main in that span"),
    ],
)
def test_replay_refuses_what_is_not_there(site: Path, args: list[str], message: str) -> None:
    code, _, err = run("replay", site, *args)
    assert code == 2
    assert message in err


# --- models, versions


def test_models_are_listed_with_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINLI_MODELS", str(tmp_path))
    code, out, _ = run("models", "list")
    assert code == 0
    assert "* nanodet" in out
    assert "not pulled yet: linli models pull nanodet" in out
    assert "Apache-2.0" in out


def test_an_unknown_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINLI_MODELS", str(tmp_path))
    for command in ("pull", "bench"):
        code, _, err = run("models", command, "tiger")
        assert code == 2
        assert "tiger" in err


# --- run


def mended(site: Path, folder: Path, change: str) -> tuple[int, str]:
    """`linli run` of a site that cannot run."""
    path = site_file(folder, {"gate": "rtsp://127.0.0.1:9/x"})
    model, manifest = folder / "bright.onnx", folder / "bright.toml"
    match change:
        case "key":
            path.write_text("colour = 1\n" + path.read_text())
        case "checksum":
            model.write_bytes(b"another model")
        case "shape":
            manifest.write_text(manifest.read_text().replace("height = 128", "height = 96"))
        case "manifest":
            manifest.unlink()
        case "decoder":
            manifest.write_text(manifest.read_text().replace("detr", "magic"))
        case "site":
            path.write_text(
                path.read_text().replace('id = "town"', f'id = "city"\ndata = "{site.parent}/data"', 1)
            )
            path.write_text(path.read_text().replace('data = "data"\n', "", 1))
        case "journal":
            (folder / "data").mkdir()
            (folder / "data" / "journal.db").write_bytes(b"no database at all, " * 400)
    code, _, err = run("run", path)
    return code, err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("key", ["site.toml", "unknown key `colour`"]),
        ("checksum", ["bright.onnx", "SHA-256"]),
        ("shape", ["1x3x128x128", "1x3x96x128", "[input]"]),
        ("manifest", ["bright.toml"]),
        ("decoder", ["bright.toml", "magic"]),
        ("site", ["'town'", "'city'", "site.data"]),
        ("journal", ["journal.db"]),
    ],
)
def test_what_no_restart_would_mend_is_said_before_anything_starts(
    site: Path, tmp_path: Path, change: str, words: list[str]
) -> None:
    code, err = mended(site, tmp_path, change)
    assert code == 2
    assert err.startswith("linli: ")
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize("shard", ["x", "1/1", "0/0", "-1/2", "2"])
def test_a_shard_that_is_none_is_refused(site: Path, shard: str) -> None:
    code, _, err = run("worker", site, "--shard", shard)
    assert code == 2
    assert "i/n" in err


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    clip = draw(tmp_path_factory.mktemp("footage") / "plain.mp4", 5, visits((12, 36)))
    try:
        server = GstServer({"gate": Mount(clip)}).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()


def test_a_killed_supervisor_leaves_no_orphan_and_the_next_run_waits_for_them(
    camera: GstServer, tmp_path: Path
) -> None:
    """The workers drain by themselves, and nothing of the run stays open."""
    path = site_file(tmp_path, {"gate": camera.url("gate")})
    first = Site(path)
    second: Site | None = None
    try:
        until(lambda: [e for e in first.events() if e.family == "count"], 30, "events flow")
        left = first.children()
        assert len(left) == 2
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        (tmp_path / "next").mkdir()
        second = Site(path, logs=tmp_path / "next")
        assert not psutil.wait_procs(left, 15)[1]
        before = len(first.events())
        until(lambda: len(second.events()) > before + 2 if second else False, 30, "events flow again")
        said = second.end()
    finally:
        first.close()
        if second is not None:
            second.close()
    assert said["events_journaled"] == said["events_stored"]
    assert not [e for e in first.events() if e.family == "alert" and e.epoch == 0]
    assert not list((tmp_path / "data").rglob("*.part"))
    assert "Traceback" not in first.log() + second.log()


def test_the_next_run_begins_only_when_the_last_workers_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "DRAIN_S", 0.3)
    paths = wiring.Paths(settings.load(site_file(tmp_path, {"gate": "rtsp://h/m"})).data).make()
    clock = SystemClock()
    with whole.among_workers(paths), whole.among_workers(paths):
        started = time.monotonic()
        with pytest.raises(ConfigError, match="workers of an earlier run"), whole.alone(paths, clock):
            pass
        assert time.monotonic() - started > 0.3
    second = whole.alone(paths, clock)
    with (
        whole.alone(paths, clock),
        whole.among_workers(paths),
        pytest.raises(ConfigError, match="another `linli run` uses"),
    ):
        second.__enter__()
