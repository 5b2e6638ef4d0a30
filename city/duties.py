"""Duty rosters: who is grid head here today, and now.

A duty is a feature of `what = duty`: `parent` is the grid or community, `since` and `until` are its dates,
and its properties say the role, the weekdays and the hours. The holder is a staff number or a grant's name,
never a person's data.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from city.features import Feature

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ROLES = ("grid head", "grid member", "community worker", "police", "service station", "property", "volunteer")

_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


def hours_flaw(text: str) -> str:
    """What is wrong with hours such as `08:00-18:00`, or `20:00-06:00` over midnight; '' is the whole day."""
    if not text or (_HOURS.fullmatch(text) and "24:" not in text.replace("24:00", "")):
        return ""
    return f"hours {text!r} must be like 08:00-18:00"


def days_flaw(text: str) -> str:
    """What is wrong with weekdays such as `mon,tue,sat`; '' is every day."""
    wrong = [day for day in text.split(",") if text and day.strip() not in WEEKDAYS]
    return f"weekdays {text!r} must be among {', '.join(WEEKDAYS)}, with commas between" if wrong else ""


def on_duty(duties: Iterable[Feature], at_us: int, local: datetime, role: str = "") -> list[Feature]:
    """The duties that hold at a moment, by id.

    Args:
        at_us: the moment, microseconds since 1970.
        local: the same moment on the city's clocks.
        role: only of this role; '': of any.
    """
    found = [
        duty
        for duty in duties
        if duty.since_us <= at_us
        and (not duty.until_us or at_us < duty.until_us)
        and role in ("", str(duty.properties.get("role") or ""))
        and _hour(duty, local)
    ]
    return sorted(found, key=lambda duty: duty.id)


def _hour(duty: Feature, local: datetime) -> bool:
    days = [day.strip() for day in str(duty.properties.get("days") or "").split(",") if day.strip()]
    matched = _HOURS.fullmatch(str(duty.properties.get("hours") or ""))
    if matched is None:
        return not days or WEEKDAYS[local.weekday()] in days
    first, last = (int(matched[n]) * 60 + int(matched[n + 1]) for n in (1, 3))
    minute = local.hour * 60 + local.minute
    weekday = local.weekday()
    if first < last:
        within = first <= minute < last
    else:  # over midnight: after it, the day on which it began counts
        within = minute >= first or minute < last
        weekday -= minute < last
    return within and (not days or WEEKDAYS[weekday % 7] in days)
