"""`linli ground`: errors pair by pair, polygons, and a site file whose pairs do not fit."""

import json
from pathlib import Path

import msgspec
import pytest
import shapely
from click.testing import CliRunner

from cli import settings, wiring
from cli.main import main
from events.errors import ConfigError
from events.ground import PointPair
from tests.test_ground import Pinhole, grid, pairs_of

SITE = """
[site]
id = "town"
[[camera]]
id = "gate"
url = "rtsp://127.0.0.1/gate"
place = [112.5, 37.8]
"""


def site_file(folder: Path, pairs: list[PointPair]) -> Path:
    path = folder / "site.toml"
    rows = ", ".join(f"{{ picture = {list(p.picture)}, place = {list(p.place)} }}" for p in pairs)
    path.write_text(SITE + f"ground = [{rows}]\n")
    return path


def test_each_pair_is_shown_with_its_error_and_the_views_are_polygons(tmp_path: Path) -> None:
    camera = Pinhole()
    pairs = pairs_of(camera, grid(camera)[::3], noise=0.002)
    site = site_file(tmp_path, pairs)
    shown = CliRunner().invoke(main, ["ground", str(site)])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0].startswith(f"gate: {len(pairs)} pairs, off by 0.")
    assert len(lines) == len(pairs) + 1
    drawn = CliRunner().invoke(main, ["ground", str(site), "--geojson"])
    (feature,) = json.loads(drawn.output)["features"]
    assert shapely.from_geojson(json.dumps(feature["geometry"])).is_valid
    assert feature["properties"]["camera"] == "gate"


def test_pairs_that_do_not_fit_are_an_error_of_the_site_file(tmp_path: Path) -> None:
    camera = Pinhole()
    pairs = pairs_of(camera, grid(camera)[::3])
    wrong = msgspec.structs.replace(pairs[4], place=(pairs[4].place[0] + 0.0007, pairs[4].place[1]))
    with pytest.raises(ConfigError, match=r"camera gate: ground: the pairs do not fit .* pair 5"):
        settings.load(site_file(tmp_path, [*pairs[:4], wrong, *pairs[5:]]))
    with pytest.raises(ConfigError, match="at least four pairs, not 3"):
        settings.load(site_file(tmp_path, pairs[:3]))
    outside = msgspec.structs.replace(pairs[0], place=(190.0, 37.8))
    with pytest.raises(ConfigError, match=r"ground\[0\].place"):
        settings.load(site_file(tmp_path, [outside, *pairs[1:]]))


def test_the_page_is_told_what_each_camera_and_each_preset_of_a_dome_sees(tmp_path: Path) -> None:
    camera = Pinhole()
    pairs = pairs_of(camera, grid(camera)[::3])
    text = site_file(tmp_path, pairs).read_text()
    rows = text.split("ground = ")[1].strip()
    dome = '\n[[camera]]\nid = "dome"\nkind = "dome"\nurl = "rtsp://127.0.0.1/dome"\n'
    presets = f'[[camera.preset]]\nid = "square"\nground = {rows}\n[[camera.preset]]\nid = "lane"\n'
    (tmp_path / "both.toml").write_text(text + dome + presets)
    loaded = settings.load(tmp_path / "both.toml")
    gate, turned = (wiring.camera_view(one) for one in loaded.file.camera)
    assert gate.place == (112.5, 37.8)
    assert gate.view is not None
    assert len(gate.view) >= 4
    assert turned.view is None
    assert [(preset.id, preset.view is not None) for preset in turned.presets] == [
        ("square", True),
        ("lane", False),
    ]
