"""Where something lies beside its jurisdiction: the property estate around it."""

import shapely

from city.features import from_geojson
from events.payload import Place
from storage.city.features import FeatureTables, Window

ESTATE = "estate"
_MOST = 20
"""Estates whose boxes hold one place; there are never so many."""


def estate_at(features: FeatureTables, place: Place | None) -> str:
    """The id of the smallest estate that a place lies in; '': in none.

    Raises:
        StorageError: of the store.
    """
    if place is None:
        return ""
    lon, lat = place
    point = shapely.Point(lon, lat)
    found: list[tuple[float, str]] = []
    for text in features.items(ESTATE, Window(bbox=(lon, lat, lon, lat)), _MOST).texts:
        estate = from_geojson(ESTATE, text)
        shape = shapely.geometry.shape(estate.geometry) if estate.geometry else None
        if shape is not None and shape.covers(point):
            found.append((shape.area, estate.id))
    return min(found, default=(0.0, ""))[1]
