"""The events: frozen values, valid at birth, in a CloudEvents 1.0 envelope.

A payload is a tagged struct; its tag is the event's type. The family (the second word of the type) is what
topics, subscriptions and ordering go by: count, alert, health, segment, access.
"""

from typing import Literal

import msgspec

NormBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 as fractions of the picture, 0 to 1, rounded to 4 digits."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every payload."""


class Crossing(Payload, frozen=True, kw_only=True, tag="linli.count.crossing.v1"):
    """One object crossed a line once."""

    rule: str
    direction: Literal["in", "out"]
    label: str
    track: int
    """The track that showed it."""
    at: tuple[float, float]
    """Where the foot point crossed, as fractions of the picture."""


class Interval(Payload, frozen=True, kw_only=True, tag="linli.count.interval.v1"):
    """Totals of one line or zone over one interval of capture time."""

    rule: str
    start_us: int
    """Capture time, microseconds since 1970; a multiple of the interval."""
    end_us: int
    counts: dict[str, int]
    """Lines: `in.person`, `out.person` ...; zones: `max.person`, and `entered.person`."""
    occupancy: dict[str, float] = {}
    """Zones: mean number of objects by class over the observed part of the interval."""
    observed_s: float
    """Seconds of the interval for which the camera delivered video and nothing was shed."""


AlertKind = Literal["intrusion", "loitering", "crowd", "wrong_way", "stationary", "crossing"]
Severity = Literal["info", "minor", "major", "critical"]


class AlertRaised(Payload, frozen=True, kw_only=True, tag="linli.alert.raised.v1"):
    """A rule found something. `alert` is the id under which it is updated and cleared."""

    alert: str
    rule: str
    kind: AlertKind
    severity: Severity
    label: str
    tracks: tuple[int, ...]
    """Tracks that show what was found."""
    box: NormBox
    """Around what was found."""
    since_us: int
    """Capture time at which the condition began (an intruder's first step in the zone)."""
    detail: dict[str, float | str] = {}
    """Figures a person can check: dwell_s, count, speed ..."""


class AlertUpdated(Payload, frozen=True, kw_only=True, tag="linli.alert.updated.v1"):
    """An open alert grew or changed."""

    alert: str
    rule: str
    tracks: tuple[int, ...]
    box: NormBox
    detail: dict[str, float | str] = {}


class AlertCleared(Payload, frozen=True, kw_only=True, tag="linli.alert.cleared.v1"):
    """An alert's condition is over."""

    alert: str
    rule: str
    reason: Literal["left", "moved", "dispersed", "stream-ended", "gap", "rule-removed"]
    until_us: int
    """Capture time at which the condition was last true."""


class Health(Payload, frozen=True, kw_only=True, tag="linli.health.changed.v1"):
    """Something about a camera, model, disk or worker changed for the worse or the better."""

    what: str
    """connection, frozen, black, gap, corrupt, clock, decode-mode, shedding, disk, model, worker ..."""
    state: Literal["raised", "cleared", "note"]
    message: str
    """What happened and how to mend it, for a person; never a secret."""
    detail: dict[str, float | str] = {}


class Segment(Payload, frozen=True, kw_only=True, tag="linli.segment.closed.v1"):
    """A footage segment is complete on disk."""

    segment: str
    stream: str
    path: str
    """Relative to the footage folder."""
    start_us: int
    end_us: int
    bytes: int
    sha256: str
    """Of the whole file."""
    recovered: bool = False
    """Finished after a kill or a power cut."""


class Access(Payload, frozen=True, kw_only=True, tag="linli.access.viewed.v1"):
    """Somebody looked at pictures of people, or was refused."""

    who: str
    """The grant's name, or `unknown ADDRESS`."""
    what: str
    """live, snapshot, clip, footage"""
    object: str
    """Camera, alert, or part of the page."""
    plain: bool
    """True: not pixelated."""
    purpose: str
    """As stated by the viewer."""
    allowed: bool
    """False: refused."""


AnyPayload = Crossing | Interval | AlertRaised | AlertUpdated | AlertCleared | Health | Segment | Access


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. On the wire: CloudEvents 1.0 (`events/codec.py`)."""

    id: str
    source: str
    """URI reference of what it happened at, `/SITE/camera/CAMERA` or `/SITE/box/BOX`."""
    time_us: int
    """Capture time."""
    epoch: int
    sequence: int
    """Counts the events of (source, family, epoch) from 0 without a hole."""
    pts: int = 0
    """Media time within the epoch."""
    data: AnyPayload

    @property
    def type(self) -> str:
        """CloudEvents type, e.g. `linli.alert.raised.v1`."""
        return str(self.data.__struct_config__.tag)

    @property
    def family(self) -> str:
        """count, alert, health, segment or access."""
        return self.type.split(".", 2)[1]

    @property
    def key(self) -> str:
        """Partition key: the camera's or box's id."""
        return self.source.rsplit("/", 1)[1]

    @property
    def subject(self) -> str:
        """What within the source: a rule, an alert, a segment."""
        data = self.data
        for name in ("alert", "rule", "segment", "what"):
            value = getattr(data, name, None)
            if value is not None:
                return str(value)
        return ""


def camera_source(site: str, camera: str) -> str:
    """CloudEvents source of a camera."""
    return f"/{site}/camera/{camera}"
