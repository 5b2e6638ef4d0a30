"""Rows of a file become features of the map, or are rejected with the reason and the mend."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import shapely

from city.components import ComponentTable
from city.features import Feature
from city.jurisdictions import Jurisdictions, level_of
from city.layers import KINDS, flaw
from city.rights import Actor, decide
from desk.mapfiles import Raw
from events.media import parse_rfc3339

FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "code", "objcode", "编码", "编号", "代码", "标识码"),
    "name": ("name", "名称"),
    "level": ("level", "级别"),
    "parent": ("parent", "grid", "area", "网格", "所属网格", "网格编码", "上级"),
    "since": ("since", "起始日期", "普查日期"),
    "until": ("until", "截止日期"),
}
"""Field of a feature -> columns that mean it where the mapping says nothing, the first that is there."""

WHY, ROW = "_why", "_row"
"""Columns that a report of rejected rows adds; they are passed over when it is sent again."""

PERSONAL = ("phone", "mobile", "tel", "email", "idcard", "id_number", "contact", "身份证", "手机", "电话",
            "联系人", "联系方式", "邮箱")  # fmt: skip
"""Columns with such words are left out: the map is no register of persons, and nothing on it is encrypted."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST = 2_000


class Rejected(msgspec.Struct, frozen=True):
    """A row that was not taken."""

    row: int
    id: str
    field: str
    why: str


class Refusal(Exception):
    """Why a row is not taken, for `Checker` alone."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class Checker:
    """Makes features of one kind from rows.

    Args:
        what: the kind.
        fields: field or property -> column; what is not in it is found by `FIELDS`, or keeps its name.
        tree: the jurisdictions that there are.
        city: division code of what is served.
        zone: in which days begin.
        actor: whose rows they are: nothing outside its jurisdiction is taken.
    """

    def __init__(
        self,
        what: str,
        *,
        fields: Mapping[str, str],
        tree: Jurisdictions,
        city: str,
        table: ComponentTable,
        zone: ZoneInfo,
        actor: Actor,
    ) -> None:
        self._what = what
        self._kind = KINDS[what]
        self._fields = fields
        self._tree = tree
        self._city = city
        self._table = table
        self._zone = zone
        self._actor = actor
        self._seen: dict[str, int] = {}
        self._days: dict[str, int] = {}
        self._columns: dict[str, str] | None = None
        self.left_out: set[str] = set()
        self.rejected: list[tuple[Rejected, Raw]] = []

    def features(self, rows: Sequence[Raw]) -> list[tuple[Feature, Raw]]:
        """Those of the rows that are in order; the others are in `rejected`."""
        shapes = _tidy([row.geometry for row in rows])
        valid = shapely.is_valid(shapes)
        reasons = {n: shapely.is_valid_reason(shapes[n]) for n in np.flatnonzero(~valid).tolist()}
        places = self._located(shapes)
        texts = shapely.to_geojson(shapes).tolist()
        found: list[tuple[Feature, Raw]] = []
        for n, row in enumerate(rows):
            try:
                if row.problem:
                    raise Refusal("geometry" if "geometry" in row.problem else "row", row.problem)
                if shapes[n] is not None and n in reasons:
                    raise Refusal("geometry", f"it crosses itself or is no figure: {reasons[n]}")
                found.append((self._feature(row, texts[n], shapes[n], places[n]), row))
            except Refusal as refusal:
                self.reject(row, self._id(row), refusal.field, str(refusal))
        return found

    def reject(self, row: Raw, id: str, field: str, why: str) -> None:
        """Note a row as not taken."""
        self.rejected.append((Rejected(row.number, id[:64], field, why), row))

    def _feature(self, row: Raw, text: str | None, shape: Any, located: str) -> Feature:
        columns = self._mapped(row)
        id = self._id(row)
        if id in self._seen:
            raise Refusal("id", f"the id {id!r} stands in row {self._seen[id]} already")
        values = {target: row.values.get(column) for target, column in columns.items()}
        since, until = (self._moment(name, values.pop(name, None)) for name in ("since", "until"))
        own = {name: str(values.pop(name, None) or "").strip() for name in ("name", "level", "parent")}
        values.pop("id", None)
        geometry = None if text is None else msgspec.json.decode(text)
        feature = Feature(
            id=id,
            what=self._what,
            **self._placed(id, own, shape, located),
            geometry=geometry,
            properties={k: fact for k, v in values.items() if (fact := _fact(k, v)) is not None},
            since_us=since,
            until_us=until,
        )
        if self._what == "component":
            feature = self._classed(feature)
        field, why = flaw(feature, self._city, self._table)
        if why:
            raise Refusal(field, why)
        for day in self._kind.dates:
            if (text_ := str(feature.properties.get(day) or "")) and not _DAY.fullmatch(text_):
                raise Refusal(day, f"{day} {text_!r} must be a day like 2026-01-31")
        decision = decide(self._actor, "map.write", feature.area)
        if not decision.allowed:
            raise Refusal("parent", decision.why)
        self._seen[id] = row.number
        return feature

    def _classed(self, feature: Feature) -> Feature:
        known = self._table.of(feature.id)
        if known is None:
            return feature
        return msgspec.structs.replace(
            feature,
            name=feature.name or known.name_zh,
            properties={**feature.properties, "class": known.code},
        )

    def _id(self, row: Raw) -> str:
        column = self._mapped(row).get("id", "")
        value = row.values.get(column)
        return "" if value is None else str(value).strip()

    def _mapped(self, row: Raw) -> Mapping[str, str]:
        """Field or property -> column, of a file whose first row this is."""
        if self._columns is not None:
            return self._columns
        names = [name for name in row.values if name not in (WHY, ROW)]
        lower = {name.lower(): name for name in names}
        columns = {target: column for target, column in self._fields.items() if column in names}
        for field, aliases in FIELDS.items():
            if field not in self._fields:
                column = next((lower[alias] for alias in aliases if alias in lower), None)
                if column is not None and column not in columns.values():
                    columns[field] = column
        used = set(columns.values())
        for name in names:
            if name in used or name.lower() in ("fid", "ogc_fid"):
                continue
            if any(word in name.lower() for word in PERSONAL):
                self.left_out.add(name)
            elif name.lower() not in FIELDS["id"]:
                columns.setdefault(name, name)
        self._columns = columns
        return columns

    def _moment(self, field: str, value: Any) -> int:
        """Microseconds since 1970 of a day in the city, or a moment with a zone; 0: not given."""
        text = str(value or "").strip()
        if not text:
            return 0
        if text not in self._days:
            try:
                if _DAY.fullmatch(text):
                    day = datetime.combine(datetime.fromisoformat(text), time(), self._zone)
                    self._days[text] = int(day.timestamp()) * 1_000_000
                else:
                    self._days[text] = parse_rfc3339(text)
            except ValueError:
                raise Refusal(
                    field, f"{field} {text[:40]!r} must be like 2026-01-31 or 2026-01-31T08:00:00+08:00"
                ) from None
        return self._days[text]

    def _located(self, shapes: Any) -> list[str]:
        if self._what == "jurisdiction":
            return [""] * len(shapes)
        points = shapely.point_on_surface(shapes)
        there = np.flatnonzero(~(shapely.is_missing(points) | shapely.is_empty(points)))
        found = [""] * len(shapes)
        x, y = shapely.get_x(points[there]), shapely.get_y(points[there])
        for n, code in zip(there.tolist(), self._tree.locate_all(x, y), strict=True):
            found[n] = code
        return found

    def _placed(self, id: str, own: Mapping[str, str], shape: Any, located: str) -> dict[str, str]:
        """Name, level and parent; the parent is checked, or found by the place."""
        name, level, parent = own["name"], own["level"], own["parent"]
        if self._what == "jurisdiction":
            level = level or level_of(id)
            above = {"town": id[:6], "community": id[:9], "grid": id[:12], "dedicated": id[:12]}
            return {"name": name, "level": level, "parent": parent or above.get(level, "")}
        if shape is not None and not located and self._what != "camera-view":
            raise Refusal("geometry", self._outside(shape))
        if not parent:
            return {"name": name, "level": level, "parent": located}
        if parent not in self._tree.nodes:
            raise Refusal("parent", f"there is no jurisdiction {parent[:40]!r}; import it first")
        if located and not located.startswith(parent[:12]) and not self._touches(parent, shape):
            raise Refusal("parent", f"it lies in {located}, not in {parent}")
        if located.startswith(parent):
            parent = located
        return {"name": name, "level": level, "parent": parent}

    def _touches(self, parent: str, shape: Any) -> bool:
        return parent in self._tree.shapes and bool(shapely.intersects(self._tree.shapes[parent], shape))

    def _outside(self, shape: Any) -> str:
        if not len(self._tree):
            return "no jurisdictions are there yet; import them first"
        point = shapely.point_on_surface(shape)
        lon, lat = shapely.get_x(point), shapely.get_y(point)
        if self._tree.locate(lat, lon):
            return f"{lon:.5f}, {lat:.5f} lies outside the city; longitude and latitude are changed over"
        return f"{lon:.5f}, {lat:.5f} lies outside the city"


def _tidy(geometries: Iterable[Any]) -> Any:
    """Without heights, to 7 digits (a centimetre), the outer ring counter-clockwise (RFC 7946)."""
    shapes = np.array(list(geometries), dtype=object)
    flat = shapely.transform(shapely.force_2d(shapes), lambda points: np.round(points, 7))
    return shapely.orient_polygons(flat)


def _fact(name: str, value: Any) -> Any:
    """A property's value; None: it is left out."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    text = value.strip() if isinstance(value, str) else msgspec.json.encode(value).decode()
    if name == "sensors" and text:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if len(text) > _LONGEST:
        raise Refusal(name, f"{name} has {len(text)} characters; {_LONGEST} are allowed")
    return text or None
