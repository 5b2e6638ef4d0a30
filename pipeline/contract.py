"""What goes into a camera's loop and comes out of it: settings, states, looks, notes, output, tally."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import av
import msgspec

from detectors.detections import Crop
from events.events import Event
from storage.trace import Line

Mode = Literal["lazy", "full"]


class State(StrEnum):
    """How much of the stream is decoded."""

    ASLEEP = "asleep"
    AWAKE = "awake"
    DOZING = "dozing"


ALLOWED: dict[State, frozenset[State]] = {
    State.ASLEEP: frozenset({State.AWAKE}),
    State.AWAKE: frozenset({State.ASLEEP, State.DOZING}),
    State.DOZING: frozenset({State.AWAKE, State.ASLEEP}),
}


class LoopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop of one camera is told; times in seconds of media time."""

    fps: float = 5.0
    """Pictures a second that are looked at while awake."""
    quiet_s: float = 2.0
    """Nothing moved and nothing is tracked for so long: fall asleep."""
    doze_s: float = 10.0
    """Something is tracked but nothing moved for so long: doze."""
    gop_limit_s: float = 2.0
    """Keyframes further apart than this would leave the camera blind for too long: decode everything."""
    held_limit: int = 16 << 20
    """Bytes of packets held while asleep; more, and everything is decoded until the next keyframe."""
    mode: Mode = "lazy"


@dataclass(frozen=True, slots=True)
class Look:
    """A picture that is worth inference."""

    frame: av.VideoFrame
    pts: int
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the camera's health, without a place in the deterministic sequence of events."""

    what: str
    state: Literal["raised", "cleared", "note"]
    message: str
    detail: dict[str, float | str] = field(default_factory=dict)
    since_us: int = 0
    """Capture time at which it began; 0: nobody knows."""


@dataclass(slots=True)
class Output:
    """What the loop has to say since it was last asked."""

    events: list[Event] = field(default_factory=list)
    trace: list[Line] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What the loop did in all."""

    packets: int = 0
    decoded: int = 0
    probed: int = 0
    inferred: int = 0
    refused: int = 0
    skipped: int = 0
    wakes: int = 0
    tracks: int = 0
