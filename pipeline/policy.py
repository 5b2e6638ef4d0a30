"""What is decided for the loop from outside: which looks are refused, which packets are skipped.

Live, that depends on how far the box is behind, so it is written into the trace. A replay reads it there
(`AsSeen`) or decides that nothing is ever shed (`Unlimited`). One contract, three implementations.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from ingest.packets import Packet
from pipeline.contract import Mode
from storage import trace


class Policy(Protocol):
    """Asked by the lane before each packet and each look."""

    def skip(self, packet: Packet, behind_s: float) -> bool:
        """Shed this packet? `behind_s`: media time between it and the newest packet received."""

    def look(self, pts: int, behind_s: float) -> bool:
        """Grant inference for the picture at `pts`?"""

    def mode(self, pts: int) -> Mode | None:
        """Decoding mode wanted from here on; None: as it is."""

    def told(self, pts: int) -> Sequence[trace.Told]:
        """What came from outside since the last packet, to be told before the packet at `pts`."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When the box is too slow, in seconds behind the newest packet. Newest pictures win."""

    refuse_s: float = 1.0
    resume_s: float = 0.3
    skip_s: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.resume_s < self.refuse_s < self.skip_s:
            raise ValueError("shedding needs 0 < resume_s < refuse_s < skip_s")


class Live:
    """Sheds by how far the lane is behind, with hysteresis: first looks, then whole groups of pictures."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._wanted: Mode | None = None
        self._skipping = False
        self._told: deque[trace.Verdict] = deque()
        self._position: deque[trace.Position] = deque(maxlen=1)
        self.refusing = False

    @property
    def shedding(self) -> bool:
        return self.refusing or self._skipping

    def skip(self, packet: Packet, behind_s: float) -> bool:
        if self._skipping:
            self._skipping = not (packet.keyframe and behind_s < self._limits.refuse_s)
        else:
            self._skipping = behind_s > self._limits.skip_s
        # A camera that fell asleep after a refused look asks for no other: this tells that all is well.
        self.refusing = self.refusing and behind_s > self._limits.resume_s
        return self._skipping

    def look(self, pts: int, behind_s: float) -> bool:
        if self.refusing:
            self.refusing = behind_s > self._limits.resume_s
        else:
            self.refusing = behind_s > self._limits.refuse_s
        return not self.refusing

    def force(self) -> None:
        """Too many bytes wait: skip to where the camera is now."""
        self._skipping = True

    @property
    def wanted(self) -> Mode | None:
        """What the camera was asked for and has not begun."""
        return self._wanted

    def want(self, mode: Mode) -> None:
        """The scheduler's choice for a camera with `decode = "auto"`."""
        self._wanted = mode

    def mode(self, pts: int) -> Mode | None:
        wanted, self._wanted = self._wanted, None
        return wanted

    def tell(self, line: trace.Told) -> None:
        """From any thread: the loop is told with the next packet, whose time the line gets. Of positions only
        the last is, for a dome tells them for as long as its stream is away."""
        if isinstance(line, trace.Position):
            self._position.append(line)
        else:
            self._told.append(line)

    @property
    def untold(self) -> bool:
        """A judgement waits for a packet to be told with."""
        return bool(self._told)

    def told(self, pts: int) -> Sequence[trace.Told]:
        if not self._told and not self._position:
            return ()
        lines: list[trace.Told] = [self._told.popleft() for _ in range(len(self._told))]
        lines += [self._position.popleft() for _ in range(len(self._position))]
        return [msgspec.structs.replace(line, pts=pts) for line in lines]


class Unlimited:
    """What a box without limits would do: nothing is shed."""

    def skip(self, packet: Packet, behind_s: float) -> bool:
        return False

    def look(self, pts: int, behind_s: float) -> bool:
        return True

    def mode(self, pts: int) -> Mode | None:
        return None

    def told(self, pts: int) -> Sequence[trace.Told]:
        return ()


class AsSeen:
    """Follows the trace of what was done."""

    def __init__(self, lines: Iterable[trace.Line]) -> None:
        self._refused: set[int] = set()
        self._skips: dict[int, int] = {}
        self._modes: dict[int, Mode] = {}
        self._told: dict[int, list[trace.Told]] = {}
        self._until: int | None = None
        for line in lines:
            match line:
                case trace.Shed(from_pts=start, why="look"):
                    self._refused.add(start)
                case trace.Shed(from_pts=start, to_pts=end, why="packets"):
                    self._skips[start] = end
                case trace.Mode(pts=pts, mode=mode, forced=False):
                    self._modes[pts] = mode
                case trace.Verdict() | trace.Position():
                    self._told.setdefault(line.pts, []).append(line)
                case _:
                    pass

    def skip(self, packet: Packet, behind_s: float) -> bool:
        if self._until is not None and packet.keyframe and packet.pts >= self._until:
            self._until = None
        if self._until is None:
            self._until = self._skips.get(packet.pts)
        return self._until is not None

    def look(self, pts: int, behind_s: float) -> bool:
        return pts not in self._refused

    def mode(self, pts: int) -> Mode | None:
        return self._modes.get(pts)

    def told(self, pts: int) -> Sequence[trace.Told]:
        return self._told.get(pts, ())
