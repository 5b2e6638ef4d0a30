"""City components (城市部件): their classes after GB/T 30428.2, as data, and the object code of 16 digits.

The table is `city/data/gbt30428-2.toml`, or the city's own in the same form; each says its source.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from events.errors import ConfigError


class ComponentClass(msgspec.Struct, frozen=True):
    """A minor class."""

    code: str
    """Four digits: major, then minor."""
    name: str
    name_zh: str


class ComponentTable(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that a city's survey knows."""

    code_system: str
    source: str
    majors: Mapping[str, ComponentClass]
    """By two digits."""
    classes: Mapping[str, ComponentClass]
    """By four digits."""
    states: Mapping[str, str]
    """Code -> name in Chinese."""
    accuracies: Mapping[str, float]
    """Class of position accuracy -> metres."""

    def flaw(self, code: str, division: str = "") -> str:
        """What is wrong with an object code; "" if nothing is.

        Args:
            division: the six digits that it has to begin with; '': any.
        """
        if not (len(code) == 16 and code.isascii() and code.isdigit()):
            return f"object code {code!r} must have 16 digits: 6 division, 2 major, 2 minor class, 6 serial"
        if division and code[:6] != division[:6]:
            return f"object code {code!r} is not of the division {division[:6]}"
        if code[6:10] not in self.classes:
            return f"class {code[6:10]!r} of {code!r} is unknown to {self.code_system}"
        return ""

    def of(self, code: str) -> ComponentClass | None:
        """The class of an object code; None: it is unknown."""
        return self.classes.get(code[6:10])

    def state_flaw(self, state: str) -> str:
        """What is wrong with a state; "" if nothing is. It may be left out."""
        if not state or state in self.states:
            return ""
        return f"state {state!r} is none of {', '.join(self.states)}"


def shipped() -> ComponentTable:
    """The table that comes with Linli."""
    return _table(files("city").joinpath("data/gbt30428-2.toml").read_text("utf-8"), "gbt30428-2.toml")


def load(path: Path) -> ComponentTable:
    """A city's own table. Raises ConfigError: it cannot be read or is none."""
    try:
        return _table(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _table(text: str, name: str) -> ComponentTable:
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        majors: dict[str, ComponentClass] = {}
        classes: dict[str, ComponentClass] = {}
        for major, part in sorted(raw["major"].items()):
            majors[major] = ComponentClass(major, part["name"], part["name-zh"])
            for minor, (english, chinese) in sorted(part["minor"].items()):
                classes[major + minor] = ComponentClass(major + minor, english, chinese)
        states = {code: zh for code, zh in raw["states"].items() if code != "source"}
        accuracies = {name: float(metres) for name, metres in raw["object-code"]["accuracy"].items()}
        system, source = str(raw["code-system"]), str(raw["source"])
    except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{name} is no table of component classes: {error}") from error
    return ComponentTable(
        code_system=system,
        source=source,
        majors=majors,
        classes=classes,
        states=states,
        accuracies=accuracies,
    )
