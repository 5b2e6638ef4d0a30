"""`linli ground`: how well the cameras' calibrations fit, and what the cameras see on the map."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import settings as site_settings
from cli.settings import Camera
from events.ground import Ground, PointPair


def calibrations(camera: Camera) -> Iterator[tuple[str, tuple[PointPair, ...]]]:
    """Preset (empty for a camera that does not move) and pairs, of each view that has some."""
    if camera.ground:
        yield "", camera.ground
    for preset in camera.preset:
        if preset.ground:
            yield preset.id, preset.ground


@click.command()
@click.argument("site", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--camera", help="Only this one.")
@click.option("--geojson", is_flag=True, help="The views' polygons instead, as a GeoJSON FeatureCollection.")
def ground(site: Path, camera: str | None, geojson: bool) -> None:
    """Calibration errors, pair by pair, in metres; or where the cameras look."""
    settings = site_settings.load(site)
    cameras = [settings.camera(camera)] if camera else list(settings.file.camera)
    features: list[dict[str, Any]] = []
    for one in cameras:
        for preset, pairs in calibrations(one):
            fit = Ground(pairs)
            features.append(_feature(one, preset, fit))
            if not geojson:
                _show(one, preset, pairs, fit)
    if geojson:
        click.echo(msgspec.json.encode({"type": "FeatureCollection", "features": features}).decode())
    elif not features:
        click.echo("no camera has ground points; add four or more to its [[camera]] as ground = [...]")


def _show(camera: Camera, preset: str, pairs: tuple[PointPair, ...], fit: Ground) -> None:
    name = f"{camera.id}/{preset}" if preset else camera.id
    told = (
        f"off by {fit.error_m:.2f} m" if len(pairs) > 4 else "four pairs always fit; add a fifth as a check"
    )
    click.echo(f"{name}: {len(pairs)} pairs, {told}")
    for pair, residual in zip(pairs, fit.residuals(), strict=True):
        x, y = pair.picture
        lon, lat = pair.place
        without = "" if residual.without is None else f"   {residual.without:7.2f} m by the others alone"
        click.echo(f"  ({x:.3f}, {y:.3f}) -> {lon:.6f}, {lat:.6f}   off {residual.metres:7.2f} m{without}")


def _feature(camera: Camera, preset: str, fit: Ground) -> dict[str, Any]:
    ring = fit.view()
    return {
        "type": "Feature",
        "properties": {"camera": camera.id, "preset": preset, "error_m": round(fit.error_m, 3)},
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]} if ring else None,
    }


COMMANDS = (ground,)
