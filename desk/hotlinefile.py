"""A hotline's records, by field: CSV or Excel as `desk/registerfiles.py` reads them, and what columns mean.

Names of columns are those of Linli, or words that hotlines use; a mapping file says what else they are called
and how their values are to be read:

    zone = "Asia/Shanghai"
    [columns]
    reference = "工单号"
    [values.category]
    "供热" = "heating"
    "*" = "other"
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from desk import registerfiles
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


class Record(NamedTuple):
    """A row, by field."""

    row: registerfiles.Row
    """As it stands in the file."""
    values: Mapping[str, str]
    """Field -> text; what is not there is missing."""


class HotlineFile:
    """A file of records.

    Raises:
        ConfigError: it cannot be read, or has not the columns that are needed.
    """

    def __init__(self, path: Path, mapping: HotlineMapping | None = None) -> None:
        self.path = path
        self.mapping = mapping or HotlineMapping()
        self.zone = ZoneInfo(self.mapping.zone)
        first = next(registerfiles.read(path), None)
        self._columns = self._named(list(first.values)) if first is not None else {}

    def records(self) -> Iterator[Record]:
        """The records, in order. Raises ConfigError where the file breaks off."""
        columns = [
            (name, column, self.mapping.values.get(name, {})) for name, column in self._columns.items()
        ]
        for row in registerfiles.read(self.path):
            values = {}
            for name, column, known in columns:
                text = row.values[column].strip()
                values[name] = known.get(text, known.get("*", text)) if known else text
            yield Record(row, values)

    def _named(self, headings: list[str]) -> dict[str, str]:
        """Field -> heading. Raises ConfigError."""
        at = {heading.strip().lower(): heading for heading in headings}
        found: dict[str, str] = {}
        for name, others in NAMES.items():
            given = self.mapping.columns.get(name)
            if given and given.lower() not in at:
                raise ConfigError(f"{self.path.name} has no column {given!r}, which the mapping names")
            called = (given,) if given else (name, *others)
            heading = next((at[one.lower()] for one in called if one.lower() in at), None)
            if heading is not None:
                found[name] = heading
        missing = [name for name in NEEDED if name not in found]
        if missing:
            words = ", ".join(chain.from_iterable(NAMES[name] for name in missing))
            raise ConfigError(
                f"{self.path.name} has no column {' and none '.join(missing)}; call it so or {words}, "
                "or name it in a mapping"
            )
        return found
