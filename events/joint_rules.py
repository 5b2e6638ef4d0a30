"""Alerts made of others, as a site's TOML gives them: frozen, checked at birth.

[[joint]]
name = "open-manhole-with-people"
of = [{ sensor = "manhole-7", rule = "open" }, { camera = "lane", rule = "roadway" }]
within_s = 300
severity = "critical"
"""

from collections.abc import Mapping, Sequence

import msgspec

from events.events import Severity
from events.rules import NamedRule


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the things that have to be wrong at once: a rule of a camera or of a sensor."""

    rule: str
    """Name of the rule whose alerts are meant."""
    camera: str = ""
    """The camera that it is a rule of, or ..."""
    sensor: str = ""
    """... the sensor."""

    def __post_init__(self) -> None:
        if bool(self.camera) == bool(self.sensor):
            raise ValueError(
                f"a part with rule {self.rule!r} names a camera or a sensor, one of them: "
                '{ sensor = "manhole-7", rule = "open" }'
            )

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.rule} of {'camera' if self.camera else 'sensor'} {self.camera or self.sensor}"

    def key(self, site: str) -> str:
        """What tells it from others: source and rule."""
        kind = "camera" if self.camera else "sensor"
        return f"/{site}/{kind}/{self.camera or self.sensor} {self.rule}"


class Joint(NamedRule, frozen=True, kw_only=True):
    """An alert made of others that are open at the same time."""

    of: tuple[Part, ...]
    """Two parts or more."""
    within_s: float = 300.0
    """The parts' conditions began at most so far apart."""
    severity: Severity = "critical"

    def _check(self) -> None:
        if len(self.of) < 2 or len(set(self.of)) < len(self.of):
            self._refuse("of", "needs two different parts or more")
        self._not_negative("within_s")


def check_joints(
    joints: Sequence[Joint], cameras: Mapping[str, Sequence[str]], sensors: Mapping[str, Sequence[str]]
) -> None:
    """That the parts exist. Cameras and sensors by id, each with the names of its rules that raise alerts.

    Raises:
        ValueError: names the joint alert, what is not there, and what is.
    """
    names = [joint.name for joint in joints]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"joint alerts must differ in name, twice: {', '.join(sorted(twice))}")
    for joint in joints:
        for part in joint.of:
            kind, id_ = ("camera", part.camera) if part.camera else ("sensor", part.sensor)
            known = cameras if part.camera else sensors
            if id_ not in known:
                there = ", ".join(known) or "none"
                raise ValueError(f"joint {joint.name!r}: there is no {kind} {id_!r} (there are {there})")
            if part.rule not in known[id_]:
                raise ValueError(
                    f"joint {joint.name!r}: {kind} {id_} has no rule {part.rule!r} that raises "
                    f"alerts (there are {', '.join(known[id_]) or 'none'})"
                )
