"""The table [city] of the site file: the desk over one map, two databases and three scenarios."""

from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from cli.section import Section


class UpstreamSection(Section, frozen=True, kw_only=True):
    """[city.upstream]: the platform of the prefecture, where there is one."""

    kind: Literal["", "files", "http"] = ""
    """How orders come and answers go; empty: there is none."""
    folder: str = ""
    """kind files: holds `inbox` and `outbox`, relative to the site file."""
    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^@\s]+)?$")] = ""
    """kind http: the platform's address, without a password."""
    credentials: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding user:password."""
    ca: str = ""
    """PEM file of the authority that signed its certificate; empty: the system's."""
    every_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 30.0
    """How often it is asked."""

    def __post_init__(self) -> None:
        if self.kind == "files" and not self.folder:
            raise ValueError('kind = "files" needs a folder')
        if self.kind == "http" and not self.url:
            raise ValueError('kind = "http" needs a url')


class CitySection(Section, frozen=True, kw_only=True):
    """[city]: map, registers and cases, with their HTTP API below /city."""

    code: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{6}([0-9]{3}([0-9]{3})?)?)?$")] = ""
    """Division code of what is served: 6 digits a city, 9 a town, 12 a community. Empty: no desk here."""
    name: str = ""
    """As the page shows it; the site's name by default."""
    zone: str = "Asia/Shanghai"
    """Time zone of the days by which statistics count; the calendar's file has to have the same."""
    calendar: str = ""
    """TOML file of working hours, holidays and make-up days, relative to the site file; empty: the one that
    ships."""
    ratings: str = ""
    """TOML file of how property companies are rated, relative to the site file; empty: the one that ships."""
    packs: tuple[str, ...] = ("video", "matter", "appeal")
    """Scenarios: names of those that ship, or TOML files relative to the site file."""
    vault_key: str = ""
    """File (mode 600) with the master key of what is said of persons, relative to the site file; empty: made
    in the data folder, which only a console on loopback may do."""
    services: str = ""
    """TOML file of what citizens may ask for, which are Open311's services, relative to the site file; empty:
    the one that ships."""
    open311_public: bool = False
    """Whether services and public requests may be read without a token."""
    keep_years: Annotated[float, msgspec.Meta(gt=0, le=100)] = 5.0
    """Cases older than this, counted from their close, lose what is left of a person in them."""
    keep_years_of: Mapping[str, Annotated[float, msgspec.Meta(gt=0, le=100)]] = {}
    """The same for some scenarios, by their names: `{ appeal = 3 }`."""
    upstream: UpstreamSection = UpstreamSection()

    def __post_init__(self) -> None:
        if self.zone not in available_timezones():
            raise ValueError(f"there is no time zone {self.zone!r}; write one like Asia/Shanghai")
        ZoneInfo(self.zone)
