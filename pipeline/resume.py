"""After a kill: what was recorded but not analysed to its end goes through the same loop once more.

From the last snapshot on, the events come out again with the same ids and sequence numbers; those that were
committed before are ignored by the journal, the rest is now kept. Then the epoch is ended.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from detectors.detections import Detector
from events.errors import LinliError
from pipeline.lane import Lane
from pipeline.policy import AsSeen
from pipeline.sink import JournalSink
from pipeline.stored import Run, drive, plan, traced
from storage.catalog import EpochRow
from storage.journal import Journal

log = logging.getLogger(__name__)


def unfinished(journal: Journal, camera: str, stream: str) -> list[EpochRow]:
    """Epochs that no one ended: their worker was killed."""
    return [row for row in journal.epochs(camera, stream) if row.end_pts is None]


def last_run(journal: Journal, epoch: EpochRow) -> Run | None:
    """The shortest run that ends with the epoch's last packet: from its newest snapshot."""
    rows = [r for r in journal.segments(epoch.camera, epoch.stream) if r.epoch == epoch.epoch]
    rows.sort(key=lambda r: r.n, reverse=True)
    taken = []
    for row in rows:
        taken.append(row)
        if row.n == 0 or journal.snapshot(epoch.camera, epoch.stream, row.id) is not None:
            break
    return plan(journal, epoch, taken) if taken else None


def resume(
    journal: Journal,
    epoch: EpochRow,
    footage: Path,
    detector: Detector,
    make_lane: Callable[[JournalSink, AsSeen], Lane],
    make_sink: Callable[[int], JournalSink],
) -> int:
    """Finish one epoch; answers how many seconds of footage were analysed again.

    An epoch that cannot be resumed (footage gone or damaged) is ended where it stands, and the log says so.
    The lanes that `make_lane` makes share the camera's loop.
    """
    try:
        run = last_run(journal, epoch)
        if run is None:
            _give_up(journal, epoch, make_lane, make_sink, "killed before anything was recorded")
            return 0
        sink = make_sink(run.snapshot.pts if run.snapshot else run.first_pts - 1)
        lane = make_lane(sink, AsSeen(traced(footage, run.segments)))
        last = drive(lane, detector, footage, run, end="killed")
        return (last - run.first_pts) // 90_000
    except Exception as e:  # or the same footage would stop every start anew
        if getattr(e, "retriable", False):
            raise  # no room: the start is tried again when there is some, and nothing is given up
        known = isinstance(e, LinliError)
        log.error(
            "%s/%s: epoch %d is not resumed: %r",
            epoch.camera,
            epoch.stream,
            epoch.epoch,
            e,
            exc_info=not known,
        )
        _give_up(journal, epoch, make_lane, make_sink, f"not resumed: {e}")
        return 0


def _give_up(
    journal: Journal,
    epoch: EpochRow,
    make_lane: Callable[[JournalSink, AsSeen], Lane],
    make_sink: Callable[[int], JournalSink],
    reason: str,
) -> None:
    """End the epoch without its packets. The loop may stand in it, from a snapshot or halfway through, with
    numbers that are taken: it has to leave it before the next one begins."""
    pts = 0
    try:
        sink = make_sink(-1)
        pts = sink.abandoned(make_lane(sink, AsSeen(())).loop, epoch.epoch)
    except Exception as e:  # the start goes on all the same
        if getattr(e, "retriable", False):
            raise
        log.exception("%s/%s: epoch %d is not ended well", epoch.camera, epoch.stream, epoch.epoch)
    journal.end_epoch(epoch.camera, epoch.stream, epoch.epoch, pts, reason)
