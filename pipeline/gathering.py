"""What is to be copied to an object store, found: segments by the journal's events, pictures and clips by
looking into their folders.

Captured faces are never looked for, pixelated or sealed: they do not leave the box.
"""

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from events.clock import Clock
from events.errors import StorageError
from events.events import Segment
from storage.journal import Journal
from storage.papers import FOOTAGE
from storage.rows import SegmentRow
from storage.spool import Item, Kind, Spool

log = logging.getLogger(__name__)

GROUP = "shipping"
"""The journal's consumer."""

FOLDERS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "clips": (("clips", "clip"),),
    "pictures": (("pictures", "picture"), ("health", "picture")),
}
"""What is shipped -> its folders below the objects, and the kind of what lies there."""

LOOK_S = 5.0
"""How often folders are looked at; one that did not change costs one look."""
GONE_S = 60.0
"""How often it is looked whether what waits is still there."""
KEPT_S = 3600.0
"""So long the spool remembers footage that is done."""

_PAGE = 500
_LOOKED = 200
"""So many in a row that are still there: retention deletes the oldest first, so the later ones are, too."""


class Gatherer:
    """Fills a spool. One thread uses it."""

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        footage: Path,
        objects: Path,
        ship: Collection[str],
        clock: Clock,
    ) -> None:
        """`ship`: footage, clips, pictures, or some of them."""
        self._spool = spool
        self._journal = journal
        self._footage = footage
        self._objects = objects
        self._ship = ship
        self._clock = clock
        self._look_at = 0.0
        self._gone_at = 0.0
        self._changed: dict[str, int] = {}
        self._told = -1

    def file(self, item: Item) -> Path:
        """Where the item's file is."""
        return (self._footage if item.kind == "footage" else self._objects) / item.path

    def trace(self, row: SegmentRow) -> Path | None:
        """Where the segment's trace is; None: there is none."""
        path = self._footage / row.trace_path
        return path if row.trace_path and path.exists() else None

    def row(self, item: Item) -> SegmentRow | None:
        """The index row of footage; None: retention deleted it."""
        camera, stream = item.path.split("/")[:2]
        rows = self._journal.segments(camera, stream, item.from_us, item.from_us)
        return next((row for row in rows if row.path == item.path), None)

    def gather(self) -> None:
        """One round.

        Raises:
            StorageError: journal or spool cannot be read or written.
        """
        if "footage" in self._ship:
            self._segments()
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            for name in FOLDERS:
                if name in self._ship:
                    for folder, kind in FOLDERS[name]:
                        self._look(folder, kind)

    def lost(self) -> list[Item]:
        """Once a minute: what retention deleted before it was sent; it is lost in the spool from then on."""
        now = self._clock.monotonic()
        if now < self._gone_at:
            return []
        self._gone_at = now + GONE_S
        self._spool.prune(self._clock.wall_us() - int(KEPT_S * 1e6))
        gone: list[Item] = []
        more = True
        while more:
            found = self._spool.of_state("waiting", _LOOKED)
            missing = [item for item in found if not self.file(item).exists()]
            for item in missing:
                self._spool.lose(item.key, "deleted before it was sent", self._clock.wall_us())
            gone += missing
            more = bool(missing) and len(found) == _LOOKED
        return gone

    def _segments(self) -> None:
        journal, spool = self._journal, self._spool
        position = spool.position(journal.id)
        if position is None:
            # What was deleted before anybody copied is not lost: the index says what there is.
            offset = journal.last_offset()
            rows = [row for row in journal.segments() if row.state != "open"]
            spool.take_in(journal.id, offset, [item_of(row) for row in rows])
            journal.add_consumer(GROUP)
            self._commit(offset)
            return
        while True:
            records, offset = journal.page(position, _PAGE, ("segment",))
            if offset == position:
                break
            items: list[Item] = []
            for record in records:
                data = record.event.data
                if isinstance(data, Segment):
                    items.append(_told(data))
            spool.take_in(journal.id, offset, items)
            position = offset
        self._commit(position)

    def _commit(self, offset: int) -> None:
        """Only says what may be pruned: the spool's own offset counts."""
        if offset != self._told:
            self._journal.commit(GROUP, offset)
            self._told = offset

    def _look(self, folder: str, kind: Kind) -> None:
        """A folder whose time did not change has the same files: each is put there by renaming."""
        path = self._objects / folder
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if self._changed.get(folder) == changed:
            return
        known = {
            key: stamp for key, stamp in self._spool.stamps(kind).items() if key.startswith(f"{folder}/")
        }
        found = {item.key: item for item in _files(path, folder, kind)}
        self._spool.add(item for key, item in found.items() if known.get(key) != item.stamp)
        self._spool.forget([key for key in known if key not in found])
        # In the tick in which it changed more may come that leave no mark.
        recent = self._clock.wall_us() * 1000 - changed < 2_000_000_000
        self._changed[folder] = -1 if recent else changed


def item_of(row: SegmentRow) -> Item:
    """A finished segment as something to be copied."""
    return Item(
        key=f"{FOOTAGE}{row.path}",
        kind="footage",
        path=row.path,
        sha256=row.sha256,
        bytes=row.bytes,
        from_us=row.start_us,
        to_us=row.end_us,
    )


def _told(data: Segment) -> Item:
    return Item(
        key=f"{FOOTAGE}{data.path}",
        kind="footage",
        path=data.path,
        sha256=data.sha256,
        bytes=data.bytes,
        from_us=data.start_us,
        to_us=data.end_us,
    )


def _files(path: Path, folder: str, kind: Kind) -> Iterator[Item]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(".tmp") or not entry.is_file():
                    continue
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # somebody was quicker
                    continue
                key = f"{folder}/{entry.name}"
                yield Item(
                    key=key,
                    kind=kind,
                    path=key,
                    bytes=stat.st_size,
                    from_us=stat.st_mtime_ns // 1000,
                    to_us=stat.st_mtime_ns // 1000,
                    stamp=f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}",
                )
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; mend its rights") from e
