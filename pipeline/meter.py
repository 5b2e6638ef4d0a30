"""CPU time by stage of the frame loop, so that the capacity planner can say where it goes."""

from collections.abc import Callable

STAGES = ("demux", "record", "decode", "motion", "convert", "infer", "track", "rules", "journal")


class Meter:
    """Adds up the calling thread's CPU time between marks. One meter serves one thread.

    `cpu_ns` reads the thread's CPU clock (`events.clock.thread_cpu_ns`).
    """

    def __init__(self, cpu_ns: Callable[[], int]) -> None:
        self._cpu_ns = cpu_ns
        self._mark = 0
        self.ns: dict[str, int] = dict.fromkeys(STAGES, 0)

    def start(self) -> None:
        """Begin: time before this belongs to nobody."""
        self._mark = self._cpu_ns()

    def stop(self, stage: str) -> None:
        """The time since the last mark belongs to `stage`; a new mark is set."""
        now = self._cpu_ns()
        self.ns[stage] += now - self._mark
        self._mark = now
