"""The analysis thread of a process: one thread, many lanes, fair by camera."""

import logging
import threading
from collections.abc import Mapping, Sequence

import msgspec

from detectors.detections import Detector
from events.clock import Clock
from events.errors import ModelError, StorageError
from pipeline.contract import Mode
from pipeline.lane import Lane
from pipeline.meter import Meter
from pipeline.policy import Live

log = logging.getLogger(__name__)


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the analysis thread shares itself out."""

    queued_limit: int = 256 << 20
    """Bytes of packets waiting, or held while asleep, over all cameras; above it the one with most sheds."""
    lazy_above: float = 0.75
    """Share of its time the thread may work before cameras with `decode = "auto"` turn lazy."""
    full_below: float = 0.35
    review_s: float = 10.0
    """How often one camera at most changes its decoding mode."""


class Scheduler:
    """Runs lanes until stopped. `notify` from any thread when there may be work."""

    def __init__(
        self,
        detectors: Mapping[str, Detector],
        lanes: Sequence[Lane],
        auto: frozenset[str],
        settings: SchedulerSettings,
        clock: Clock,
        meter: Meter,
    ) -> None:
        """`detectors`: by camera; some share one. `auto`: ids of the cameras whose decoding mode follows the
        load."""
        self._detectors = detectors
        self._lanes = list(lanes)
        self._auto = auto
        self._settings = settings
        self._clock = clock
        self.meter = meter
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self._idle_s = 0.0
        self._reviewed = clock.monotonic()
        self.failure: BaseException | None = None
        self.load = 0.0
        """Share of the last review's time that the thread worked."""
        self.steps = 0
        """Grows with all that the thread does: as long as it grows, it does not hang."""

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        """A keyframe came, or a packet of a camera that is awake."""
        self._wake.set()

    def drain(self, timeout_s: float) -> bool:
        """Stop once all lanes are empty; False if that took longer."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return any(lane.busy for lane in self._lanes)

    def _run(self) -> None:
        try:
            while True:
                worked = self._round()
                self._review()
                if worked:
                    continue
                if self._stop.is_set():
                    return
                before = self._clock.monotonic()
                self._wake.wait(1.0)
                # Packets come one by one; a breath lets several gather, so that a wake-up serves them all.
                self._stop.wait(0.02)
                self._wake.clear()
                self._idle_s += self._clock.monotonic() - before
        except BaseException as e:  # the supervisor restarts the process
            self.failure = e
            log.exception("the analysis thread failed")

    def _round(self) -> bool:
        """One turn for every lane: all its packets up to, and including, one inference."""
        worked = False
        for lane in self._lanes:
            if not lane.busy:
                continue
            worked = True
            self.steps += 1
            try:
                self._serve(lane)
            except (StorageError, ModelError):
                raise  # of all cameras: the process is started again, and resumes
            except Exception as e:  # noqa: BLE001 - one camera's
                lane.fail(e)
        self._bound()
        return worked

    def _serve(self, lane: Lane) -> None:
        while (look := lane.advance()) is not None and not lane.granted():
            self.steps += 1
            lane.answer(None)  # costs no turn, or the lane behind would fall ever further behind
        if look is None:
            return
        self.meter.start()
        detections = self._detectors[lane.camera].detect(look.frame, look.crops)
        self.meter.stop("convert")  # boxes out of the outputs; the detector marks what came before
        lane.answer(detections)
        self.meter.stop("journal")  # the loop marked its own stages; the rest was saying what it found

    def _bound(self) -> None:
        if sum(lane.bytes for lane in self._lanes) <= self._settings.queued_limit:
            return
        worst = max(self._lanes, key=lambda lane: lane.bytes)
        if isinstance(worst.policy, Live):
            worst.policy.force()

    def _review(self) -> None:
        """Once in a while: is there room to decode more, or reason to decode less?"""
        now = self._clock.monotonic()
        elapsed = now - self._reviewed
        if elapsed < self._settings.review_s:
            return
        self.load = max(0.0, 1 - self._idle_s / elapsed)
        self._reviewed, self._idle_s = now, 0.0
        candidates = [lane for lane in self._lanes if lane.camera in self._auto]
        if self.load > self._settings.lazy_above:
            self._turn(candidates, "lazy")
        elif self.load < self._settings.full_below:
            self._turn(candidates, "full")

    @staticmethod
    def _turn(lanes: Sequence[Lane], mode: Mode) -> None:
        """Ask one camera, of those that can follow and were not asked already (one that is away may be)."""
        for lane in lanes:
            policy = lane.policy
            able = lane.loop.choice is not None and lane.loop.choice != mode
            if able and isinstance(policy, Live) and policy.wanted != mode:
                policy.want(mode)
                return
