"""Surveys in Excel, read row by row: merged cells filled, titles above the heading passed over."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from desk.registerfiles import Row, headings, made_row, plain, titled
from events.errors import ConfigError

MOST_SHEET = 64 << 20
"""Bytes of a spreadsheet; larger ones are CSV."""
MOST_UNPACKED = 512 << 20
"""Bytes of all parts of a spreadsheet."""
MOST_TIMES = 60
"""How many times its size a spreadsheet may unpack to, beyond 8 MiB: a survey has about ten."""
_LONGEST_TAG = 200
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}[0-9]{1,7}):([A-Z]{1,3}[0-9]{1,7})"')
_SHORTENED = "\ufffc"
"""Stands for a number that a spreadsheet has kept 15 digits of."""
_LOST = (
    "a number of more than 15 digits has lost its last ones in the spreadsheet; make the column text and "
    "enter it again"
)


def read_sheet(path: Path) -> Iterator[Row]:
    """The rows of a workbook's first sheet. Raises ConfigError: it cannot be read at all."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        _check_size(path)
        book = load_workbook(path, read_only=True, data_only=True)
        sheet: Any = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its own size is often wrong
        merged = _merged(path, sheet._worksheet_path)
        names: list[str] | None = None
        for number, cells in titled(_filled(sheet.iter_rows(values_only=True), merged)):
            if names is None:
                names = headings(cells, path)
            elif any(cells):
                full = cells + [""] * (len(names) - len(cells))
                row = made_row(number, names, full[: len(names)] if not any(full[len(names) :]) else full)
                yield row._replace(problem=row.problem or (_LOST if _SHORTENED in full else ""))
        book.close()
    except (InvalidFileException, BadZipFile, KeyError, ValueError, OSError, IndexError, SyntaxError) as e:
        raise ConfigError(f"{path.name} is no spreadsheet that can be read: {e}") from e
    if names is None:
        raise ConfigError(f"{path.name} is empty, or its first row has no headings")


def _check_size(path: Path) -> None:
    if path.stat().st_size > MOST_SHEET:
        raise ConfigError(f"{path.name} has over {MOST_SHEET >> 20} MiB; save it as CSV")
    with ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > (8 << 20) and unpacked > MOST_TIMES * path.stat().st_size:
            raise ConfigError(
                f"{path.name} unpacks to {unpacked >> 20} MiB of nearly nothing; save it as CSV"
            )
        if unpacked > MOST_UNPACKED:
            raise ConfigError(
                f"{path.name} holds over {MOST_UNPACKED >> 20} MiB when unpacked; save it as CSV"
            )


def _merged(path: Path, part: str) -> dict[int, list[tuple[int, int]]]:
    """First row of each merged cell -> its first column and last row. Read from the part itself: a workbook
    that is read row by row does not tell them (ECMA-376, 18.3.1.54)."""
    from openpyxl.utils.cell import coordinate_to_tuple

    found: dict[int, list[tuple[int, int]]] = {}
    with ZipFile(path) as archive, archive.open(part.lstrip("/")) as file:
        rest = b""
        while block := file.read(1 << 20):
            text = rest + block
            for match in _MERGED.finditer(text):
                (top, left), (bottom, _) = (coordinate_to_tuple(ref.decode()) for ref in match.groups())
                found.setdefault(top, []).append((left, bottom))
            cut = text.rfind(b"<")
            rest = text[cut:] if cut >= 0 and len(text) - cut < _LONGEST_TAG else b""
    return found


def _filled(
    rows: Iterator[Sequence[Any]], merged: Mapping[int, Sequence[tuple[int, int]]]
) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers; a merged cell says the same for every row that it spans."""
    spans: dict[int, tuple[int, str]] = {}
    for number, values in enumerate(rows, 1):
        cells = [_cell(value) for value in values]
        for column, (last, text) in list(spans.items()):
            if number > last:
                del spans[column]
            elif column <= len(cells):
                cells[column - 1] = text
            elif any(cells):
                cells += [""] * (column - len(cells) - 1) + [text]
        for column, last in merged.get(number, ()):
            spans[column] = (last, cells[column - 1] if column <= len(cells) else "")
        yield number, cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())[:10]
    if isinstance(value, int | float) and abs(value) >= 1e15:
        return _SHORTENED
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return plain(str(value))
