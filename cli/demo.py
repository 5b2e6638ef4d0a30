"""`linli demo`: simulated cameras serve real footage over real RTSP; the site's own processes do the rest."""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from string import Template

import click

from cli import maplibrary, scenes, wiring
from cli import settings as site_settings
from cli.cameras import DemoCameras, free_port
from cli.demo_sensors import DemoSensors
from cli.footage import DemoClip, cache_folder, demo_clips, find_clip, print_progress
from cli.running import supervise
from cli.scale import Engines
from detectors import fetch, manifest, onnx_detector
from events.clock import SystemClock
from storage.captures import FacesSettings

HERE = Path(__file__).parent
OWN = """
[[camera]]
id = "{id}"
url = "$RTSP/{id}/main"
place = [122.5, 35.0]
{sub}
[[camera.rules]]
kind = "line"
name = "middle"
labels = ["person", "car", "truck", "bus", "motorcycle", "bicycle"]
points = [[0.5, 1.0], [0.5, 0.0]]

[[camera.rules]]
kind = "intrusion"
name = "picture"
polygon = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
"""
"""A camera of the user's own file: nothing is known of the scene."""


@click.command()
@click.option("--for", "for_s", type=click.FloatRange(min=5), help="End by itself after so many seconds.")
@click.option(
    "--footage", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Your own video file."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the page.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to keep it; var/demo, for your own footage var/own, with --scale var/scale.",
)
@click.option("--scale", is_flag=True, help="Over real Kafka, S3 and PostGIS, started for the run.")
def demo(for_s: float | None, footage: Path | None, port: int, data: Path | None, scale: bool) -> None:
    """Cameras, worker and page on this machine. The last line is a JSON object of what was done."""
    data = data or Path("var/scale" if scale else "var/own" if footage else "var/demo")
    for name in (onnx_detector.DEFAULT,) if footage else (onnx_detector.DEFAULT, FacesSettings().model):
        model = manifest.named(name)
        if fetch.present(model) is None:
            fetch.pull(model, lambda what, done: print_progress(what, done or 0.0))
    maplibrary.pull(print_progress)
    with wiring.city("the demo"):
        from cli import demo_city
    clips = demo_clips(cache_folder(), footage, print_progress)
    data.mkdir(parents=True, exist_ok=True)
    own = footage is not None
    if not own:
        clips += _scenes(data)
    readings = free_port()
    clock = SystemClock()
    with ExitStack() as stack:
        engines = stack.enter_context(Engines(data / "engines")) if scale else None
        cameras = stack.enter_context(DemoCameras(clips))
        if not own:
            stack.enter_context(DemoSensors(readings, clock))
        site = data / "site.toml"
        rtsp = cameras.url(clips[0].camera).rsplit("/", 2)[0]
        text = site_file(clips, rtsp, port, readings, own=own)
        demo_city.make_tokens(data)
        site.write_text(text + engines.tables if engines else text)
        if engines:
            engines.prepare(site)
        loaded = site_settings.load(site)
        demo_city.prepare(loaded, clock, print_progress)
        done = supervise(loaded, for_s=for_s, ready=lambda: _say(port, site), serve=scale)
    click.echo(json.dumps(done))


def _scenes(data: Path) -> list[DemoClip]:
    """The dome and the face camera; the dome knows its presets."""
    cache = cache_folder()
    source = find_clip(cache, print_progress)
    tour = scenes.tour_clip(cache, source, print_progress)
    scenes.teach(tour, data / "presets", SystemClock())
    return [tour, scenes.door_clip(cache, source, print_progress)]


def site_file(clips: Sequence[DemoClip], rtsp: str, port: int, readings: int, own: bool) -> str:
    """The site file of a run; `own`: of the user's footage, whose cameras the bundled file does not know."""
    text = (HERE / "demo.toml").read_text()
    if own:
        text = text.split("[[camera]]", 1)[0]
        for clip in clips:
            sub = f'sub_url = "$RTSP/{clip.camera}/sub"\n' if clip.sub else ""
            text += OWN.format(id=clip.camera, sub=sub)
    return Template(text.replace("port = 8080", f"port = {port}")).substitute(RTSP=rtsp, READINGS=readings)


def _say(port: int, site: Path) -> None:
    click.echo(f"page: http://127.0.0.1:{port}   site file: {os.path.relpath(site)}   Ctrl-C ends", err=True)


COMMANDS = (demo,)
