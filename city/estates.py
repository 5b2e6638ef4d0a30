"""Property estates, as the map has them: the company, its contract, the households."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from city.features import Feature


class Estate(msgspec.Struct, frozen=True, kw_only=True):
    """A property estate and the company that has its contract."""

    id: str
    name: str
    area: str
    """Code of the jurisdiction in which it lies."""
    company: str
    households: float = 0.0
    """0: nobody knows; nothing is set to households then."""
    since_us: int = 0
    until_us: int = 0
    """Of the contract; 0: open."""

    def under_contract(self, time_us: int) -> bool:
        """Whether the company had the estate then."""
        return self.since_us <= time_us and (not self.until_us or time_us < self.until_us)


def estate_of(feature: Feature, zone: str = "Asia/Shanghai") -> Estate:
    """The estate that a feature of the map is.

    Args:
        zone: of the contract's days; the last one is part of it.
    """
    said = feature.properties
    households = said.get("households")
    return Estate(
        id=feature.id,
        name=feature.name,
        area=feature.parent,
        company=str(said.get("company") or ""),
        households=float(households) if isinstance(households, int | float) else 0.0,
        since_us=_day(said.get("contract_since"), zone, 0) or feature.since_us,
        until_us=_day(said.get("contract_until"), zone, 1) or feature.until_us,
    )


def _day(text: object, zone: str, later: int) -> int:
    """When a day begins (`later` = 1: ends); 0: it says none."""
    try:
        day = date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        day = None
    if day is None:
        return 0
    day += timedelta(days=later)
    moment = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * 1_000_000
