"""The map's layers as vector tiles (Mapbox Vector Tile 2.1, Web Mercator), the same from both databases.

A tile has everything in it as long as that is not much; then shapes that one could see, or single things of
many, or from afar a point for each cell with its count. A tile's ETag is the layer's state: as long as
nothing has changed, a browser is told so and nothing is drawn.
"""

import math
import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import Annotated, Any

import mapbox_vector_tile
import msgspec
import numpy as np
import shapely
from fastapi import APIRouter, Path
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from city.features import Box
from console.city.context import City, city_of
from console.city.layers import seen_layer
from console.problems import Problem
from storage.city.features import Layer, Window

router = APIRouter(prefix="/tiles", tags=["map"])

MVT = "application/vnd.mapbox-vector-tile"
EXTENT = 4096
DEEPEST = 22
MOST = 2_000
"""Features in a tile."""
FAR = 12
"""Up to this zoom, many points are drawn as one for each cell."""
SHAPES = ("jurisdiction", "estate", "camera-view")
"""Layers whose small things are left out, and not counted."""
_MARGIN = 64 / EXTENT
_WORLD = 20_037_508.342789244
_CACHE_BYTES = 64 << 20

Zoom = Annotated[int, Path(ge=0, le=DEEPEST)]
Number = Annotated[int, Path(ge=0, lt=1 << DEEPEST)]
_TILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The tile; an empty one has no layer.",
        "content": {MVT: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The layer has not changed since."},
}


class TileCache:
    """Tiles by their ETags, the last used ones, up to so many bytes. From any thread."""

    def __init__(self, most: int = _CACHE_BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._tiles: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tag: str) -> bytes | None:
        """The tile; None: it is not kept."""
        with self._lock:
            tile = self._tiles.get(tag)
            if tile is not None:
                self._tiles.move_to_end(tag)
            return tile

    def put(self, tag: str, tile: bytes) -> None:
        """Keep it."""
        with self._lock:
            self._bytes += len(tile) - len(self._tiles.pop(tag, b""))
            self._tiles[tag] = tile
            while self._bytes > self._most:
                self._bytes -= len(self._tiles.popitem(last=False)[1])


_MAKING = threading.Lock()


def _cache_of(request: Request) -> TileCache:
    with _MAKING:
        state = request.app.state
        if not hasattr(state, "tiles"):
            state.tiles = TileCache()
        cache: TileCache = state.tiles
    return cache


@router.get("/{name}/{z}/{x}/{y}.mvt", summary="A vector tile of a layer", responses=_TILE)
def tile(
    request: Request,
    name: Annotated[str, Path(examples=["component"])],
    z: Zoom,
    x: Number,
    y: Number,
) -> Response:
    """Properties are those of the features; `count` is on points that stand for so many."""
    layer, prefix = seen_layer(request, name)
    if x >= 1 << z or y >= 1 << z:
        raise Problem(404, f"zoom {z} has no tile {x}, {y}")
    key = f"{layer.name} {layer.number} {layer.changes} {prefix} {z}/{x}/{y}"
    tag = f'"{blake2b(key.encode(), digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    city = city_of(request)
    cache = _cache_of(request)
    drawn = cache.get(tag)
    if drawn is None:
        drawn = draw(city, layer, prefix, (z, x, y))
        cache.put(tag, drawn)
    return Response(drawn, headers=headers, media_type=MVT)


def draw(city: City, layer: Layer, prefix: str, at: tuple[int, int, int]) -> bytes:
    """The tile's bytes.

    Args:
        prefix: how codes of what is drawn begin.
        at: zoom, column, row.
    """
    bounds = _bounds(at)
    west, south, east, north = _degrees(bounds)
    least = ((east - west) / 256, (north - south) / 256)
    window = Window(bbox=(west, south, east, north), area=prefix)
    features = city.store.features
    found = features.drawn(layer, window, MOST, least if layer.name in SHAPES else (0.0, 0.0))
    every = math.ceil(found.total / MOST)
    if every <= 1 or layer.name in SHAPES:
        return _encoded(layer.name, _shapes(found.texts, bounds, 1))
    if at[0] <= FAR and not prefix:
        near = [c for c in features.clusters(layer) if west <= c.lon <= east and south <= c.lat <= north]
        places = np.array([(c.lon, c.lat) for c in near]).reshape(-1, 2)
        points = shapely.points(_in_tile(_metres(places), bounds)).tolist()
        counted = [
            {"geometry": point, "properties": {"count": c.features}}
            for point, c in zip(points, near, strict=True)
        ]
        return _encoded(layer.name, counted)
    texts = features.sampled(layer, window, every, 2 * MOST)
    return _encoded(layer.name, _shapes(texts, bounds, every))


def _bounds(at: tuple[int, int, int]) -> Box:
    """Of a tile, in metres of Web Mercator (EPSG:3857)."""
    z, x, y = at
    size = 2 * _WORLD / (1 << z)
    return x * size - _WORLD, _WORLD - (y + 1) * size, (x + 1) * size - _WORLD, _WORLD - y * size


def _degrees(bounds: Box) -> Box:
    """The tile and a margin around it, so that what lies on its edge is drawn in both."""
    west, south, east, north = bounds
    margin = (east - west) * _MARGIN

    def lon(x: float) -> float:
        return min(max(x / _WORLD * 180, -180.0), 180.0)

    def lat(y: float) -> float:
        return math.degrees(2 * math.atan(math.exp(y / _WORLD * math.pi)) - math.pi / 2)

    return lon(west - margin), lat(south - margin), lon(east + margin), lat(north + margin)


def _metres(points: NDArray[np.float64]) -> NDArray[np.float64]:
    x = points[:, 0] / 180 * _WORLD
    y = np.log(np.tan((np.clip(points[:, 1], -85.06, 85.06) + 90) * np.pi / 360)) / np.pi * _WORLD
    return np.column_stack([x, y])


def _in_tile(points: NDArray[np.float64], bounds: Box) -> NDArray[np.float64]:
    """Metres as the tile's own whole numbers, upwards."""
    scale = EXTENT / (bounds[2] - bounds[0])
    found: NDArray[np.float64] = np.round((points - np.array([bounds[0], bounds[1]])) * scale)
    return found


def _shapes(texts: list[str], bounds: Box, stands_for: int) -> list[dict[str, Any]]:
    if not texts:
        return []
    size = bounds[2] - bounds[0]
    shapes = shapely.transform(shapely.from_geojson(texts), _metres)
    shapes = shapely.simplify(shapes, size / EXTENT * 2)
    margin = size * _MARGIN
    shapes = shapely.clip_by_rect(
        shapes, bounds[0] - margin, bounds[1] - margin, bounds[2] + margin, bounds[3] + margin
    )
    shapes = shapely.transform(shapes, lambda points: _in_tile(points, bounds))
    return [
        {"geometry": shape, "properties": _properties(text, stands_for)}
        for shape, text in zip(shapes.tolist(), texts, strict=True)
        if shape is not None and not shape.is_empty
    ]


def _properties(text: str, stands_for: int) -> dict[str, Any]:
    whole = msgspec.json.decode(text)
    found = {k: v for k, v in whole["properties"].items() if isinstance(v, (str, int, float, bool))}
    return found | {"id": whole["id"]} | ({"count": stands_for} if stands_for > 1 else {})


def _encoded(name: str, features: list[dict[str, Any]]) -> bytes:
    if not features:
        return b""
    encoded: bytes = mapbox_vector_tile.encode(
        [{"name": name, "features": features}],
        default_options={"extents": EXTENT},
    )
    return encoded
