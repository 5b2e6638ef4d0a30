"""The events: frozen values, valid at birth, in a CloudEvents 1.0 envelope.

A payload is a tagged struct; its tag is the event's type. The family (the second word of the type) is what
topics, subscriptions and ordering go by: count, alert, view, face, sensor, judgement, health, segment,
access, claim, and of the city's work case, place, register, desk (`events/civic.py`).
"""

from typing import Literal

import msgspec

from events.civic import (
    CaseOpened,
    CaseStepped,
    DayChanged,
    PlaceChanged,
    PlacesImported,
    Rated,
    RegisterChanged,
    RegisterErased,
    RegisterImported,
)
from events.payload import NormBox as NormBox
from events.payload import Payload
from events.payload import Place as Place


class Crossing(Payload, frozen=True, kw_only=True, tag="linli.count.crossing.v1"):
    """One object crossed a line once."""

    rule: str
    direction: Literal["in", "out"]
    label: str
    track: int
    """The track that showed it."""
    at: tuple[float, float]
    """Where the foot point crossed, as fractions of the picture."""
    place: Place | None = None
    """The same on the ground; None without a calibration."""
    speed_mps: float | None = None
    """On the ground, metres per second; None without a calibration."""
    preset: str = ""
    """Where a dome looked; empty for a camera that does not move."""


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
    """Seconds of the interval for which the camera delivered video and nothing was shed; of a dome's rule
    only those at its preset."""
    preset: str = ""
    """Where a dome looked; empty for a camera that does not move."""


AlertKind = Literal[
    "intrusion",
    "loitering",
    "crowd",
    "wrong_way",
    "stationary",
    "crossing",
    "anomaly",
    "threshold",
    "rate",
    "deviation",
    "silence",
    "joint",
]
"""The last five are of sensors; the very last of several things that happen together."""
Severity = Literal["info", "minor", "major", "critical"]


class AlertRaised(Payload, frozen=True, kw_only=True, tag="linli.alert.raised.v1"):
    """A rule found something. `alert` is the id under which it is updated and cleared."""

    alert: str
    rule: str
    kind: AlertKind
    severity: Severity
    label: str
    tracks: tuple[int, ...] = ()
    """Tracks that show what was found."""
    box: NormBox | None = None
    """Around what was found; None where there is no picture."""
    since_us: int
    """Capture time at which the condition began (an intruder's first step in the zone)."""
    detail: dict[str, float | str] = {}
    """Figures a person can check: dwell_s, count, speed_mps ...; `why` says it in words."""
    place: Place | None = None
    """On the ground; None where nobody knows."""
    preset: str = ""
    """Where a dome looked; empty for a camera that does not move."""
    causes: tuple[str, ...] = ()
    """Alerts of which this one is made (kind `joint`)."""


class AlertUpdated(Payload, frozen=True, kw_only=True, tag="linli.alert.updated.v1"):
    """An open alert grew or changed."""

    alert: str
    rule: str
    tracks: tuple[int, ...] = ()
    box: NormBox | None = None
    detail: dict[str, float | str] = {}
    place: Place | None = None


Reason = Literal[
    "left", "moved", "dispersed", "stream-ended", "gap", "rule-removed", "view-left", "returned", "parted"
]
"""view-left: the dome turned away; returned: a sensor's values are as usual again; parted: a joint alert's
parts do not hold together any more."""


class AlertCleared(Payload, frozen=True, kw_only=True, tag="linli.alert.cleared.v1"):
    """An alert's condition is over."""

    alert: str
    rule: str
    reason: Reason
    until_us: int
    """Capture time at which the condition was last true."""


class Health(Payload, frozen=True, kw_only=True, tag="linli.health.changed.v1"):
    """Something about a camera, model, disk or worker changed for the worse or the better."""

    what: str
    """connection, black, frozen, still, covered, glare, defocused, turned, shaken, gap, corrupt, clock,
    decode-mode, shedding, disk, model, worker, sensors, uploads ..."""
    state: Literal["raised", "cleared", "note"]
    message: str
    """What happened and how to mend it, for a person; never a secret."""
    detail: dict[str, float | str] = {}
    since_us: int = 0
    """Capture time at which it began, where that is known; 0: not."""


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


class ViewChanged(Payload, frozen=True, kw_only=True, tag="linli.view.changed.v1"):
    """A dome began to move, or came to rest. Only while it is `settled` its preset's rules are applied."""

    state: Literal["settled", "moving", "unknown"]
    """unknown: it stands still, but at no preset that was learned."""
    preset: str = ""
    """Where it is settled."""
    was: str = ""
    """The preset that it left."""
    score: float = 0.0
    """How well the picture agrees with the preset's reference, 0 to 1."""


class FaceCaptured(Payload, frozen=True, kw_only=True, tag="linli.face.captured.v1"):
    """The best picture of one face's track. Of a face, not of a person: nobody is recognised."""

    capture: str
    """Names the capture in pictures and access events; the event's own id."""
    track: int
    since_us: int
    """Capture time of the track's first detection."""
    until_us: int
    at_us: int
    """Capture time of the chosen picture."""
    box: NormBox
    place: Place | None = None
    """Where the camera is; None where the site file does not say."""
    quality: float
    """0 to 1: the product of what `measures` holds."""
    measures: dict[str, float] = {}
    """Each 0 to 1: size, sharpness, pose, visible; and `width_px`."""
    picture: str = ""
    """Object key of the pixelated crop."""
    sealed: str = ""
    """Object key of the encrypted original; empty where the site keeps none."""


class FaceDeleted(Payload, frozen=True, kw_only=True, tag="linli.face.deleted.v1"):
    """What was kept of a capture is gone."""

    capture: str
    what: Literal["sealed", "all"]
    """sealed: the encrypted original; all: the pixelated crop as well."""
    reason: Literal["expired", "asked", "lost"]
    """lost: it never came to be, for its footage is gone or does not say who is in it."""


class Reading(Payload, frozen=True, kw_only=True, tag="linli.sensor.reading.v1"):
    """A sensor's value. The envelope's time is when it was measured."""

    quantity: str
    """What was measured: level, temperature, open ..."""
    value: float
    """In `unit`; 0 or 1 for what is or is not."""
    unit: str
    """A unit of SenML's registry (RFC 8428), e.g. m, Cel, %RH, /; empty for a count or a state."""
    received_us: int
    """When it came."""


class Judged(Payload, frozen=True, kw_only=True, tag="linli.judgement.made.v1"):
    """An operator said what an alert was."""

    alert: str
    rule: str
    verdict: Literal["true", "false", "ignore"]
    """ignore: it was what it says, and here it is not wanted."""
    who: str
    """The grant's name."""
    note: str = ""


class Access(Payload, frozen=True, kw_only=True, tag="linli.access.viewed.v1"):
    """Somebody looked at pictures of people, or was refused."""

    who: str
    """The grant's name, or `unknown ADDRESS`."""
    what: str
    """live, snapshot, clip, footage, face, original, deletion, preset, or the part of the page that was
    refused"""
    object: str
    """Camera, alert, or part of the page."""
    plain: bool
    """True: not pixelated."""
    purpose: str
    """As stated by the viewer."""
    allowed: bool
    """False: refused."""


class ClaimTaken(Payload, frozen=True, kw_only=True, tag="linli.claim.taken.v1"):
    """A box of several reads the camera: whose word counts when two have seen the same.

    What the analysis says (count, alert, view, face) of a stream epoch is *superseded* from the moment at
    which another box, with a larger token, had a stream of the camera.
    """

    stream: str
    stream_epoch: int
    """The stream epoch that was opened under the claim."""
    token: int
    """The claim's offset in the topic of claims: the larger one is the later."""
    box: str
    since_us: int
    """Capture time of the epoch's first picture."""


AnyPayload = (
    Crossing
    | Interval
    | AlertRaised
    | AlertUpdated
    | AlertCleared
    | ViewChanged
    | FaceCaptured
    | FaceDeleted
    | Reading
    | Judged
    | Health
    | Segment
    | Access
    | ClaimTaken
    | CaseOpened
    | CaseStepped
    | PlacesImported
    | PlaceChanged
    | RegisterImported
    | RegisterChanged
    | RegisterErased
    | Rated
    | DayChanged
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. On the wire: CloudEvents 1.0 (`events/codec.py`)."""

    id: str
    source: str
    """URI reference of what it happened at: `/SITE/camera/CAMERA`, `/SITE/sensor/SENSOR`, `/SITE/joint/RULE`
    or `/SITE/box/BOX`."""
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
        """count, alert, view, face, sensor, judgement, health, segment, access, claim, case, place,
        register or desk."""
        return self.type.split(".", 2)[1]

    @property
    def key(self) -> str:
        """Partition key: the camera's or box's id."""
        return self.source.rsplit("/", 1)[1]

    @property
    def subject(self) -> str:
        """What within the source: a rule, an alert, a segment."""
        data = self.data
        for name in _SUBJECTS:
            value = getattr(data, name, None)
            if value is not None:
                return str(value)
        return ""


_SUBJECTS = (
    *("alert", "rule", "segment", "capture", "quantity", "preset", "action"),
    *("category", "what", "box", "day"),
)


def camera_source(site: str, camera: str) -> str:
    """CloudEvents source of a camera."""
    return f"/{site}/camera/{camera}"


def sensor_source(site: str, sensor: str) -> str:
    """CloudEvents source of a sensor."""
    return f"/{site}/sensor/{sensor}"
