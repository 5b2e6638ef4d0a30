"""The site file: what is wrong is named with its place and its mend; what is secret is not shown."""

from pathlib import Path

import pytest

from cli import settings, wiring
from events.errors import ConfigError
from events.rules import Line

GOOD = """
[site]
id = "town"
[[camera]]
id = "gate"
url = "rtsp://10.0.0.7/main"
[[camera.rules]]
kind = "line"
name = "middle"
points = [[0.1, 0.5], [0.9, 0.5]]
"""


def load(folder: Path, text: str) -> settings.Settings:
    path = folder / "site.toml"
    path.write_text(text)
    return settings.load(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    said = str(caught.value)
    assert "site.toml" in said
    return said


def camera(**values: str) -> str:
    lines = {"id": '"gate"', "url": '"rtsp://h/m"'} | values
    return '[site]\nid = "town"\n[[camera]]\n' + "\n".join(f"{k} = {v}" for k, v in lines.items())


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)
    gate = loaded.camera("gate")
    assert (gate.transport, gate.decode, gate.analysed, gate.stall_s) == ("tcp", "auto", "main", 5.0)
    assert gate.rules == (Line(name="middle", points=((0.1, 0.5), (0.9, 0.5))),)
    assert loaded.data == tmp_path / "var"
    assert loaded.file.recording.segment_s == 60


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (camera(colour='"red"'), ["camera[0]", "unknown key", "colour"]),
        ("colour = 1\n" + GOOD, ["unknown key", "colour"]),
        (GOOD.replace('name = "middle"\n', ""), ["camera[0].rules[0]", "missing key", "name"]),
        (GOOD + "dead_band = 3\n", ["camera[0].rules[0]", "unknown key", "dead_band"]),
        (GOOD.replace("0.9, 0.5", "900, 500"), ["middle", "fractions", "divide pixels"]),
        (camera(kind='"pistol"'), ["camera[0].kind", "pistol"]),
        (GOOD + '[console]\nhosts = ["cams.example:8080"]\n', ["console.hosts[0]", "regex"]),
        (camera(url='"http://h/m"'), ["gate", "rtsp://"]),
        (camera(url='"rtsp://h:99999/m"'), ["gate", "port"]),
        (camera(id='"Gate 1"'), ["camera[0].id"]),
        (camera(stall_s="0"), ["camera[0].stall_s"]),
        (camera() + '\n[[camera]]\nid = "gate"\nurl = "rtsp://h/x"', ["ids must differ", "gate"]),
        (GOOD + GOOD[GOOD.index("[[camera.rules]]") :], ["rule names must differ", "middle"]),
        ('camera = []\n[site]\nid = "town"', ["at least one"]),
        ("[site\n", ["is not TOML"]),
        ("[recording]\nsegment_s = 1\n" + GOOD, ["recording.segment_s"]),
        ("[recording]\nkeep_days = 'many'\n" + GOOD, ["recording.keep_days"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    said = refused(tmp_path, text)
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    "values",
    [
        {"url": '"rtsp://admin:hunter2@h/m"'},
        {"sub_url": '"rtsp://admin:hunter2@h/m"'},
        {"url": '"rtsp://admin:hunter2/x@h/m"'},
        {"credentials": '"admin:hunter2"'},
        {"credentials": '"hunter2"'},
        {"url": '"http://admin:hunter2@h/m"'},
    ],
)
def test_a_password_in_the_file_is_refused_and_not_shown(tmp_path: Path, values: dict[str, str]) -> None:
    said = refused(tmp_path, camera(**values))
    assert "hunter2" not in said
    assert "gate" in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the site file .*nowhere.toml: No such file"):
        settings.load(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xff\xfe\x00" * 20)
    with pytest.raises(ConfigError, match="is not TOML"):
        settings.load(path)


def test_an_unknown_camera_is_answered_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no camera 'yard'; the file has gate"):
        load(tmp_path, GOOD).camera("yard")


def test_the_environment_moves_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, GOOD)
    monkeypatch.setenv("LINLI_DATA", str(tmp_path / "elsewhere"))
    assert loaded.data == tmp_path / "elsewhere"


def test_the_sub_stream_is_analysed_where_there_is_one(tmp_path: Path) -> None:
    assert load(tmp_path, camera(sub_url='"rtsp://h/s"')).camera("gate").analysed == "sub"


@pytest.mark.parametrize(("cameras", "asked", "cores", "given"), [(1, 0, 8, 1), (17, 0, 8, 2), (40, 0, 2, 2)])
def test_processes_follow_cameras_and_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cameras: int, asked: int, cores: int, given: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    text = '[site]\nid = "town"\n' + f"[workers]\nprocesses = {asked}\n"
    text += "".join(f'[[camera]]\nid = "c{n}"\nurl = "rtsp://h/{n}"\n' for n in range(cameras))
    loaded = load(tmp_path, text)
    assert loaded.processes == given
    assert loaded.processes * loaded.threads <= max(cores, loaded.processes)


def test_credentials_that_are_not_there_name_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATE_LOGIN", raising=False)
    loaded = load(tmp_path, camera(credentials='"env:GATE_LOGIN"'))
    with pytest.raises(ConfigError, match="GATE_LOGIN is not set"):
        wiring.secret(loaded.camera("gate").credentials, tmp_path)
    loaded = load(tmp_path, camera(credentials='"file:gate.secret"'))
    with pytest.raises(ConfigError, match=r"cannot read the credentials file .*gate.secret"):
        wiring.secret(loaded.camera("gate").credentials, tmp_path)
    (tmp_path / "gate.secret").write_text("admin:hunter2\n")
    (tmp_path / "gate.secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        wiring.secret(loaded.camera("gate").credentials, tmp_path)
    assert "hunter2" not in str(caught.value)
    (tmp_path / "gate.secret").chmod(0o600)
    login = wiring.secret(loaded.camera("gate").credentials, tmp_path)
    assert login is not None
    assert (login.user, login.password) == ("admin", "hunter2")


SENSOR = """
[[sensor]]
id = "canal"
topic = "canal"
rules = [{ kind = "silence", name = "silent", quantity = "level", for_s = 60 }]
[sensor.fields.level]
unit = "m"
"""
DOME = GOOD.replace('id = "gate"\n', 'id = "gate"\nkind = "dome"\n').replace(
    "[[camera.rules]]", '[[camera.preset]]\nid = "a"\n[[camera.rules]]\npreset = "a"'
)
JOINT = """
[[joint]]
name = "both"
of = [{ sensor = "canal", rule = "silent" }, { camera = "gate", rule = "middle" }]
"""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (DOME.replace('kind = "dome"', 'kind = "dome"\nonvif = "banana"'), ["gate", "onvif", "http://host"]),
        (
            DOME.replace('kind = "dome"', 'kind = "dome"\nonvif = "http://u:geheim@h/onvif/device_service"'),
            ["gate", "without a login"],
        ),
        (GOOD.replace('id = "gate"\n', 'id = "gate"\nkind = "face"\n'), ["'middle'", 'labels = ["face"]']),
        (GOOD + 'labels = ["face", "person"]\n', ["'middle'", "only a face camera"]),
        (GOOD + SENSOR + JOINT, ["'both'", "no rule 'middle' that raises alerts"]),
        (
            GOOD
            + SENSOR
            + '[[sensors.http.gateway]]\nwho = "works"\ntoken = "env:T"\nsensors = ["cannal"]\n',
            ["'works'", "'cannal'", "there are canal"],
        ),
        (GOOD + SENSOR + 'true_values = ["on"]\nfalse_values = ["off", "on"]\n', ["'on'", "one of them"]),
        (GOOD + '[bus]\nprefix = "bei_xin.linli"\n', ["bei_xin.linli", "write '-' instead of '_'"]),
    ],
)
def test_what_could_never_work_is_refused(tmp_path: Path, text: str, parts: list[str]) -> None:
    said = refused(tmp_path, text)
    assert "geheim" not in said
    for part in parts:
        assert part in said


def test_a_line_that_alerts_may_be_part_of_a_joint_alert(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD + 'alert_on = "in"\n' + SENSOR + JOINT).file.joint[0].name == "both"


def test_a_site_of_sensors_alone(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[site]\nid = "town"\n' + SENSOR)
    assert (loaded.processes, loaded.file.camera) == (0, ())
    assert loaded.threads >= 1
