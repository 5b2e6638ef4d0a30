"""Manifests: the bundled ones hold together, a user's mistakes are named."""

from pathlib import Path

import pytest

from detectors import manifest
from detectors.onnx_detector import DEFAULT
from events.errors import ModelError

GOOD = """
name = "mine"
file = "mine.onnx"
sha256 = "{sha}"
licence = "Apache-2.0"
labels = ["person"]
decoder = "yolox"
[input]
width = 64
height = 64
colour = "bgr"
""".format(sha="0" * 64)


def test_the_bundled_manifests_hold_together() -> None:
    known = manifest.bundled()
    assert next(iter(known)) == DEFAULT
    assert len({m.file for m in known.values()}) == len(known)
    for model in known.values():
        assert model.source is not None
        assert {"person", "car"} <= set(model.names) or model.names == ("face",)


def test_coco_names_are_at_their_numbers() -> None:
    assert len(manifest.COCO80) == 80
    assert len(manifest.COCO90) == 90
    assert manifest.COCO90[0] == "person"
    assert manifest.COCO90[12] == "stop sign"
    assert manifest.COCO90[89] == "toothbrush"
    assert manifest.COCO90[11] == ""


def test_a_user_manifest_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    assert manifest.read(tmp_path / "mine.toml").names == ("person",)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("mine.onnx", "../mine.onnx"), "file"),
        (("0" * 64, "abc"), "sha256"),
        (('"yolox"', '"yolo"'), "decoder"),
        (("width = 64", "width = 64\nsize = 3"), "size"),
        (("width = 64", "width = 64\nstride = 48"), "stride"),
        (('name = "mine"', ""), "name"),
        (("[input]", "[input"), "mine.toml"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ModelError, match=named) as error:
        manifest.read(path)
    assert str(path) in str(error.value)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"known are {DEFAULT}"):
        manifest.named("yolov99")
    with pytest.raises(ModelError, match="No such file"):
        manifest.read(tmp_path / "absent.toml")
