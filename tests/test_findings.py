"""What the doctor finds in domes, face cameras, calibrations and sensors."""

from pathlib import Path

import numpy as np
import pytest

from cli import findings, settings
from cli.settings import Settings
from detectors import fetch, manifest
from events.clock import SystemClock
from events.errors import AuthError, ConfigError
from storage.references import References
from testbed.onvif import OnvifDevice
from tests.test_ground import Pinhole, grid, pairs_of

SITE = """
[site]
id = "town"
[[camera]]
id = "dome"
kind = "dome"
url = "rtsp://127.0.0.1/dome"
rules = [{ kind = "line", name = "way", preset = "square", points = [[0.1, 0.5], [0.9, 0.5]] }]
[[camera.preset]]
id = "square"
[[camera.preset]]
id = "lane"
"""


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "site.toml"
    path.write_text(text)
    return settings.load(path)


def test_a_preset_that_is_not_learned_is_told_with_its_mend(tmp_path: Path) -> None:
    site = loaded(tmp_path, SITE)
    dome = site.camera("dome")
    texts = [(f.state, f.text) for f in findings.presets(site, dome)]
    assert [state for state, _ in texts] == ["warn", "warn"]
    assert "'square' is not learned, so none of its rules is ever applied" in texts[0][1]
    assert "linli presets learn SITE --camera dome --preset square" in texts[0][1]
    assert "'lane' is not learned, so it is never recognised" in texts[1][1]
    picture = np.random.default_rng(1).integers(0, 255, (180, 320)).astype(np.uint8)
    References(site.data / "presets").add("dome", "square", picture, 1_700_000_000_000_000)
    left = [(f.state, f.text) for f in findings.presets(site, dome)]
    assert [state for state, _ in left] == ["warn", "ok"]
    assert left[1][1].endswith("square (1)")


def test_a_dome_without_presets_is_told(tmp_path: Path) -> None:
    site = loaded(tmp_path, '[site]\nid = "t"\n[[camera]]\nid = "d"\nkind = "dome"\nurl = "rtsp://h/d"\n')
    (finding,) = findings.presets(site, site.camera("d"))
    assert finding.state == "warn"
    assert "never analysed" in finding.text


def test_a_calibration_that_is_off_is_told(tmp_path: Path) -> None:
    camera = Pinhole()

    def states(noise: float, count: int) -> list[str]:
        step = max(1, len(grid(camera)) // count)
        pairs = pairs_of(camera, grid(camera)[::step][:count], noise)
        rows = ", ".join(f"{{ picture = {list(p.picture)}, place = {list(p.place)} }}" for p in pairs)
        text = f'[site]\nid = "t"\n[[camera]]\nid = "d"\nurl = "rtsp://h/d"\nground = [{rows}]\n'
        return [f.state for f in findings.grounds(loaded(tmp_path, text).camera("d"))]

    assert states(0.0, 9) == ["ok"]
    assert states(0.05, 9) == ["warn"]
    assert states(0.0, 4) == ["ok"]


def test_sensors_that_nothing_is_heard_of_are_told(tmp_path: Path) -> None:
    text = SITE + '[[sensor]]\nid = "level"\ntopic = "canal/level"\n[sensor.fields.level]\nunit = "m"\n'
    (finding,) = findings.sensors(loaded(tmp_path, text), {})
    assert finding.state == "fail"
    broker = text + '[[sensors.mqtt]]\nurl = "mqtt://broker.example"\n'
    (finding,) = findings.sensors(loaded(tmp_path, broker), {})
    assert (finding.state, "broker.example:1883" in finding.text) == ("ok", True)
    with pytest.raises(ConfigError, match=r"broker\.example:1883: .*LOGIN"):
        list(findings.sensors(loaded(tmp_path, broker + 'credentials = "env:LOGIN"\n'), {}))


def test_a_dome_that_does_not_tell_its_position_is_found(tmp_path: Path) -> None:
    pytest.importorskip("onvif")
    with OnvifDevice("guard", "secret") as device:
        address = f"http://127.0.0.1:{device.port}/onvif/device_service"
        text = SITE.replace(
            'kind = "dome"', f'kind = "dome"\nonvif = "{address}"\ncredentials = "file:login"'
        )
        site = loaded(tmp_path, text)
        login = tmp_path / "login"
        login.write_text("guard:secret")
        login.chmod(0o600)
        device.position = (0.25, -0.1, 0.0)
        (finding,) = findings.position(site, site.camera("dome"))
        assert (finding.state, "pan 0.25, tilt -0.1" in finding.text) == ("ok", True)
        login.write_text("guard:wrong")
        with pytest.raises(AuthError, match="refuses the credentials"):
            list(findings.position(site, site.camera("dome")))


def test_face_cameras_say_what_is_kept_and_an_identity_must_be_there(tmp_path: Path) -> None:
    if fetch.present(manifest.named("centerface")) is None:
        pytest.skip("centerface is not on this machine: linli models pull centerface")
    text = '[site]\nid = "t"\n[[camera]]\nid = "d"\nkind = "face"\nurl = "rtsp://h/d"\n'
    (finding,) = findings.faces(loaded(tmp_path, text), SystemClock())
    assert "originals not at all" in finding.text
    with pytest.raises(ConfigError, match=r"identity: .*key\.age is not there"):
        list(findings.faces(loaded(tmp_path, text + '[faces]\nidentity = "key.age"\n'), SystemClock()))
