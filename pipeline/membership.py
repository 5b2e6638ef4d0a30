"""Which box reads which camera: each of several boxes holds shares of the cameras, and reads those.

Kafka's consumer-group protocol deals the shares (`pipeline/seat.py`). What follows here:

* **Given** a share, the box claims each of its cameras (`pipeline/claiming.py`), keeps the tokens on its
  disk, and starts a worker for it.
* **Taken away** in order, its worker is drained before the group hears that it was given up: two boxes do not
  read a camera at once.
* **Cut off** from the brokers, the box goes on, or stops, as the site says. Others may read its cameras
  meanwhile, under larger tokens: then theirs is the word. When it is back, what is another's is drained, what
  was claimed by another and came back begins anew under a new token, and all else goes on untouched.
* **Sick**, when no worker of the box comes up, it leaves the group, so that others read its cameras, and
  comes back after a while. One that fails alone is no reason: a stream that kills its readers would go from
  box to box.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from events.clock import Clock
from events.errors import BusError, ConfigError, LinliError
from pipeline.cluster_status import ClusterStatus, State
from pipeline.seat import POLL_S, Twin, TwinBox
from pipeline.shares import Held, cameras_of, read_held, write_held

log = logging.getLogger(__name__)

TURN_S = 0.5
"""How long one poll of the group takes."""

DRAIN_S = 5.0
"""A worker whose share goes to another box is drained for so long, and then killed."""

END_S = 60.0
"""The same when the box ends: nobody waits for it."""

REST_S = 120.0
"""A box that left the group because no worker came up tries again after so long."""

STATUS_S = 2.0
"""How often the status is written at least."""

Tell = Callable[[Literal["raised", "cleared", "note"], str, Mapping[str, float | str]], None]


class Group(Protocol):
    """What `pipeline.seat.Seat` does; there it says how."""

    lost: bool

    @property
    def opened(self) -> bool: ...
    @property
    def joining(self) -> bool: ...
    @property
    def member(self) -> bool: ...
    @property
    def shares(self) -> set[int]: ...
    @property
    def generation(self) -> int: ...
    @property
    def partitions(self) -> int: ...
    @property
    def heard_at(self) -> float: ...

    def open(self, shares: int) -> None: ...
    def poll(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...
    def twin(self) -> Twin | None: ...
    def yields(self, twin: Twin) -> bool: ...
    def conflict(self, twin: Twin) -> TwinBox: ...


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


class Membership:
    """Runs in a thread of its own between `start` and `finish`."""

    def __init__(
        self,
        plan: Plan,
        claims: ClaimBook,
        crew: Crew,
        folder: Path,
        clock: Clock,
        tell: Tell,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder`: for `held.json` and `cluster.json`. `tell`: of the box's health. `failed`: called when
        `failure` says why the box cannot go on. Give it its seat by `sit` before anything else."""
        self._plan, self._claims, self._crew, self._clock = plan, claims, crew, clock
        self._tell, self._failed = tell, failed
        self._held_path, self._status_path = folder / "held.json", folder / "cluster.json"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        """Of what is read: the group's thread gives up what another thread looks at."""
        self._held: Held = Held(box=plan.box)
        self._running: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self._started_at = clock.monotonic()
        self._state: State = "joining"
        self._doubt = False
        """What runs may have been claimed by another box."""
        self._joined = False
        """The twin was looked for since the group was joined."""
        self._newest = 0
        """The largest token that this box had."""
        self._problem = ""
        self._told = ""
        """The trouble that health was told of."""
        self._rest_until = 0.0
        self._unsettled_at: float | None = None
        self._rebalances, self._rebalance_s = 0, 0.0
        self._written_at = 0.0
        self._group: Group
        self.failure: LinliError | None = None

    # --- from other threads

    def sit(self, group: Group) -> None:
        """Take this seat."""
        self._group = group

    def reads(self) -> dict[int, int]:
        """Share -> its newest token, of what is read now."""
        with self._lock:
            return {share: max(self._held.tokens(share).values(), default=0) for share in self._running}

    def give_up(self, shares: set[int]) -> None:
        """Drain these: another box will get them."""
        self._end(shares, DRAIN_S)

    def open(self) -> None:
        """Take the seat for the first time. Brokers that are away are no reason not to start.

        Raises:
            ConfigError: the topic is not as it has to be, or another box has this name.
            StorageError: what was held cannot be read.
        """
        kept = read_held(self._held_path)
        plan = self._plan
        ours = {s: t for s, t in kept.shares.items() if kept.of(s, plan.shares, plan.cameras)}
        self._held = Held(box=plan.box, shares=ours if kept.box == plan.box else {})
        self._newest = max((t for tokens in kept.shares.values() for t in tokens.values()), default=0)
        try:
            self._group.open(plan.shares)
        except BusError as e:
            log.error("%s", e)
            self._problem = str(e)

    def start(self) -> None:
        self._started_at = self._clock.monotonic()
        self._thread.start()

    def finish(self) -> None:
        """Drain all workers, leave the group, end. What was held is kept for a start without brokers."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(END_S + 15)

    # --- the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except TwinBox as e:
                self.failure = e
                self._failed()
                break
            except (LinliError, OSError) as e:
                self._trouble(str(e))
                self._stop.wait(1.0)
            except Exception as e:
                log.exception("the box's part in the group failed")
                self._trouble(f"the group: {type(e).__name__}; the log says where, report it")
                self._group.close()
                self._stop.wait(1.0)
            self._write()
        self._crew.close()
        self._crew.stop(set(self._running), END_S)
        with self._lock:
            self._running = set()
        self._group.close()
        self._claims.close()
        self._write(last=True)

    def _turn(self) -> None:
        if self._state == "resting":
            if self._clock.monotonic() < self._rest_until:
                self._stop.wait(TURN_S)
                return
            self._state = "joining"
        if why := self._crew.sick():
            self._rest(why)
            return
        self._crew.turn()
        away = self._poll()
        if self._group.member:
            if self._group.lost:
                self._group.lost, self._doubt, self._joined = False, True, False
            self._settle()
        elif self._cut():
            self._alone(away)
        elif away:
            self._problem = away

    def _poll(self) -> str:
        """Take part in the group; answers why that is not possible."""
        try:
            if not self._group.opened:
                self._group.open(self._plan.shares)
                self._doubt, self._joined = True, False
            before = self._group.generation
            self._group.poll(TURN_S)
            if self._unsettled_at is None and (not self._group.member or self._group.generation != before):
                self._unsettled_at = self._clock.monotonic()
        except TwinBox:
            raise
        except (BusError, ConfigError) as e:  # a topic that is gone is no reason to stop reading
            self._stop.wait(TURN_S)
            return str(e)
        return ""

    def _cut(self) -> bool:
        """Whether the brokers were silent for so long that the shares may be another's."""
        since = max(self._group.heard_at, self._started_at)
        wait_s = self._plan.session_s + 1
        if self._group.joining:  # no heartbeats while all wait for the slowest
            wait_s += POLL_S
        return self._clock.monotonic() - since > wait_s

    def _settle(self) -> None:
        """The group says what is ours: read that, and nothing else."""
        if self._cut():  # it says so still, but it has not been heard
            self._alone("the brokers do not answer")
            return
        if not self._joined:
            twin = self._group.twin()
            if twin is not None and self._group.yields(twin):
                raise self._group.conflict(twin)
            self._joined = True
        wanted = self._group.shares
        if self._running and not wanted and self._group.partitions != self._plan.shares:
            self._alone("the topic of shares is not there any more; make it with `linli topics apply`")
            return
        before = set(self._running)
        self._end(before - wanted, DRAIN_S)
        if self._doubt:
            self._end(self._claimed_by_others(), DRAIN_S)
            self._doubt = False
        for share in sorted(wanted - self._running):
            self._begin(share)
        if self._running != before or self._unsettled_at is not None:
            self._rebalanced(before)
        self._state, self._problem = "member", ""
        if self._told:
            self._told = ""
            self._tell("cleared", "the box is among the others again", {"box": self._plan.box})

    def _claimed_by_others(self) -> set[int]:
        """Of the shares that are read, those of which another box has claimed something meanwhile."""
        with self._lock:
            tokens = {c: t for s in self._running for c, t in self._held.tokens(s).items()}
            shares = {c: s for s in self._running for c in self._held.tokens(s)}
        return {shares[camera] for camera in self._claims.others(self._plan.box, tokens)}

    def _begin(self, share: int) -> None:
        """Claim the share's cameras, keep the tokens, read."""
        plan = self._plan
        cameras = cameras_of(plan.cameras, share, plan.shares)
        tokens = self._claims.take(plan.box, share, cameras, self._clock.wall_us()) if cameras else {}
        self._check_grown(tokens)
        with self._lock:
            self._held = Held(box=plan.box, shares={**self._held.shares, share: tokens})
            write_held(self._held_path, self._held)
            self._running.add(share)
        self._crew.start(share)

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

    def _end(self, shares: Iterable[int], timeout_s: float) -> None:
        """Read these no more."""
        with self._lock:
            gone = set(shares) & self._running
        if not gone:
            return
        self._crew.stop(gone, timeout_s)
        with self._lock:
            self._running -= gone
            kept = {s: t for s, t in self._held.shares.items() if s not in gone}
            self._held = Held(box=self._plan.box, shares=kept)
            write_held(self._held_path, self._held)

    def _alone(self, why: str) -> None:
        """The brokers are away: go on with what is read, or was last, or stop."""
        text = f"cut off from the other boxes: {why}" if why else "cut off from the other boxes"
        if self._plan.when_cut == "stop":
            with self._lock:
                gone, kept = set(self._running), self._held
            if gone:
                self._crew.stop(gone, END_S)
                with self._lock:
                    self._running, self._held = set(), kept
            text += "; nothing is read until they are back ([cluster] when_cut)"
        else:
            if not self._running:
                self._again()
            self._doubt = True
            text += (
                "; it goes on with its own cameras" if self._running else "; it has no cameras of its own yet"
            )
        self._state = "cut-off"
        self._trouble(text)

    def _again(self) -> None:
        """A start without brokers: what was read last, under the same tokens."""
        with self._lock:
            shares = sorted(self._held.shares)
            self._running |= set(shares)
        for share in shares:
            self._crew.start(share)

    def _rest(self, why: str) -> None:
        """Leave, so that others read the cameras."""
        self._state = "resting"
        self._trouble(f"{why}: the cameras are left to the other boxes for {REST_S:.0f} s")
        self._end(set(self._running), DRAIN_S)
        self._group.close()
        self._joined = False
        self._rest_until = self._clock.monotonic() + REST_S

    def _rebalanced(self, before: set[int]) -> None:
        now = self._clock.monotonic()
        took = now - (self._unsettled_at if self._unsettled_at is not None else now)
        self._unsettled_at = None
        if self._running == before:
            return
        self._rebalances += 1
        self._rebalance_s = round(took, 2)
        came, went = sorted(self._running - before), sorted(before - self._running)
        text = f"shares of this box: {_listed(self._running)} (new: {_listed(came)}; gone: {_listed(went)})"
        log.info("%s", text)
        self._tell("note", text, {"box": self._plan.box, "shares": float(len(self._running))})

    def _trouble(self, text: str) -> None:
        """Tell once, not at each turn."""
        self._problem = text
        if not self._told:
            self._told = text
            log.error("%s", text)
            self._tell("raised", text, {"box": self._plan.box})

    # --- status

    @property
    def status(self) -> ClusterStatus:
        """How it goes now."""
        with self._lock:
            running = sorted(self._running)
            tokens = {c: t for s in running for c, t in self._held.tokens(s).items()}
        return ClusterStatus(
            box=self._plan.box,
            state=self._state,
            shares=tuple(running),
            tokens=tokens,
            generation=self._group.generation,
            rebalances=self._rebalances,
            rebalance_s=self._rebalance_s,
            problem=self._problem,
        )

    def _write(self, last: bool = False) -> None:
        now = self._clock.monotonic()
        if not last and now - self._written_at < STATUS_S:
            return
        self._written_at = now
        part = self._status_path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(self.status))
            part.replace(self._status_path)
        except OSError as e:
            log.warning("the status file %s cannot be written: %s", self._status_path, e.strerror)


def _listed(shares: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(shares))) or "none"
