"""Tests of the whole way need people on video and the product's own model."""

import os
from pathlib import Path

import av
import pytest

from cli.footage import cache_folder, demo_clips
from detectors import fetch, manifest, onnx_detector
from events.errors import LinliError


def people_clip() -> Path:
    """The demo's sub-stream of people walking; fetched and encoded once."""
    try:
        clip = demo_clips(cache_folder(), None, lambda *_: None)[0]
    except LinliError as error:
        _missing(f"no footage with people: {error}")
    return clip.sub or clip.main


def default_model() -> None:
    """Have the default model at hand."""
    try:
        fetch.pull(manifest.named(onnx_detector.DEFAULT))
    except LinliError as error:
        _missing(f"no default model: {error}")


def _missing(why: str) -> None:
    if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
        raise RuntimeError(why)
    pytest.skip(why)


def length_s(clip: Path) -> float:
    """Seconds of video in a file."""
    with av.open(str(clip)) as container:
        return float((container.duration or 0) / 1_000_000)
