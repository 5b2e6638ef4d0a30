"""The capacity planner: its stages add up, its bare cost is bare, and its command says what it found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detectors import onnx_detector
from events.clock import SystemClock
from events.rules import Line
from ingest.footage import FootageSource
from pipeline.capacity import Cost, Rig, infer_ms, measure
from pipeline.contract import LoopSettings
from tests.brightmodel import bright_model
from tests.loopmaker import draw, visits

RULES = [Line(name="middle", points=((0.5, 0.0), (0.5, 1.0)))]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds; something walks all the time."""
    return draw(tmp_path_factory.mktemp("capacity") / "busy.mp4", 6, visits((0, 30), (30, 60)))


def rig(clip: Path, folder: Path, streams: int) -> Rig:
    clock = SystemClock()
    detector = onnx_detector.load(bright_model(folder))

    def source() -> FootageSource:
        return FootageSource([clip] * 5, clock=clock, speed=1.0)

    return Rig([source] * streams, detector, RULES, folder / "site", clock)


@pytest.fixture(scope="module")
def busy(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Cost:
    made = rig(clip, tmp_path_factory.mktemp("busy"), 2)
    return measure(made, 4.0, LoopSettings(mode="full"), "all")


def test_the_stages_are_what_it_costs_in_all(busy: Cost) -> None:
    assert busy.streams == 2
    assert sum(busy.stages_ms.values()) == pytest.approx(busy.ours_ms, rel=0.02)
    for stage in ("demux", "record", "decode", "motion", "convert", "infer", "track", "rules"):
        assert busy.stages_ms[stage] > 0, stage


def test_a_busy_stream_is_looked_at_five_times_a_second(busy: Cost) -> None:
    assert busy.looks_per_s == pytest.approx(5.0, abs=0.8)
    assert busy.bare_infer_ms == pytest.approx(busy.infer_ms * busy.looks_per_s, rel=0.01)


def test_the_ratios_are_of_the_figures_given(busy: Cost) -> None:
    bare = busy.bare_demux_ms + busy.bare_decode_ms + busy.bare_infer_ms
    assert busy.bare_ms == pytest.approx(bare, abs=0.01)
    assert busy.ratio == pytest.approx(busy.ours_ms / busy.bare_ms, abs=0.01)
    assert busy.own_share == pytest.approx(busy.own_ms / busy.bare_ms, abs=0.01)
    assert busy.own_ms < busy.ours_ms - busy.stages_ms["infer"]


def test_keyframes_alone_cost_less_to_decode_than_everything(clip: Path, tmp_path: Path, busy: Cost) -> None:
    lazy = measure(rig(clip, tmp_path, 1), 3.0, LoopSettings(mode="lazy"), "keyframes")
    assert 0 < lazy.bare_decode_ms < busy.bare_decode_ms / 2


def test_a_bare_inference_is_measured(tmp_path: Path) -> None:
    assert 0 < infer_ms(onnx_detector.load(bright_model(tmp_path)), (320, 180), rounds=5) < 100


def test_the_command_answers_in_json_and_names_what_is_no_clip(clip: Path, tmp_path: Path) -> None:
    model = bright_model(tmp_path)
    command = [sys.executable, "-m", "cli.main", "bench", "streams"]
    args = [str(clip), "--streams", "1", "--seconds", "2", "--model", str(model), "--json"]
    done = subprocess.run([*command, *args], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["streams"] == 1
    assert said["streams_per_box"] > 1
    missing = subprocess.run([*command, "no.mp4"], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "no.mp4 is neither a file nor an rtsp:// address" in missing.stderr
