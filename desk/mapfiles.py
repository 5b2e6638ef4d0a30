"""Files with things for the map, row by row: GeoJSON, GeoPackage, CSV with longitude and latitude or WKT.

A row is what the file says, its geometry a shapely one in longitude and latitude. Nothing is judged here but
whether the file and its coordinates can be read.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import shapely

from events.errors import ConfigError

CHUNK = 20_000
GEOGRAPHIC = ("EPSG:4326", "OGC:CRS84", "EPSG:4490")
"""Longitude and latitude on WGS 84; CGCS2000 is the same to a few centimetres."""

GEOMETRY_COLUMNS = ("wkt", "geometry", "geom", "几何")
LON_COLUMNS = ("lon", "lng", "longitude", "x", "经度")
LAT_COLUMNS = ("lat", "latitude", "y", "纬度")


class Raw(NamedTuple):
    """A row as it is in the file."""

    number: int
    """Line of a CSV file, or place in the file, from 1."""
    values: Mapping[str, Any]
    geometry: Any
    """shapely; None: there is none."""
    problem: str = ""
    """Why it cannot be read."""


def read(path: Path, layer: str = "") -> Iterator[list[Raw]]:
    """The rows of a file, some thousands at a time.

    Args:
        layer: of a GeoPackage; '': the only one.

    Raises:
        ConfigError: the file cannot be read at all; the text says why and how to mend it.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    if suffix in (".geojson", ".json"):
        return _geojson(path)
    if suffix in (".csv", ".txt", ".tsv"):
        return _csv(path)
    if suffix in (".gpkg", ".shp", ".fgb"):
        return _ogr(path, layer)
    raise ConfigError(f"{path.name}: send .geojson, .gpkg or .csv")


def length(path: Path, layer: str = "") -> int:
    """About how many rows the file has, for a progress bar."""
    if path.suffix.lower() in (".gpkg", ".shp", ".fgb"):
        import pyogrio

        return int(pyogrio.read_info(path, layer=layer or None)["features"])
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


class _Feature(msgspec.Struct):
    id: str | int | None = None
    properties: dict[str, Any] | None = None
    geometry: msgspec.Raw = msgspec.Raw(b"null")


class _Collection(msgspec.Struct):
    features: list[_Feature]
    crs: dict[str, Any] | None = None


def _geojson(path: Path) -> Iterator[list[Raw]]:
    try:
        whole = msgspec.json.decode(path.read_bytes(), type=_Collection)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path.name} is no GeoJSON FeatureCollection: {error}") from error
    if whole.crs is not None and not any(n in json.dumps(whole.crs) for n in ("4326", "CRS84", "4490")):
        raise ConfigError(f"{path.name} has another reference system; {_mend(path)}")
    for start in range(0, len(whole.features), CHUNK):
        part = whole.features[start : start + CHUNK]
        texts = [bytes(feature.geometry).decode() for feature in part]
        shapes = _shapes(texts, shapely.from_geojson, "null")
        rows: list[Raw] = []
        for n, feature in enumerate(part):
            values = dict(feature.properties or {})
            if feature.id is not None:
                values.setdefault("id", feature.id)
            rows.append(Raw(start + n + 1, values, *shapes[n]))
        yield rows


def _shapes(texts: Sequence[str], parse: Any, empty: str) -> list[tuple[Any, str]]:
    """Each geometry with why it cannot be read."""
    present = [None if text.strip() in ("", empty) else text for text in texts]
    shapes = parse(present, on_invalid="ignore")
    return [
        (shape, f"the geometry {text[:60]!r} cannot be read" if shape is None and text is not None else "")
        for shape, text in zip(shapes.tolist(), present, strict=True)
    ]


def _mend(path: Path) -> str:
    name = path.stem
    return f"write it in longitude and latitude: ogr2ogr -t_srs EPSG:4326 {name}-4326.gpkg {path.name}"


def _ogr(path: Path, layer: str) -> Iterator[list[Raw]]:
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
        if not layer and len(names) > 1:
            raise ConfigError(f"{path.name} has several layers; name one with --layer: {', '.join(names)}")
        if layer and layer not in names:
            raise ConfigError(f"{path.name} has no layer {layer!r}: {', '.join(names)}")
        info = pyogrio.read_info(path, layer=layer or None)
        if info["crs"] not in GEOGRAPHIC and info["geometry_type"] is not None:
            raise ConfigError(f"{path.name} is in {info['crs'] or 'an unknown system'}; {_mend(path)}")
        for start in range(0, int(info["features"]), CHUNK):
            _, _, shapes, columns = pyogrio.raw.read(
                path, layer=layer or None, skip_features=start, max_features=CHUNK
            )
            yield _columns(start, list(info["fields"]), shapes, columns)
    except DataSourceError as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from error


def _columns(start: int, names: list[str], wkb: Any, columns: Sequence[Any]) -> list[Raw]:
    lists = [_plain(column) for column in columns]
    count = len(lists[0]) if lists else len(wkb)
    shapes = [None] * count if wkb is None else shapely.from_wkb(wkb, on_invalid="ignore").tolist()
    rows: list[Raw] = []
    for n in range(count):
        values = {name: column[n] for name, column in zip(names, lists, strict=True)}
        rows.append(Raw(start + n + 1, values, shapes[n]))
    return rows


def _plain(column: Any) -> list[Any]:
    if column.dtype.kind == "M":
        days = column.astype("datetime64[D]")
        only_days = bool(np.all((days == column) | np.isnat(column)))
        texts: list[str] = (days if only_days else column.astype("datetime64[s]")).astype(str).tolist()
        return ["" if text == "NaT" else text for text in texts]
    if column.dtype.kind == "f":
        return [None if value != value else value for value in column.tolist()]
    return list(column.tolist())


def _csv(path: Path) -> Iterator[list[Raw]]:
    try:
        lines = _lines(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from error
    if not lines:
        raise ConfigError(f"{path.name} is empty")
    head = lines[0]
    comma = max((",", "\t", ";"), key=head.count)
    reader = csv.reader(lines, delimiter=comma)
    names = [name.strip() for name in next(reader)]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path.name}: a column stands there twice in its first line")
    lower = {name.lower(): name for name in names}
    wkt = next((lower[name] for name in GEOMETRY_COLUMNS if name in lower), "")
    lon = next((lower[name] for name in LON_COLUMNS if name in lower), "")
    lat = next((lower[name] for name in LAT_COLUMNS if name in lower), "")
    chunk: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cells):
                chunk.append((reader.line_num, cells))
            if len(chunk) >= CHUNK:
                yield _table(chunk, names, (wkt, lon, lat))
                chunk = []
    except csv.Error as error:
        raise ConfigError(f"{path.name}, line {reader.line_num}: {error}") from error
    yield _table(chunk, names, (wkt, lon, lat))


def _lines(data: bytes) -> list[str]:
    """Lines of UTF-8 or GB18030; each as what it is, for files are stuck together of both."""
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    try:
        return [line.decode("utf-8") for line in lines]
    except UnicodeDecodeError:
        return [_decoded(line) for line in lines]


def _decoded(line: bytes) -> str:
    """A line of a file that is not all UTF-8. Some Chinese words in GB18030 happen to be UTF-8, too, but then
    they are no Chinese."""
    try:
        text = line.decode("utf-8")
        if text.isascii() or any("\u3000" <= char <= "\u9fff" or char > "\uff00" for char in text):
            return text
    except UnicodeDecodeError:
        pass
    return line.decode("gb18030", errors="replace")


def _table(chunk: list[tuple[int, list[str]]], names: list[str], placed: tuple[str, str, str]) -> list[Raw]:
    wkt, lon, lat = placed
    rows: list[dict[str, str]] = [dict(zip(names, cells, strict=False)) for _, cells in chunk]
    drawn = _shapes([row.get(wkt, "") for row in rows], shapely.from_wkt, "")
    points, problems = _points([(row.get(lon, ""), row.get(lat, "")) for row in rows])
    found: list[Raw] = []
    for n, (number, cells) in enumerate(chunk):
        shape, problem = drawn[n]
        if shape is None and not problem:
            shape, problem = points[n], problems[n]
        if len(cells) != len(names):
            problem = f"the line has {len(cells)} cells, the first line {len(names)}"
        if "\ufffd" in "".join(cells):
            problem = "its characters are neither UTF-8 nor GB18030"
        values = {name: value.strip() for name, value in rows[n].items() if name not in placed}
        found.append(Raw(number, values, shape, problem))
    return found


def _points(pairs: Sequence[tuple[str, str]]) -> tuple[list[Any], list[str]]:
    numbers = np.full((len(pairs), 2), np.nan)
    problems = [""] * len(pairs)
    for n, (lon, lat) in enumerate(pairs):
        if not lon.strip() and not lat.strip():
            continue
        try:
            numbers[n] = float(lon), float(lat)
        except ValueError:
            problems[n] = f"longitude {lon!r} and latitude {lat!r} are not both numbers"
    whole = np.isfinite(numbers).all(axis=1)
    points: list[Any] = shapely.points(np.nan_to_num(numbers)).tolist()
    return [point if ok else None for point, ok in zip(points, whole.tolist(), strict=True)], problems
