"""What the shipper says of itself: a file that the command line, the metrics and a person read."""

from pathlib import Path
from typing import Literal

import msgspec

from events.errors import StorageError

State = Literal["starting", "idle", "sending", "paused", "waiting"]


class ShippingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes; written to a file every other second."""

    pid: int
    state: State
    """paused: the hour allows nothing; waiting: for the store, see `problem`."""
    problem: str
    """Why nothing can be sent at present, with the mend; empty while all is well."""
    waiting: int
    waiting_bytes: int
    oldest_us: int
    """Capture time of the oldest that waits; 0: nothing does."""
    oldest_s: float
    """Its age."""
    now: str
    """Key that is being sent."""
    now_bytes: int
    now_sent: int
    limit_bytes_s: float | None
    """0: nothing; None: none."""
    sent: int
    """Items, since the start."""
    sent_bytes: int
    """That left, since the start, what was broken off included."""
    failures: int
    """Since the start."""
    done: int
    """Over all time."""
    done_bytes: int
    lost: int
    """Over all time."""
    lost_bytes: int
    seen_us: int
    """When this was written, microseconds since 1970."""


def write_status(path: Path, status: ShippingStatus) -> None:
    """Replace the file. Raises StorageError."""
    part = path.with_suffix(".part")
    try:
        part.write_bytes(msgspec.json.encode(status))
        part.replace(path)
    except OSError as e:
        raise StorageError(f"the status file {path} cannot be written: {e.strerror}") from e


def read_status(path: Path) -> ShippingStatus | None:
    """What was last said; None: nothing yet."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ShippingStatus)
    except (OSError, msgspec.MsgspecError):
        return None
