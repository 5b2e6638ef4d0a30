"""What is made of recorded footage after an event, behind the live loop: the base of evidence and portraits.

A consumer of the bus like any other. It commits only what is done, so a kill makes it do a thing again, never
miss one; a full disk makes it wait. Nothing here costs the frame loop anything.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence

import msgspec

from events.bus import Bus, Record, Subscription
from events.clock import Clock
from events.errors import DiskFull, LinliError, StorageError
from events.events import Event
from pipeline.service import Service

log = logging.getLogger(__name__)

COMMIT_S = 30.0
"""How often it is said that nothing was there to be done."""
PATIENCE_S = 90.0
"""How long footage and trace of an event are waited for before what is there is taken."""
LAST_S = 30.0
"""After `stop` nothing more is begun when so much time has gone."""


class Job(msgspec.Struct):
    """An event to be worked off."""

    record: Record
    since: float
    """Monotonic time at which the event was read."""
    steps: "list[Step]"
    """What is left to be done."""

    @property
    def event(self) -> Event:
        """What happened."""
        return self.record.event

    @property
    def camera(self) -> str:
        """Where it happened."""
        return self.event.key


Step = Callable[[Job, bool, bool], bool]
"""(job, patient, waits) -> whether it is done. `patient`: what is not there yet may be waited for. `waits`:
so may what is still to be recorded; False while stopping."""


class Afterwork(Service):
    """Works off events in the order of their footage.

    At `stop` it does what all footage is there for, for `LAST_S` at most; the rest is done at the next start.
    """

    stop_s = 45.0

    def __init__(self, bus: Bus, group: str, families: Sequence[str], clock: Clock) -> None:
        """`group`: by which the bus knows how far it is."""
        self._bus = bus
        self._group = group
        self._families = families
        self._clock = clock
        self._jobs: list[Job] = []
        self._committed: dict[str, int] = {}
        self._commit_at = 0.0
        """Monotonic time at which events that ask for nothing are worth a commit, too."""
        self._last_at = 0.0
        """Monotonic time after which a stopping service begins nothing more; 0 while it goes on."""
        super().__init__(group)

    @abstractmethod
    def _steps(self, record: Record) -> Sequence[Step]:
        """What is to be done for the event, each step on its own; nothing: it asks for nothing."""

    def _run(self) -> None:
        subscription = self._bus.subscribe(self._group, self._families)
        said = ""
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    self._round(subscription, stopping)
                    said = ""
                except StorageError as e:
                    if str(e) != said:  # not at each attempt
                        log.error("%s has to wait: %s", self._group, e)
                    said = str(e)
                    self._stop.wait(2.0)
                if stopping:
                    return
        finally:
            subscription.close()

    def _round(self, subscription: Subscription, stopping: bool) -> None:
        for record in subscription.poll(0.0 if stopping else 0.5):
            if steps := list(self._steps(record)):
                self._jobs.append(Job(record, self._clock.monotonic(), steps))
        waiting = len(self._jobs)
        try:
            self.work(stopping)
        finally:
            self._commit(subscription, stopping or len(self._jobs) < waiting)

    def _commit(self, subscription: Subscription, now: bool) -> None:
        done = dict(subscription.position)
        for record in (job.record for job in self._jobs):
            done[record.log] = min(done.get(record.log, record.offset), record.offset - 1)
        if done != self._committed and (now or self._clock.monotonic() >= self._commit_at):
            subscription.commit(done)
            self._committed, self._commit_at = done, self._clock.monotonic() + COMMIT_S

    def work(self, stopping: bool = False) -> None:
        """Do what can be done now. `stopping`: nothing more is recorded, so that nothing later is waited for.

        Raises:
            DiskFull: what was not done stays to be done.
        """
        if stopping and not self._last_at:
            self._last_at = self._clock.monotonic() + LAST_S
        # The first steps of all, which take a moment (pictures), before clips, which take seconds.
        order = [(job, job.steps[0]) for job in self._jobs]
        order += [(job, step) for job in self._jobs for step in job.steps[1:]]
        try:
            for job, step in order:
                if stopping and self._clock.monotonic() >= self._last_at:
                    log.info("%s leaves the rest for the next start", self._group)
                    return
                patient = self._clock.monotonic() - job.since < PATIENCE_S
                if self._tried(step, job, patient, patient and not stopping):
                    job.steps.remove(step)
        finally:
            self._jobs = [job for job in self._jobs if job.steps]

    def _tried(self, step: Step, job: Job, patient: bool, waits: bool) -> bool:
        """Whether it is over with this step: done, or given up."""
        try:
            return step(job, patient, waits)
        except DiskFull:
            raise
        except Exception as e:  # or one event would end all services, and again at each start
            if not patient:
                known = isinstance(e, LinliError | OSError | ValueError)
                text = "no %s for %s of %s: %s"
                log.error(text, self._group, job.event.subject, job.camera, e, exc_info=not known)
            return not patient
