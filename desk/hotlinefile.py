"""Reads a hotline's records: CSV in UTF-8 or GB18030 (line by line, whatever comes), or an Excel sheet.

Names of columns are those of Linli, or words that hotlines use; a mapping file says what else they are called
and how their values are to be read:

    zone = "Asia/Shanghai"
    [columns]
    reference = "工单号"
    [values.category]
    "供热" = "heating"
    "*" = "other"
"""

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from events.errors import ConfigError

NEEDED = ("reference", "received", "category")
NAMES: Mapping[str, tuple[str, ...]] = {
    "reference": ("工单编号", "工单号", "受理编号", "编号"),
    "received": ("来电时间", "受理时间", "诉求时间", "登记时间"),
    "channel": ("诉求来源", "来源渠道", "渠道"),
    "kind": ("诉求类型", "工单类型"),
    "category": ("诉求分类", "问题类别", "事项分类", "分类"),
    "words": ("诉求内容", "问题描述", "内容"),
    "address": ("事发地址", "诉求地址", "地址"),
    "lon": ("经度", "longitude", "long"),
    "lat": ("纬度", "latitude"),
    "area": ("区划代码", "网格编码"),
    "name": ("诉求人", "来电人", "姓名"),
    "phone": ("来电号码", "联系电话", "电话"),
    "email": ("邮箱",),
    "answered_at_once": ("即时办结", "直接答复"),
    "handled_by": ("承办单位", "办理单位"),
    "due": ("办理时限", "截止时间"),
    "closed": ("办结时间", "结案时间"),
    "verdict": ("回访结果", "评价结果"),
    "answer": ("答复内容", "办理结果"),
}
"""What hotlines call them, from memory."""
_LOOKED = 10
"""Rows in which the names of columns are looked for: a title may stand above them."""
_MERGED_BYTES = 20 << 20
"""Sheets up to this size are read whole, so that merged cells can be filled."""


class HotlineMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mapping file."""

    zone: str = "Asia/Shanghai"
    """Of times that say none."""
    columns: dict[str, str] = {}
    """Field -> the column's name in the file."""
    values: dict[str, dict[str, str]] = {}
    """Field -> value in the file -> value here; `*`: every other."""

    def __post_init__(self) -> None:
        for name in (*self.columns, *self.values):
            if name not in NAMES:
                raise ValueError(f"there is no field {name!r}; there are {', '.join(NAMES)}")
        if self.zone not in available_timezones():
            raise ValueError(f"there is no time zone {self.zone!r}")


class Row(msgspec.Struct, frozen=True):
    """A record as it stands in the file."""

    number: int
    """Line or row, counted from 1."""
    values: Mapping[str, str]
    """By field; what is not there is ''."""
    cells: Sequence[str]
    """All of it, for the file of rejected rows."""


class HotlineFile:
    """A file of records.

    Raises:
        ConfigError: it cannot be read, or has not the columns that are needed.
    """

    def __init__(self, path: Path, mapping: HotlineMapping | None = None) -> None:
        self.path = path
        self.mapping = mapping or HotlineMapping()
        self.zone = ZoneInfo(self.mapping.zone)
        try:
            self.bytes = path.stat().st_size
        except OSError as e:
            raise ConfigError(f"{path} cannot be read: {e.strerror}") from None
        for number, cells in itertools.islice(self._lines(), _LOOKED):
            if self._named(cells):
                self.header, self._header_at = [str(cell) for cell in cells], number
                break
        else:
            raise ConfigError(
                f"{path}: the first {_LOOKED} rows do not name {', '.join(NEEDED)}; call them so, "
                f"or as one of {', '.join(itertools.chain(*(NAMES[n] for n in NEEDED)))}, or give a mapping"
            )
        self._columns = self._named(self.header)

    def rows(self) -> Iterator[Row]:
        """The records, in order. Raises ConfigError where the file breaks off."""
        columns = self._columns
        values = {name: self.mapping.values.get(name, {}) for name in columns}
        for number, cells in self._lines():
            if number <= self._header_at or not any(cells):
                continue
            row: dict[str, str] = {}
            for name, at in columns.items():
                text = cells[at].strip() if at < len(cells) else ""
                known = values[name]
                row[name] = known.get(text, known.get("*", text)) if known else text
            yield Row(number, row, cells)

    def _named(self, cells: Sequence[str]) -> dict[str, int]:
        """Field -> column, if all that are needed are among these names."""
        at = {cell.strip().lower(): n for n, cell in reversed(list(enumerate(cells)))}
        found: dict[str, int] = {}
        for name, others in NAMES.items():
            given = self.mapping.columns.get(name)
            for called in (given,) if given else (name, *others):
                if called.lower() in at:
                    found[name] = at[called.lower()]
                    break
            else:
                if given and len(at) > 1 and all(n in found for n in NEEDED):
                    raise ConfigError(f"{self.path} has no column {given!r}, which the mapping names")
        return found if all(name in found for name in NEEDED) else {}

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        try:
            if self.path.suffix.lower() in (".xlsx", ".xlsm"):
                yield from _sheet(self.path, self.bytes)
            else:
                with self.path.open("rb") as file:
                    yield from _text(file)
        except (OSError, csv.Error) as e:
            raise ConfigError(f"{self.path} cannot be read: {e}") from e


def _text(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    start = file.read(4)
    file.seek(0)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise csv.Error("it is in UTF-16; save it as CSV in UTF-8")
    if start == b"\xd0\xcf\x11\xe0":
        raise csv.Error("it is an old Excel file; save it as .xlsx")
    lines = decoded(file)
    first = next(lines, "")
    comma = max(",;\t", key=first.count)
    reader = csv.reader(itertools.chain((first,), lines), delimiter=comma)
    for cells in reader:
        yield reader.line_num, cells


def decoded(file: Iterable[bytes]) -> Iterator[str]:
    """Lines as text: UTF-8 where they are that, else GB18030; what is neither keeps a mark that no text has
    (a lone surrogate). No byte of a character in GB18030 is a line's end."""
    for n, line in enumerate(file):
        if n == 0:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.decode()
        except UnicodeDecodeError:
            try:
                yield line.decode("gb18030")
            except UnicodeDecodeError:
                yield line.decode("utf-8", "surrogateescape")


def _sheet(path: Path, size: int) -> Iterator[tuple[int, list[str]]]:
    try:
        import openpyxl
    except ModuleNotFoundError as e:
        raise ConfigError(f"an Excel file needs {e.name}; install linli[desk], or save it as CSV") from None
    try:
        whole = size <= _MERGED_BYTES
        book = openpyxl.load_workbook(path, read_only=not whole, data_only=True)
    except Exception as e:  # the library raises whatever its parsers do
        raise ConfigError(f"{path} is no Excel file: {e}") from e
    sheet: Any = book.worksheets[0]
    filled: dict[tuple[int, int], Any] = {}
    for area in sheet.merged_cells.ranges if whole else ():
        # Down a column a merged cell means the same for each row; across, it is a title.
        for row in range(area.min_row + 1, area.max_row + 1):
            filled[row, area.min_col] = sheet.cell(area.min_row, area.min_col).value
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        values = [filled.get((number, n), cell) if cell is None else cell for n, cell in enumerate(cells, 1)]
        yield number, [_cell(value) for value in values]
    book.close()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
