"""What a box says of its part among the others: a file that the metrics and a person read."""

from pathlib import Path
from typing import Literal

import msgspec

State = Literal["joining", "member", "cut-off", "resting"]


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a box stands among the others; kept in `run/cluster.json`."""

    box: str
    state: State
    shares: tuple[int, ...]
    """Read by this box."""
    tokens: dict[str, int]
    """Camera -> token."""
    generation: int
    """Of the group; -1: this box is not in it."""
    rebalances: int
    """Times at which shares came or went, since the start."""
    rebalance_s: float
    """How long the last of them took, from its first sign until all workers were started."""
    problem: str
    """What is wrong, and the mend; empty while all is well."""


def read_status(path: Path) -> ClusterStatus | None:
    """What a box last said of itself; None if it said nothing, or nothing that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterStatus)
    except (OSError, msgspec.DecodeError):
        return None
