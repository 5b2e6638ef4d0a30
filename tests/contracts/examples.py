"""Events to store, in every form."""

from collections.abc import Sequence

import msgspec

from events.events import (
    AlertCleared,
    AlertRaised,
    AlertUpdated,
    AnyPayload,
    ClaimTaken,
    Crossing,
    Event,
    FaceCaptured,
    FaceDeleted,
    Health,
    Interval,
    Judged,
    Reading,
    ViewChanged,
    camera_source,
    sensor_source,
)
from events.ids import event_id

CAMERA = camera_source("site", "gate")
SENSOR = sensor_source("site", "manhole-7")
EPOCH = 1_700_000_000_000_000


def crossing(sequence: int, *, direction: str = "in", label: str = "person", source: str = CAMERA) -> Event:
    """Number `sequence` of the family count."""
    data = Crossing(rule="door", direction=direction, label=label, track=sequence + 1, at=(0.5, 0.25))  # type: ignore[arg-type]
    return event(data, sequence, source=source)


def event(data: AnyPayload, sequence: int, *, source: str = CAMERA, epoch: int = EPOCH) -> Event:
    """The payload in an envelope, a second of media time per sequence number."""
    return Event(
        id=event_id(source, epoch, type(data).__name__, sequence),
        source=source,
        time_us=epoch + sequence * 1_000_000,
        epoch=epoch,
        sequence=sequence,
        pts=sequence * 90_000,
        data=data,
    )


def interval(sequence: int, start_us: int, counts: dict[str, int], *, epoch: int = EPOCH) -> Event:
    """A minute of the rule `door`."""
    data = Interval(
        rule="door", start_us=start_us, end_us=start_us + 60_000_000, counts=counts, observed_s=30.0
    )
    return event(data, sequence, epoch=epoch)


def alert(name: str, first: int = 0) -> Sequence[Event]:
    """Raised, updated, cleared, with sequence numbers from `first`."""
    box = (0.1, 0.2, 0.3, 0.4)
    since = EPOCH + first * 1_000_000
    return (
        event(
            AlertRaised(
                alert=name,
                rule="yard",
                kind="intrusion",
                severity="major",
                label="person",
                tracks=(1,),
                box=box,
                since_us=since,
                detail={"dwell_s": 2.5},
            ),
            first,
        ),
        event(AlertUpdated(alert=name, rule="yard", tracks=(1, 2), box=(0.1, 0.2, 0.5, 0.6)), first + 1),
        event(AlertCleared(alert=name, rule="yard", reason="left", until_us=since + 1_500_000), first + 2),
    )


def health(state: str, what: str = "connection") -> Health:
    return Health(what=what, state=state, message=f"{what} {state}")  # type: ignore[arg-type]


def reading(sequence: int, value: float, *, second: int | None = None, sensor: str = SENSOR) -> Event:
    """A water level, measured at `second` after EPOCH (by default `sequence`)."""
    at = EPOCH + (sequence if second is None else second) * 1_000_000
    data = Reading(quantity="level", value=value, unit="m", received_us=at + 500_000)
    return msgspec.structs.replace(event(data, sequence, source=sensor), time_us=at)


def face(sequence: int, *, sealed: bool = True) -> Event:
    """Capture `f{sequence}`, at `sequence` seconds after EPOCH."""
    at = EPOCH + sequence * 1_000_000
    name = f"f{sequence}"
    data = FaceCaptured(
        capture=name,
        track=sequence,
        since_us=at - 1_000_000,
        until_us=at + 500_000,
        at_us=at,
        box=(0.4, 0.4, 0.45, 0.5),
        quality=0.75,
        measures={"size": 0.75, "width_px": 64.0},
        picture=f"faces/{name}.jpg",
        sealed=f"sealed/{name}" if sealed else "",
    )
    return event(data, sequence)


def face_gone(capture: str, what: str, sequence: int) -> Event:
    """Deleted because its time was up."""
    return event(FaceDeleted(capture=capture, what=what, reason="expired"), sequence)  # type: ignore[arg-type]


def view(state: str, sequence: int, preset: str = "", *, epoch: int = EPOCH) -> Event:
    """The gate's dome moves or has arrived."""
    return event(ViewChanged(state=state, preset=preset, score=0.5), sequence, epoch=epoch)  # type: ignore[arg-type]


def judged(alert: str, verdict: str, sequence: int, note: str = "") -> Event:
    """By Wang."""
    data = Judged(alert=alert, rule="yard", verdict=verdict, who="wang", note=note)  # type: ignore[arg-type]
    return event(data, sequence)


def claim(box: str, epoch: int, token: int, since_us: int, *, source: str = CAMERA) -> Event:
    """The box opened the stream epoch under the token."""
    data = ClaimTaken(stream="main", stream_epoch=epoch, token=token, box=box, since_us=since_us)
    its_journal = EPOCH + sum(box.encode())
    said = event(data, token, source=source, epoch=its_journal)
    return msgspec.structs.replace(said, time_us=since_us)
