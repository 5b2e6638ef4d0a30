"""What becomes of a file's rows: the batch of those in order, the report on the others."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import shapely

from city.features import Feature, to_line
from desk.mapcheck import ROW, WHY, Rejected
from desk.mapfiles import Raw
from storage.city.features import FeatureTables


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did, or would do."""

    what: str
    rows: int
    accepted: int
    changed: int
    """How many of the accepted are new or other than what is on the map."""
    removed: int
    """How many are gone because the file is complete and has them not."""
    rejected: tuple[Rejected, ...]
    left_out: tuple[str, ...]
    """Columns that look as if they were about persons; they were passed over."""
    batch: str = ""
    """Key of the batch; '': nothing changes."""
    event: str = ""
    """Id of the event; '': none was made."""


class Loaded(msgspec.Struct):
    """A report, and the rejected rows as they were in the file."""

    report: Report
    rows: list[tuple[Rejected, Raw]]


def write_rejected(path: Path, loaded: Loaded) -> None:
    """Write the rejected rows with reason and row, to be mended and sent again: as CSV with the geometry as
    WKT, or as GeoJSON, by the file's ending.

    Raises:
        OSError: it cannot be written.
    """
    rows = [({**raw.values, ROW: one.row, WHY: f"{one.field}: {one.why}"}, raw) for one, raw in loaded.rows]
    if path.suffix.lower() in (".geojson", ".json"):
        features = [
            {"type": "Feature", "properties": values, "geometry": _geometry(raw)} for values, raw in rows
        ]
        text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, indent=1)
        path.write_text(text, encoding="utf-8")
        return
    names = list(dict.fromkeys(name for values, _ in rows for name in values))
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # with a mark: for spreadsheets
        writer = csv.DictWriter(file, [*names, "wkt"], lineterminator="\n")
        writer.writeheader()
        for values, raw in rows:
            writer.writerow({**values, "wkt": "" if raw.geometry is None else raw.geometry.wkt})


def _geometry(raw: Raw) -> Any:
    return None if raw.geometry is None else json.loads(shapely.to_geojson(raw.geometry))


class Batch:
    """The accepted features, as lines; jurisdictions as values, too, to see whether they go together."""

    def __init__(self, there: FeatureTables) -> None:
        self._there = there
        self.lines: dict[str, bytes] = {}
        self.features: dict[str, Feature] = {}
        self._raw: dict[str, Raw] = {}
        self._new: set[str] = set()
        self.rows = 0

    @property
    def changed(self) -> int:
        """How many are other than what is on the map."""
        return len(self._new)

    @property
    def body(self) -> bytes:
        """The batch's bytes."""
        return b"".join(self.lines[id] for id in sorted(self.lines))

    def add(self, found: Sequence[tuple[Feature, Raw]], rows: int) -> None:
        """Some features more, of so many rows."""
        self.rows += rows
        if not found:
            return
        features = [feature for feature, _ in found]
        self._new.update(self._there.changed(features[0].what, features))
        self.lines.update((feature.id, to_line(feature)) for feature in features)
        if features[0].what == "jurisdiction":
            self.features.update((feature.id, feature) for feature in features)
            self._raw.update((feature.id, raw) for feature, raw in found)

    def drop(self, id: str) -> Raw:
        """Take one out again; answers its row."""
        del self.lines[id], self.features[id]
        self._new.discard(id)
        return self._raw.pop(id)
