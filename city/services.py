"""What citizens may ask for: the categories of appeals, which are the services of Open311.

The list is a file (`city/data/services.toml` ships); a city replaces it by its own.
"""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from events.errors import ConfigError

SHIPPED = Path(__file__).parent / "data" / "services.toml"
DataType = Literal["string", "number", "datetime", "text", "singlevaluelist", "multivaluelist"]
"""As Open311's GeoReport v2 has them."""
Language = Literal["", "en", "zh"]
"""'': both, Chinese first."""
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Base of what the file has."""


class Value(_Part, frozen=True, kw_only=True):
    """One of the values of a list."""

    key: str
    name: str
    name_zh: str = ""


class Attribute(_Part, frozen=True, kw_only=True):
    """A question that a service asks."""

    code: str
    datatype: DataType = "string"
    required: bool = False
    variable: bool = True
    """False: it only tells something, and takes no answer."""
    description: str
    description_zh: str = ""
    datatype_description: str = ""
    values: tuple[Value, ...] = ()


class Group(_Part, frozen=True, kw_only=True):
    """Services that belong together."""

    code: str
    name: str
    name_zh: str = ""


class Service(_Part, frozen=True, kw_only=True):
    """A category of appeals."""

    code: str
    name: str
    name_zh: str = ""
    group: str = ""
    description: str = ""
    description_zh: str = ""
    keywords: tuple[str, ...] = ()
    notice: str = ""
    """What happens next, as the citizen is told."""
    notice_zh: str = ""
    public: bool = True
    """Whether it is listed, and its appeals may be shown publicly."""
    attribute: tuple[Attribute, ...] = ()


class _File(_Part, frozen=True, kw_only=True):
    code_system: str = "local"
    group: tuple[Group, ...] = ()
    service: tuple[Service, ...] = ()


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by code."""

    code_system: str
    groups: dict[str, Group]
    services: dict[str, Service]

    def title(self, code: str) -> str:
        """The official name of a category; the code itself where it is not known."""
        service = self.services.get(code)
        return said(service.name, service.name_zh) if service else code

    def public(self) -> list[Service]:
        """Those that everybody may see, as they are in the file."""
        return [service for service in self.services.values() if service.public]


def said(english: str, chinese: str, language: Language = "") -> str:
    """A name in a language, or in both."""
    if language == "en" or not chinese:
        return english
    return chinese if language == "zh" else f"{chinese} {english}".strip()


def load(path: Path = SHIPPED) -> Services:
    """The services of a file.

    Raises:
        ConfigError: it cannot be read, or says something that cannot be; the text names file and entry.
    """
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ConfigError(f"the services' file {path} cannot be used: {e}") from e
    groups = {group.code: group for group in file.group}
    services: dict[str, Service] = {}
    for service in file.service:
        if problem := _problem(service, groups):
            raise ConfigError(f"{path}: service {service.code!r}: {problem}")
        if service.code in services:
            raise ConfigError(f"{path}: service {service.code!r} is there twice; keep one")
        services[service.code] = service
    return Services(code_system=file.code_system, groups=groups, services=services)


@cache
def shipped() -> Services:
    """The list that ships."""
    return load()


def _problem(service: Service, groups: dict[str, Group]) -> str:
    if not _CODE.fullmatch(service.code):
        return "its code may have letters, digits, _ . - and at most 60 of them"
    if service.group and service.group not in groups:
        return f"there is no group {service.group!r}"
    codes = [attribute.code for attribute in service.attribute]
    if len(set(codes)) < len(codes):
        return "an attribute is there twice"
    for attribute in service.attribute:
        if not _CODE.fullmatch(attribute.code):
            return f"attribute {attribute.code!r}: its code may have letters, digits, _ . -"
        if attribute.datatype.endswith("list") != bool(attribute.values):
            return f"attribute {attribute.code!r}: lists have values, and nothing else has"
    return ""
