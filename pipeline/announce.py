"""A segment index that also says so when a segment is finished: an event for everyone who copies footage."""

from events.clock import Clock
from events.events import Segment, camera_source
from storage.journal import Journal
from storage.rows import SegmentRow, SegmentState


class AnnouncingIndex:
    """A `storage.rows.SegmentIndex` in front of the journal's own."""

    def __init__(self, journal: Journal, site: str, clock: Clock) -> None:
        self._journal = journal
        self._site = site
        self._clock = clock

    def put_segment(self, row: SegmentRow) -> None:
        self._journal.put_segment(row)
        if row.state == "open":
            return
        data = Segment(
            segment=row.id,
            stream=row.stream,
            path=row.path,
            start_us=row.start_us,
            end_us=row.end_us,
            bytes=row.bytes,
            sha256=row.sha256,
            recovered=row.state == "recovered",
        )
        self._journal.note(camera_source(self._site, row.camera), data, self._clock.wall_us())

    def segments(
        self,
        camera: str | None = None,
        stream: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        state: SegmentState | None = None,
    ) -> list[SegmentRow]:
        return self._journal.segments(camera, stream, from_us, to_us, state)

    def delete_segment(self, id: str) -> None:
        self._journal.delete_segment(id)
