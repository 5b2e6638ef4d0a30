"""The map as a GeoPackage that QGIS and GDAL open: each layer as one or more of its tables, in WGS 84.

A table of a GeoPackage has one kind of geometry, so a layer with several becomes `component_point`,
`component_line` ...; one without any becomes a table without places.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from city.features import Feature
from city.rights import Actor, decide, reach
from events.errors import AccessDenied, ConfigError
from events.media import rfc3339
from storage.city.features import FeatureTables, Layer, Window

Tick = Callable[[int], None]
"""Told how many features were written."""

CHUNK = 50_000
_FAMILY = {
    "Point": "point", "MultiPoint": "point", "LineString": "line", "MultiLineString": "line",
    "Polygon": "area", "MultiPolygon": "area", "GeometryCollection": "other",
}  # fmt: skip
_OGR = {"point": "Point", "line": "MultiLineString", "area": "MultiPolygon", "other": "GeometryCollection"}
_OWN = ("id", "name", "level", "parent", "since", "until")


def export(
    features: FeatureTables,
    path: Path,
    actor: Actor,
    layers: Sequence[str] = (),
    tick: Tick = lambda _: None,
) -> dict[str, int]:
    """Write layers (none named: all) as far as the actor may see them; answers table -> features.

    Raises:
        ConfigError: the file is there already or cannot be written, or there is no such layer.
        AccessDenied: the actor may not read the map.
    """
    prefix = reach(actor, "map.read")
    if prefix is None:
        raise AccessDenied(decide(actor, "map.read", "*").why)
    if path.suffix.lower() != ".gpkg":
        raise ConfigError(f"{path} must end in .gpkg")
    if path.exists():
        raise ConfigError(f"{path} is there already; give another name")
    known = {layer.name: layer for layer in features.layers()}
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise ConfigError(f"there is no layer {unknown[0]!r}; there are {', '.join(known)}")
    half = path.with_name(f".{path.stem}.half.gpkg")
    half.unlink(missing_ok=True)
    written: dict[str, int] = {}
    try:
        for name in layers or known:
            _write_layer(features, known[name], prefix, half, written, tick)
        if not written:
            raise ConfigError("there is nothing to export")
        half.replace(path)
    except (OSError, pyogrio.errors.DataSourceError) as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error
    finally:
        half.unlink(missing_ok=True)
    return written


def _write_layer(
    features: FeatureTables, layer: Layer, prefix: str, path: Path, written: dict[str, int], tick: Tick
) -> None:
    waiting: dict[str, list[Feature]] = defaultdict(list)
    # Asked first: a table's name depends on whether the layer has other kinds of places, too.
    kinds = {_kind(feature) for feature in features.every(layer.name, Window(area=prefix))}
    for feature in features.every(layer.name, Window(area=prefix)):
        kind = _kind(feature)
        waiting[kind].append(feature)
        if len(waiting[kind]) >= CHUNK:
            _write(path, layer, kind, kinds, waiting.pop(kind), written)
        tick(1)
    for kind, rest in sorted(waiting.items()):
        _write(path, layer, kind, kinds, rest, written)


def _kind(feature: Feature) -> str:
    return "" if feature.geometry is None else _FAMILY[feature.geometry["type"]]


def _write(
    path: Path, layer: Layer, kind: str, kinds: set[str], found: list[Feature], written: dict[str, int]
) -> None:
    table = layer.name.replace("-", "_") + (f"_{kind or 'unplaced'}" if len(kinds) > 1 else "")
    names = [*_OWN, *(name for name in layer.properties if name not in _OWN)]
    columns = [_column([_value(feature, name) for feature in found]) for name in names]
    shapes: Any = None
    if kind:
        texts = [json.dumps(feature.geometry) for feature in found]
        parsed = shapely.from_geojson(texts)
        if kind in ("line", "area"):
            parsed = np.array([_multi(shape) for shape in parsed], dtype=object)
        shapes = shapely.to_wkb(parsed)
    pyogrio.raw.write(
        path,
        shapes,
        field_data=[data for data, _ in columns],
        field_mask=[mask for _, mask in columns],
        fields=names,
        layer=table,
        driver="GPKG",
        geometry_type=_OGR[kind] if kind else None,
        crs="EPSG:4326" if kind else None,
        append=table in written,
    )
    written[table] = written.get(table, 0) + len(found)


def _multi(shape: Any) -> Any:
    if shape.geom_type == "LineString":
        return shapely.multilinestrings([shape])
    return shapely.multipolygons([shape]) if shape.geom_type == "Polygon" else shape


def _value(feature: Feature, name: str) -> Any:
    if name in ("since", "until"):
        at = feature.since_us if name == "since" else feature.until_us
        return rfc3339(at) if at else None
    if name in _OWN:
        return getattr(feature, name) or None
    value = feature.properties.get(name)
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _column(values: Iterable[Any]) -> tuple[Any, Any]:
    """A column's data and which of it is missing: numbers if all are, else text."""
    given = list(values)
    mask = np.array([value is None for value in given])
    present = [value for value in given if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return np.array([bool(value) for value in given]), mask
    if present and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present):
        return np.array([0.0 if value is None else float(value) for value in given]), mask
    return np.array([None if value is None else str(value) for value in given], dtype=object), mask
