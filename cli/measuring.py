"""`linli evaluate` and `linli bench streams`: how well it sees, and what it costs, before a site is built."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import click
import msgspec

from detectors import onnx_detector
from events import rules as site_rules
from events.clock import SystemClock
from events.errors import ConfigError
from ingest.footage import FootageSource
from ingest.rtsp import RtspSource
from ingest.source import Source
from pipeline.capacity import Cost, Rig, measure
from pipeline.contract import LoopSettings
from pipeline.evaluate import evaluate as run_evaluation
from pipeline.truth import Line, read_truth

CLIP = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("clip", type=CLIP)
@click.option("--gt", required=True, type=CLIP, help="Ground truth in MOTChallenge form.")
@click.option("--model", default=onnx_detector.DEFAULT, show_default=True)
@click.option("--fps", type=click.FloatRange(0, 60), default=5.0, show_default=True, help="0: every frame.")
@click.option(
    "--line",
    "lines",
    multiple=True,
    help="x1,y1,x2,y2 as fractions of the picture, to count at; may be repeated. Default: its middle.",
)
@click.option("--json", "as_json", is_flag=True)
def evaluate(clip: Path, gt: Path, model: str, fps: float, lines: tuple[str, ...], as_json: bool) -> None:
    """Run a labelled clip: HOTA, MOTA, IDF1 (TrackEval) and the error of counted crossings."""
    detector = onnx_detector.load(model, labels=["person"])
    width, height = _size(clip)
    chosen = [_line(text, width, height) for text in lines or ("0.5,0,0.5,1", "0,0.5,1,0.5")]
    with _bar("evaluating") as move:
        result = run_evaluation(clip, read_truth(gt), detector, fps=fps or None, lines=chosen, progress=move)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    m = result.metrics
    click.echo(f"HOTA {m.hota:.3f}   MOTA {m.mota:.3f}   IDF1 {m.idf1:.3f}   over {m.frames} frames")
    error = "nothing truly crossed" if result.crossing_error is None else f"{result.crossing_error:.1%}"
    click.echo(f"error of crossings: {error}")


def _size(clip: Path) -> tuple[int, int]:
    info = FootageSource(clip, any_codec=True).open().info
    return info.width, info.height


def _line(text: str, width: int, height: int) -> Line:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--line {text!r} is not x1,y1,x2,y2, for example 0.1,0.5,0.9,0.5") from None
    return (x1 * width, y1 * height), (x2 * width, y2 * height)


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:

        def move(done: int, of: int) -> None:
            step = round(1000 * done / of) - bar.pos if of else 0
            if step > 0:
                bar.update(step)

        yield move


@click.group()
def bench() -> None:
    """What this box can do."""


@bench.command()
@click.argument("clip")
@click.option("--streams", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--seconds", type=click.FloatRange(2, 600), default=20.0, show_default=True)
@click.option("--decode", type=click.Choice(["lazy", "full"]), default="lazy", show_default=True)
@click.option("--model", default=onnx_detector.DEFAULT, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def streams(
    clip: str, streams: int, seconds: float, decode: Literal["lazy", "full"], model: str, as_json: bool
) -> None:
    """How many cameras like CLIP this box carries.

    CLIP is a video file (H.264 or H.265, played in real time by each stream, all together) or an
    rtsp:// address (each stream connects to it; only then is RTSP's own cost in the figures).
    """
    clock = SystemClock()
    detector = onnx_detector.load(model)
    urls = [clip] * streams if clip.startswith("rtsp://") else []
    make: Callable[[], Source]
    if urls:
        make = partial(RtspSource, clip, clock=clock)
    else:
        path = Path(clip)
        if not path.is_file():
            raise ConfigError(f"{clip} is neither a file nor an rtsp:// address")
        make = partial(FootageSource, [path] * 50, clock=clock, speed=1.0)
    rules = [site_rules.Line(name="middle", points=((0.5, 0.0), (0.5, 1.0)))]
    with tempfile.TemporaryDirectory(prefix="linli-bench-") as folder:
        rig = Rig([make] * streams, detector, rules, Path(folder), clock, urls)
        cost = measure(
            rig,
            seconds,
            LoopSettings(mode=decode),
            "keyframes" if decode == "lazy" else "all",
            progress=lambda what: click.echo(f"measuring: {what}", err=True),
        )
    if as_json:
        click.echo(msgspec.json.encode(cost).decode())
    else:
        _show(cost)


def _show(cost: Cost) -> None:
    click.echo(f"{cost.ours_ms:.1f} ms of CPU for one second of one stream, {cost.ratio:.2f} times the bare")
    for stage, ms in cost.stages_ms.items():
        click.echo(f"  {stage:8} {ms:8.2f} ms")
    click.echo(
        f"bare: demux {cost.bare_demux_ms:.1f} ms, decoding {cost.bare_decode_ms:.1f} ms, "
        f"inference {cost.bare_infer_ms:.1f} ms"
    )
    click.echo(f"such streams on this box, a fifth left free: {cost.streams_per_box}")


COMMANDS = (evaluate, bench)
