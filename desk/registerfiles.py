"""Surveys as they come: CSV in UTF-8 or GB18030 (or lines of both), Excel with merged cells; and what was not
taken, written so that it can be mended and sent again.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from events.errors import ConfigError

MOST_SHEET = 64 << 20
"""Bytes of a spreadsheet; larger ones are CSV."""
WHY, ROW = "_why", "_row"
"""Columns that the file of rejected rows has besides its own; passed over when it is sent again."""
_LED = ("'",)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Row(NamedTuple):
    """A row as the file has it."""

    number: int
    """The heading is row 1."""
    values: Mapping[str, str]
    """Column's heading -> text; the file's own headings."""
    problem: str = ""


def read(path: Path) -> Iterator[Row]:
    """The rows of a CSV or Excel file.

    Raises:
        ConfigError: the file cannot be read at all; the text says why and how to mend it.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    if suffix in (".xlsx", ".xlsm"):
        return _sheet(path)
    if suffix in (".csv", ".txt", ".tsv"):
        return _csv(path)
    if suffix == ".xls":
        raise ConfigError(f"{path.name} is of the old Excel; save it as .xlsx or CSV")
    raise ConfigError(f"{path.name}: send .csv or .xlsx")


def length(path: Path) -> int:
    """About how many rows there are, for a progress bar."""
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _csv(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as file:
            first = file.readline()
            head = _decoded(first.removeprefix(b"\xef\xbb\xbf"))
            comma = max((",", "\t", ";"), key=head.count)
            names = _headings(next(csv.reader([head], delimiter=comma), []), path)
            reader = csv.reader((_decoded(line) for line in file), delimiter=comma, strict=False)
            for cells in reader:
                if not any(cells):
                    continue
                number = reader.line_num + 1
                if len(cells) != len(names):
                    problem = f"the row has {len(cells)} cells, the heading {len(names)}"
                    yield Row(number, dict(zip(names, map(_plain, cells), strict=False)), problem)
                    continue
                plain = [_plain(cell) if cell[:1] in _LED else cell for cell in map(str.strip, cells)]
                values = dict(zip(names, plain, strict=True))
                broken = "\ufffd" in "".join(plain)
                yield Row(number, values, "its characters are neither UTF-8 nor GB18030" if broken else "")
    except OSError as e:
        raise ConfigError(f"{path.name} cannot be read: {e.strerror}") from e
    except csv.Error as e:
        raise ConfigError(f"{path.name}: {e}") from e


def _decoded(line: bytes) -> str:
    """Each line as what it is: files are put together from several systems'."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("gb18030", errors="replace")


def _plain(cell: str) -> str:
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell


def _headings(names: Sequence[str], path: Path) -> list[str]:
    found = [name.strip().removeprefix("\ufeff") for name in names]
    if not any(found):
        raise ConfigError(f"{path.name} is empty, or its first row has no headings")
    if twice := next((name for name in found if name and found.count(name) > 1), ""):
        raise ConfigError(f"{path.name}: the heading {twice!r} stands there twice")
    return found


def _sheet(path: Path) -> Iterator[Row]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    if path.stat().st_size > MOST_SHEET:
        raise ConfigError(f"{path.name} has over {MOST_SHEET >> 20} MiB; save it as CSV")
    try:
        book = load_workbook(path, data_only=True)
    except (InvalidFileException, BadZipFile, KeyError, ValueError, OSError) as e:
        raise ConfigError(f"{path.name} is no spreadsheet that can be read: {e}") from e
    sheet = book.worksheets[0]
    filled: dict[tuple[int, int], Any] = {}
    for area in sheet.merged_cells.ranges:  # a merged cell says the same for every row that it spans
        value = sheet.cell(area.min_row, area.min_col).value
        for row in range(area.min_row, area.max_row + 1):
            filled[row, area.min_col] = value
    rows = sheet.iter_rows()
    names = _headings([_cell(c.value) for c in next(rows, ())], path)
    for cells in rows:
        number = cells[0].row
        texts = [_cell(filled.get((number, n), c.value)) for n, c in enumerate(cells, 1)]
        if any(texts):
            yield Row(number, dict(zip(names, texts, strict=False)))
    book.close()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())[:10]
    if isinstance(value, float):  # an identity number that Excel took for one has lost its last digits
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return _plain(str(value))


def escaped(cell: str) -> str:
    """What a spreadsheet would take for a formula, as text."""
    return "'" + cell if cell[:1] in _FORMULA else cell


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not taken."""

    row: int
    field: str
    """Heading, or "" for the row as a whole."""
    why: str


class RejectFile:
    """Writes rejected rows beside the file that they come from, for its owner alone (mode 600): they hold
    what the survey says of people. Nothing is written while nothing is rejected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._writer: Any = None
        self.count = 0

    def add(self, row: Row, rejected: Rejected) -> None:
        """
        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            if self._file is None:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="")
                names = [name for name in row.values if name not in (WHY, ROW)]
                self._writer = csv.DictWriter(
                    self._file, [ROW, WHY, *names], extrasaction="ignore", restval=""
                )
                self._writer.writeheader()
            values = {name: escaped(value) for name, value in row.values.items()}
            self._writer.writerow(values | {ROW: row.number, WHY: rejected.why})
        except OSError as e:
            raise ConfigError(f"{self.path} cannot be written: {e.strerror}") from e
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """An export: UTF-8 with a byte order mark (so that Excel reads Chinese), mode 600, no formulas.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    count = 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for row in rows:
                writer.writerow([escaped(cell) for cell in row])
                count += 1
    except FileExistsError:
        raise ConfigError(f"{path} is there already; name another file") from None
    except OSError as e:
        raise ConfigError(f"{path} cannot be written: {e.strerror}") from e
    return count
