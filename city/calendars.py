"""The working calendar from its file: holidays and make-up working days, as they are published each year.

zone = "Asia/Shanghai"
hours = ["08:30-12:00", "13:30-17:30"]
[year.2026]
source = "..."
holidays = ["2026-01-01..2026-01-03 New Year"]
workdays = ["2026-01-04 New Year"]
"""

import re
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from city.clocks import Calendar, Span
from events.errors import ConfigError

SHIPPED = Path(__file__).parent / "data" / "calendar-cn.toml"
_HOURS = re.compile(r"^([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$")
_DAYS = re.compile(r"^(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?(?: (.{1,80}))?$")
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Year(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was published for a year."""

    source: str
    holidays: tuple[str, ...] = ()
    """Days that would be worked, or whole spans: "2026-02-15..2026-02-23 Spring Festival"."""
    workdays: tuple[str, ...] = ()
    """Days of a weekend on which people work."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    zone: str = "Asia/Shanghai"
    hours: tuple[str, ...] = ("08:30-12:00", "13:30-17:30")
    weekdays: tuple[str, ...] = _NAMES[:5]
    year: dict[str, Year] = {}


def load(path: Path) -> Calendar:
    """The calendar of a file.

    Raises:
        ConfigError: it cannot be read, or says something that cannot be; the text names file and entry.
    """
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=File)
    except OSError as e:
        raise ConfigError(f"{path}: the working calendar cannot be read ({e.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from None
    try:
        return _calendar(file)
    except ValueError as e:
        raise ConfigError(f"{path}: {e}") from None


def shipped() -> Calendar:
    """The calendar that comes with Linli."""
    return load(SHIPPED)


def _calendar(file: File) -> Calendar:
    try:
        ZoneInfo(file.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"zone {file.zone!r} is none; write one like Asia/Shanghai") from None
    wrong = [name for name in file.weekdays if name not in _NAMES]
    if wrong or not file.weekdays:
        raise ValueError(f"weekdays: {wrong or 'none'}; write some of {', '.join(_NAMES)}")
    days: dict[str, bool] = {}
    names: dict[str, str] = {}
    for year, said in file.year.items():
        if not re.fullmatch(r"\d{4}", year):
            raise ValueError(f"[year.{year}] is not a year")
        for works, texts in ((False, said.holidays), (True, said.workdays)):
            for text in texts:
                for day, name in _days(text, int(year)):
                    if days.get(day, works) is not works:
                        raise ValueError(f"[year.{year}] {day} is both a holiday and a working day")
                    days[day], names[day] = works, name
    return Calendar(
        zone=file.zone,
        hours=_hours(file.hours),
        weekdays=frozenset(_NAMES.index(name) for name in file.weekdays),
        days=days,
        names=names,
        years=frozenset(int(year) for year in file.year),
    )


def _hours(texts: tuple[str, ...]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for text in texts:
        found = _HOURS.match(text)
        if found is None:
            raise ValueError(f"hours {text!r}: write them like 08:30-12:00")
        a, b, c, d = (int(part) for part in found.groups())
        start, end = a * 60 + b, c * 60 + d
        if not (spans[-1][1] if spans else 0) <= start < end <= 1440:
            raise ValueError(f"hours {text!r}: spans must follow each other within a day")
        spans.append((start, end))
    if not spans:
        raise ValueError("hours: there must be some")
    return tuple(spans)


def _days(text: str, year: int) -> list[tuple[str, str]]:
    found = _DAYS.match(text)
    if found is None:
        raise ValueError(f"[year.{year}] {text!r}: write 2026-01-01 Name or 2026-01-01..2026-01-03 Name")
    try:
        first = date.fromisoformat(found[1])
        last = date.fromisoformat(found[2] or found[1])
    except ValueError:
        raise ValueError(f"[year.{year}] {text!r}: there is no such day") from None
    if first.year != year or not first <= last <= first + timedelta(days=60):
        raise ValueError(f"[year.{year}] {text!r}: the span must begin in {year} and end after it begins")
    return [((first + timedelta(days=n)).isoformat(), found[3] or "") for n in range((last - first).days + 1)]
