"""Tables of the map. A row for each feature that holds now, its GeoJSON text ready; what held before beside.

A feature's `seq` puts what is near on the ground near on the disk: layer (9 bits), a bit that is set if it
has no place, cell along a Hilbert curve (32), number within the cell (21). The index by place is an R*Tree
in SQLite, with the layer as third dimension (where a layer has points alone, their numbers are enough); in
PostgreSQL a PostGIS geometry made from the text, and a GiST index for each layer.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text, event

from storage.city.metadata import METADATA

CELL_BITS = 21
NO_PLACE = 1 << 53
"""Parts of a `seq`."""

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

FEATURES = Table(
    "city_features",
    METADATA,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("layer", Integer, nullable=False),
    Column("id", String, nullable=False),
    Column("area", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("x0", Double),
    Column("y0", Double),
    Column("x1", Double),
    Column("y1", Double),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("valid_us", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("city_features_one_layer_id", "layer", "id", unique=True),
    Index("city_features_by_layer_kind", "layer", "kind", "seq"),
    Index("city_features_by_layer_area", "layer", "area", postgresql_ops={"area": "text_pattern_ops"}),
)
"""`mark`: 8 bytes of the digest of what the row says, to see whether it is another."""

BEFORE = Table(
    "city_features_before",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("layer", Integer, nullable=False),
    Column("id", String, nullable=False),
    Column("area", String, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("to_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("city_features_before_by_layer_id", "layer", "id"),
)
"""What a feature was, from when until when it was said to be so."""

LAYERS = Table(
    "city_layers",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False, unique=True),
    Column("count", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("properties", Text, nullable=False),
    Column("x0", Double),
    Column("y0", Double),
    Column("x1", Double),
    Column("y1", Double),
)
"""`changes` grows with each change; `properties`: JSON object of those that were seen, name -> kind."""

PLACE_SOURCES = Table(
    "city_place_sources",
    METADATA,
    Column("source", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)
"""Last event of each source that was taken."""

VERDICTS = Table(
    "city_alert_verdicts",
    METADATA,
    Column("alert", String, primary_key=True),
    Column("verdict", String, nullable=False),
)
"""Of alerts: a judgement may be heard before the alert."""

BOXES = "city_feature_boxes"

NOT_BY_CELL = f"x0 IS NOT NULL AND (x1 > x0 OR y1 > y0 OR (seq & {NO_PLACE}) <> 0)"
"""Of features with a place: those that reach beyond the cell in their number, or whose cell was full."""
_SQLITE = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {BOXES} USING rtree(id, x0, x1, y0, y1, l0, l1)",
    f"CREATE INDEX IF NOT EXISTS city_features_not_by_cell ON city_features (layer) WHERE {NOT_BY_CELL}",
)
_POSTGRES = (
    "ALTER TABLE city_features ADD COLUMN IF NOT EXISTS geom geometry(Geometry, 4326) "
    "GENERATED ALWAYS AS (ST_SetSRID(ST_GeomFromGeoJSON(body::json ->> 'geometry'), 4326)) STORED",
    "ALTER TABLE city_features ALTER COLUMN body SET STORAGE MAIN",
)
PLACE_INDEX = {"sqlite": _SQLITE, "postgresql": _POSTGRES}
"""Statements that give `city_features` its index by place, after its table was made."""


@event.listens_for(FEATURES, "after_create")
def _place_index(_: Any, connection: Any, **__: Any) -> None:
    for statement in PLACE_INDEX[connection.dialect.name]:
        connection.exec_driver_sql(statement)


@event.listens_for(FEATURES, "before_drop")
def _no_place_index(_: Any, connection: Any, **__: Any) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {BOXES}")


def layer_index(number: int) -> str:
    """PostgreSQL's index by place of one layer: who asks one of thousands does not wade through millions."""
    return (
        f"CREATE INDEX IF NOT EXISTS city_features_place_{number} ON city_features USING gist (geom) "
        f"WHERE layer = {number}"
    )
