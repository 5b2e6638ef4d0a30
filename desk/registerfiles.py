"""Surveys as they come: CSV in UTF-8 or GB18030 (or lines of both), Excel with merged cells; and what was not
taken, written so that it can be mended and sent again.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from events.errors import ConfigError

WHY, ROW = "_why", "_row"
"""Columns that the file of rejected rows has besides its own; passed over when it is sent again."""
_LED = ("'",)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TITLES = 10
"""So many rows may stand above the heading."""
_DOUBTFUL = re.compile("[\u0080-\u07ff]")


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
        from desk.registersheets import read_sheet

        return read_sheet(path)
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
            lines = _lines(file)
            first = next(lines, "")
            comma = max((",", "\t", ";"), key=first.count)
            reader = csv.reader(chain([first], lines), delimiter=comma, strict=False)
            rows = ((reader.line_num, _plain_row(cells)) for cells in reader)
            names: list[str] | None = None
            for number, cells in titled(rows):
                if names is None:
                    names = headings(cells, path)
                elif any(cells):
                    yield made_row(number, names, cells)
            if names is None:
                raise ConfigError(f"{path.name} is empty, or its first row has no headings")
    except OSError as e:
        raise ConfigError(f"{path.name} cannot be read: {e.strerror}") from e
    except (csv.Error, UnicodeError) as e:
        raise ConfigError(f"{path.name}: {e}") from e


def _plain_row(cells: list[str]) -> list[str]:
    text = "|".join(cells)
    if text.isprintable() and " " not in text and "'" not in text:  # nothing to take off, as nearly always
        return cells
    return [plain(cell) for cell in cells]


def made_row(number: int, names: Sequence[str], cells: Sequence[str]) -> Row:
    """A row of a file with these headings; cells that are not there are empty."""
    if len(cells) != len(names):
        problem = f"the row has {len(cells)} cells, the heading {len(names)}"
        return Row(number, dict.fromkeys(names, "") | dict(zip(names, cells, strict=False)), problem)
    problem = "its characters are neither UTF-8 nor GB18030" if "\ufffd" in "".join(cells) else ""
    return Row(number, dict(zip(names, cells, strict=True)), problem)


def titled(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """The rows from the heading on: what stands above it in one cell alone is a title."""
    before: list[tuple[int, list[str]]] = []
    for row in rows:
        before.append(row)
        if sum(map(bool, row[1])) > 1 or len(before) > _TITLES:
            break
    titles = 0
    if before and sum(map(bool, before[-1][1])) > 1:
        titles = len(before) - 1
    yield from before[titles:]
    yield from rows


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines of UTF-8, GB18030, both mixed (files are put together from several systems'), or UTF-16."""
    first = file.readline()
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        file.seek(0)
        yield from io.TextIOWrapper(file, "utf-16", newline="")
        return
    chinese = False
    for line in chain([first.removeprefix(b"\xef\xbb\xbf")], file):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text, chinese = line.decode("gb18030", errors="replace"), True
        else:
            if chinese and _DOUBTFUL.search(text):  # two bytes of GB18030 can be UTF-8 of another script
                text = line.decode("gb18030", errors="replace")
        yield text


def plain(cell: str) -> str:
    """A cell without what an export put before it (`escaped`)."""
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell


def headings(names: Sequence[str], path: Path) -> list[str]:
    """The heading's cells. Raises ConfigError: there are none, or one twice."""
    found = [name.strip().removeprefix("\ufeff") for name in names]
    if not any(found):
        raise ConfigError(f"{path.name} is empty, or its first row has no headings")
    if twice := next((name for name in found if name and found.count(name) > 1), ""):
        raise ConfigError(f"{path.name}: the heading {twice!r} stands there twice")
    return found


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
                os.fchmod(descriptor, 0o600)  # one that was there already
                self._file = os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="")
                names = [name for name in row.values if name not in (WHY, ROW)]
                self._writer = csv.DictWriter(
                    self._file, [ROW, WHY, *names], extrasaction="ignore", restval=""
                )
                self._writer.writerow({name: escaped(name) for name in (ROW, WHY, *names)})
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
