"""What a box reads: its shares, under which tokens, and the workers that do it.

What is held is kept in a file, so that a box that starts without brokers knows what it read last.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from events.clock import Clock
from pipeline.shares import Held, cameras_of, read_held, write_held

log = logging.getLogger(__name__)

DRAIN_S = 5.0
"""A worker whose share goes to another box is drained for so long, and then killed."""

END_S = 60.0
"""The same when the box ends: nobody waits for it."""

Tell = Callable[[Literal["raised", "cleared", "note"], str, Mapping[str, float | str]], None]


class ClaimBook(Protocol):
    """What `pipeline.claiming.Claims` does; there it says how."""

    def take(self, box: str, share: int, cameras: Sequence[str], now_us: int) -> dict[str, int]: ...
    def others(self, box: str, tokens: Mapping[str, int]) -> set[str]: ...
    def close(self) -> None: ...


class Crew(Protocol):
    """The workers of this box, one for each share."""

    def start(self, share: int) -> None:
        """Start the share's worker, if it has cameras. Its tokens are on the disk."""

    def stop(self, shares: Iterable[int], timeout_s: float) -> None:
        """Drain these; who takes longer is killed."""

    def sick(self) -> str:
        """Why no worker of this box comes up; empty: all is well, or some do."""

    def turn(self) -> None:
        """Called at each turn: for what can wait."""

    def close(self) -> None:
        """No more workers will be asked for."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the site file says."""

    box: str
    cameras: tuple[str, ...]
    shares: int
    when_cut: Literal["go-on", "stop"]
    session_s: float


class Holding:
    """Two threads use it: the one that takes part in the group, and the one that gives up for it.

    Args:
        path: of the file.
        tell: of the box's health.
    """

    def __init__(
        self, plan: Plan, claims: ClaimBook, crew: Crew, path: Path, clock: Clock, tell: Tell
    ) -> None:
        self._plan, self._claims, self.crew, self._clock = plan, claims, crew, clock
        self._path, self._tell = path, tell
        self._lock = threading.Lock()
        self._held = Held(box=plan.box)
        self._running: set[int] = set()
        self._newest = 0
        """The largest token that this box had."""

    def load(self) -> None:
        """Know what was read last.

        Raises:
            StorageError: the file cannot be read.
        """
        kept, plan = read_held(self._path), self._plan
        ours = {s: t for s, t in kept.shares.items() if kept.of(s, plan.shares, plan.cameras)}
        self._held = Held(box=plan.box, shares=ours if kept.box == plan.box else {})
        self._newest = max((t for tokens in kept.shares.values() for t in tokens.values()), default=0)

    @property
    def running(self) -> set[int]:
        """The shares that are read."""
        with self._lock:
            return set(self._running)

    @property
    def tokens(self) -> dict[str, int]:
        """Camera -> token, of what is read."""
        with self._lock:
            return {c: t for share in self._running for c, t in self._held.tokens(share).items()}

    def reads(self) -> dict[int, int]:
        """Share -> its newest token, of what is read now."""
        with self._lock:
            return {share: max(self._held.tokens(share).values(), default=0) for share in self._running}

    def begin(self, share: int) -> None:
        """Claim the share's cameras, keep the tokens, read.

        Raises:
            BusError: they could not be claimed.
            StorageError: the tokens could not be kept.
        """
        plan = self._plan
        cameras = cameras_of(plan.cameras, share, plan.shares)
        tokens = self._claims.take(plan.box, share, cameras, self._clock.wall_us()) if cameras else {}
        self._check_grown(tokens)
        with self._lock:
            self._held = Held(box=plan.box, shares={**self._held.shares, share: tokens})
            write_held(self._path, self._held)
            self._running.add(share)
        self.crew.start(share)

    def end(self, shares: Iterable[int], timeout_s: float = DRAIN_S) -> None:
        """Read these no more."""
        with self._lock:
            gone = set(shares) & self._running
        if not gone:
            return
        self.crew.stop(gone, timeout_s)
        with self._lock:
            self._running -= gone
            kept = {s: t for s, t in self._held.shares.items() if s not in gone}
            self._held = Held(box=self._plan.box, shares=kept)
            write_held(self._path, self._held)

    def again(self) -> None:
        """Where nothing is read, after a start without brokers: read what was last, under its tokens."""
        with self._lock:
            if self._running:
                return
            shares = sorted(self._held.shares)
            self._running = set(shares)
        for share in shares:
            self.crew.start(share)

    def pause(self) -> None:
        """Read nothing, and keep in mind what was read."""
        with self._lock:
            gone, self._running = self._running, set()
        self.crew.stop(gone, END_S)

    def finish(self) -> None:
        """The box ends."""
        self.crew.close()
        self.pause()
        self._claims.close()

    def claimed_by_others(self) -> set[int]:
        """Of the shares that are read, those of which another box has claimed something meanwhile."""
        with self._lock:
            tokens = {c: t for s in self._running for c, t in self._held.tokens(s).items()}
            shares = {c: s for s in self._running for c in self._held.tokens(s)}
        return {shares[camera] for camera in self._claims.others(self._plan.box, tokens)}

    def _check_grown(self, tokens: Mapping[str, int]) -> None:
        """Tokens that begin again say that the wrong one has the word."""
        newest = max(tokens.values(), default=0)
        if 0 < newest <= self._newest:
            text = (
                f"the topic of claims was made anew: the token {newest} follows {self._newest}, so what two "
                "boxes see at once may be counted wrongly until tokens are larger; never delete that topic"
            )
            log.error("%s", text)
            self._tell("note", text, {"box": self._plan.box})
        self._newest = max(self._newest, newest)
