"""What operators say of alerts, on its way from the journal to the cameras' loops."""

from collections.abc import Mapping

from events.events import Judged
from pipeline.lane import Lane
from pipeline.policy import Live
from storage import trace
from storage.journal import Journal

PAGE = 500


class Judgements:
    """Reads the journal's judgements and tells each to its camera's loop. Call `poll` now and then.

    How far it came is kept only when all that was read has been told and a round has passed since, so that
    the trace has it, too: a kill makes a judgement be told twice, which changes nothing, and never loses one.
    """

    def __init__(self, name: str, journal: Journal, lanes: Mapping[str, Lane]) -> None:
        """`name`: under which its place is kept. `lanes`: by the source of their events."""
        self._name = f"judgements:{name}"
        self._journal = journal
        self._lanes = lanes
        kept = journal.state(self._name)
        self._read = self._told = self._kept = int(kept) if kept else 0

    def poll(self) -> None:
        """Tell what is new.

        Raises:
            StorageError: the journal cannot be read or written.
        """
        policies = [lane.policy for lane in self._lanes.values() if isinstance(lane.policy, Live)]
        if self._told > self._kept and not any(policy.untold for policy in policies):
            self._journal.record((), state=(self._name, str(self._told).encode()))
            self._kept = self._told
        self._told = self._read
        records, self._read = self._journal.page(self._read, PAGE, ("judgement",))
        for record in records:
            data = record.event.data
            lane = self._lanes.get(record.event.source)
            if isinstance(data, Judged) and lane is not None and isinstance(lane.policy, Live):
                lane.policy.tell(trace.Verdict(pts=0, alert=data.alert, verdict=data.verdict))
