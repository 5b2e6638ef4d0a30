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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from events.clock import Clock
from events.errors import BusError, ConfigError, LinliError
from pipeline.cluster_status import ClusterStatus, State
from pipeline.holding import END_S, Holding, Plan, Tell
from pipeline.seat import POLL_S, Twin, TwinBox

log = logging.getLogger(__name__)

TURN_S = 0.5
"""How long one poll of the group takes."""

REST_S = 120.0
"""A box that left the group because no worker came up tries again after so long."""

STATUS_S = 2.0
"""How often the status is written at least."""


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


class Membership:
    """Runs in a thread of its own between `start` and `finish`."""

    def __init__(
        self,
        plan: Plan,
        holding: Holding,
        path: Path,
        clock: Clock,
        tell: Tell,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`path`: of the status. `tell`: of the box's health. `failed`: called when
        `failure` says why the box cannot go on. Give it its seat by `sit` before anything else."""
        self._plan, self._holding, self._clock = plan, holding, clock
        self._tell, self._failed = tell, failed
        self._status_path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self._started_at = clock.monotonic()
        self._state: State = "joining"
        self._doubt = False
        """What runs may have been claimed by another box."""
        self._joined = False
        """The twin was looked for since the group was joined."""
        self._noted: set[int] = set()
        """What health was told that this box reads."""
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

    def open(self) -> None:
        """Take the seat for the first time. Brokers that are away are no reason not to start.

        Raises:
            ConfigError: the topic is not as it has to be, or another box has this name.
            StorageError: what was held cannot be read.
        """
        self._holding.load()
        try:
            self._group.open(self._plan.shares)
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
        self._holding.finish()
        self._group.close()
        self._write(last=True)

    def _turn(self) -> None:
        if self._state == "resting":
            if self._clock.monotonic() < self._rest_until:
                self._stop.wait(TURN_S)
                return
            self._state = "joining"
        if why := self._holding.crew.sick():
            self._rest(why)
            return
        self._holding.crew.turn()
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
        before = self._holding.running
        if before and not wanted and self._group.partitions != self._plan.shares:
            self._alone("the topic of shares is not there any more; make it with `linli topics apply`")
            return
        self._holding.end(before - wanted)
        if self._doubt:
            self._holding.end(self._holding.claimed_by_others())
            self._doubt = False
        for share in sorted(wanted - self._holding.running):
            self._holding.begin(share)
        self._rebalanced()
        self._state, self._problem = "member", ""
        if self._told:
            self._told = ""
            self._tell("cleared", "the box is among the others again", {"box": self._plan.box})

    def _alone(self, why: str) -> None:
        """The brokers are away: go on with what is read, or was last, or stop."""
        text = f"cut off from the other boxes: {why}" if why else "cut off from the other boxes"
        if self._plan.when_cut == "stop":
            self._holding.pause()
            text += "; nothing is read until they are back ([cluster] when_cut)"
        else:
            self._holding.again()
            self._doubt = True
            reads = bool(self._holding.running)
            text += "; it goes on with its own cameras" if reads else "; it has no cameras of its own yet"
        self._state = "cut-off"
        self._trouble(text)

    def _rest(self, why: str) -> None:
        """Leave, so that others read the cameras."""
        self._state = "resting"
        self._trouble(f"{why}: the cameras are left to the other boxes for {REST_S:.0f} s")
        self._holding.end(self._holding.running)
        self._group.close()
        self._joined = False
        self._rest_until = self._clock.monotonic() + REST_S

    def _rebalanced(self) -> None:
        now, reads = self._clock.monotonic(), self._holding.running
        took = now - (self._unsettled_at if self._unsettled_at is not None else now)
        self._unsettled_at = None
        if reads == self._noted:
            return
        self._rebalances += 1
        self._rebalance_s = round(took, 2)
        came, went = reads - self._noted, self._noted - reads
        self._noted = reads
        text = f"shares of this box: {_listed(reads)} (new: {_listed(came)}; gone: {_listed(went)})"
        log.info("%s", text)
        self._tell("note", text, {"box": self._plan.box, "shares": float(len(reads))})

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
        return ClusterStatus(
            box=self._plan.box,
            state=self._state,
            shares=tuple(sorted(self._holding.running)),
            tokens=self._holding.tokens,
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
