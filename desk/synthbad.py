"""Rows that an importer must refuse, made from good ones, with the reason of each beside them.

`why.csv` names file, row (the first one below the heading is 1) and what is wrong with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from desk.synthtable import Columns, compact

Row = dict[str, str]
Table = Callable[[str], Iterator[Columns]]
Features = Callable[[str], Iterator[Mapping[str, Any]]]

PERSONS: Sequence[tuple[Row, str]] = (
    ({"identity": "990481198001010011"}, "check digit"),
    ({"identity": "99048119801301001X"}, "no such day in the identity number"),
    ({"identity": "12345"}, "identity number is neither 18 nor 15 digits"),
    ({"born": "2031-01-01"}, "born in the future"),
    ({"born": "1980-13-01"}, "no such day"),
    ({"home": "990481999999G01B001U1R0101"}, "no such home"),
    ({"name": ""}, "no name"),
)
COMPONENTS: Sequence[tuple[Row, str]] = (
    ({"lon": "0.0", "lat": "0.0"}, "outside the city"),
    ({"lon": "", "lat": "", "wkt": ""}, "no place"),
    ({"code": "99048101010"}, "code is not 16 digits"),
    ({"code": "9904819901000001"}, "no such major class"),
    ({"lat": "north"}, "latitude is no number"),
)
APPEALS: Sequence[tuple[Row, str]] = (
    ({"reference": ""}, "no reference"),
    ({"received": "31.12.2025"}, "time is not RFC 3339"),
    ({"lon": "200"}, "no such longitude"),
    ({"closed": "2001-01-01T00:00:00+08:00"}, "closed before it came in"),
    ({"kind": "pigeon"}, "no such kind"),
    ({"verdict": "solved;unsolved"}, "one thing and its contrary"),
)
_FILES = {"persons": PERSONS, "components": COMPONENTS, "appeals": APPEALS}
_PART = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def make(folder: Path, table: Table, features: Features) -> dict[str, int]:
    """Write the files; answers the rows of each."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, int] = {}
    why = ["file,row,why"]
    for name, changes in _FILES.items():
        lines, reasons = _spoilt(table(name), changes)
        _text(folder / f"{name}.csv", "\n".join(map(",".join, lines)) + "\n")
        why += [f"{name}.csv,{row},{reason}" for row, reason in enumerate(reasons, 1) if reason]
        made[f"bad/{name}.csv"] = len(lines) - 1
    good = next(table("persons"))
    rows = [list(good), *map(list, zip(*(column[:5] for column in good.values()), strict=True))]
    # Not wrong, but not what one hopes for: another encoding, merged cells.
    (folder / "persons-gb18030.csv").write_bytes(
        ("\r\n".join(map(",".join, rows)) + "\r\n").encode("gb18030")
    )
    write_sheet(folder / "persons-merged.xlsx", rows, merged="A2:A3")
    made |= {"bad/persons-gb18030.csv": 5, "bad/persons-merged.xlsx": 5}
    areas, reasons = _areas(features)
    body = ",\n".join(map(compact, areas))
    _text(folder / "jurisdictions.geojson", f'{{"type":"FeatureCollection","features":[\n{body}\n]}}\n')
    why += [f"jurisdictions.geojson,{row},{reason}" for row, reason in enumerate(reasons, 1)]
    made["bad/jurisdictions.geojson"] = len(areas)
    _text(folder / "why.csv", "\n".join(why) + "\n")
    return made


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def _spoilt(
    chunks: Iterator[Columns], changes: Sequence[tuple[Row, str]]
) -> tuple[list[list[str]], list[str]]:
    """Heading and rows, every other one good; and what is wrong with each, '' where nothing is."""
    columns = next(chunks)
    heading, lines, reasons = list(columns), [list(columns)], []
    for n, (change, reason) in enumerate(changes):
        for row, wrong in ((2 * n, False), (2 * n + 1, True)):
            good = {name: columns[name][row % len(columns[name])] for name in heading}
            spoilt = good | change if wrong else good
            lines.append([spoilt[name] for name in heading])
            reasons.append(reason if wrong else "")
    return lines, reasons


def _areas(features: Features) -> tuple[list[Mapping[str, Any]], list[str]]:
    grids = (one for one in features("jurisdictions") if one["properties"]["level"] == "grid")
    first, second = next(grids), next(grids)
    ring = first["geometry"]["coordinates"][0]

    def like(end: str, ring: list[list[float]], **changed: str) -> Mapping[str, Any]:
        code = first["properties"]["parent"] + end
        properties = first["properties"] | {"code": code} | changed
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "id": code, "properties": properties, "geometry": geometry}

    far = [[x + 40.0, y] for x, y in ring]
    return [
        like("G91", _bow_tie(ring)),
        like("G92", second["geometry"]["coordinates"][0]),
        like("G93", far),
        like("G94", ring, parent="990481999999"),
        like("G95", [ring[0], ring[1], ring[0]]),
    ], [
        "crosses itself",
        "overlaps another grid",
        "outside the city",
        "nothing has the code of what it lies in",
        "a ring of fewer than four points",
    ]


def _bow_tie(ring: list[list[float]]) -> list[list[float]]:
    """The corners of a ring's bounds, crossed."""
    xs, ys = [p[0] for p in ring], [p[1] for p in ring]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    return [[left, low], [right, high], [right, low], [left, high], [left, low]]


def write_sheet(path: Path, rows: Sequence[Sequence[str]], merged: str = "") -> None:
    """A workbook with one sheet of text, the same bytes for the same rows (Office Open XML, ECMA-376)."""
    cells = "".join(
        f'<row r="{n}">'
        + "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row)
        + "</row>"
        for n, row in enumerate(rows, 1)
    )
    merges = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_LINKS}"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="persons" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_LINKS}"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{cells}</sheetData>{merges}'
        "</worksheet>",
    }
    with ZipFile(path, "w") as archive:
        for name, text in parts.items():
            info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, _PART + text)
