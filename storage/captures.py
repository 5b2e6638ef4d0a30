"""What is kept of captured faces, for how long, and how it goes.

    faces/CAMERA/CAPTURE.jpg    the pixelated crop
    faces/CAMERA/CAPTURE.age    the original, sealed (`storage/sealing.py`), where the site keeps one

The events say what was captured and what was deleted; of the pictures they hold nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from events.errors import ConfigError
from events.events import FaceDeleted
from storage.database import storage_error
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.projections import FaceRow
from storage.sealing import check_recipient
from storage.store import Store

PREFIX = "faces/"
_PAGE = 500
_HALF_US = 3_600_000_000
"""A file that was not finished for so long will not be: a kill left it."""


class FacesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[faces]: what is kept of the faces that cameras of kind `face` capture."""

    model: str = "centerface"
    """A face detector from `linli models list`, or the path of a manifest, relative to the site file."""
    originals: Literal["none", "sealed"] = "none"
    """none: only pixelated crops are kept; sealed: the originals, too, encrypted for `recipient`."""
    recipient: str = ""
    """The public half of the key, age1..., as `linli faces keygen` printed it."""
    identity: str = ""
    """File with the other half, protected by a passphrase, relative to the site file: originals can be opened
    on the page. Without it nobody can open them on this machine."""
    keep_days: Annotated[float, msgspec.Meta(gt=0)] = 7.0
    """Pixelated crops older than this are deleted."""
    sealed_days: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    """Originals older than this are deleted; at most `keep_days`."""
    filing_at: Annotated[int, msgspec.Meta(gt=0)] = 100_000
    """Persons from which on the law asks for filing; shown beside the number of pictures."""

    def __post_init__(self) -> None:
        if self.originals == "sealed" and not self.recipient:
            raise ValueError(
                'originals = "sealed" needs a recipient: make a key with '
                "`linli faces keygen --out FILE` and write the recipient that it prints"
            )
        if self.recipient:
            try:
                check_recipient(self.recipient)
            except ConfigError as e:
                raise ValueError(str(e)) from None
        if self.sealed_days > self.keep_days:
            raise ValueError("sealed_days must be at most keep_days; an original goes with its crop")

    @property
    def keep_us(self) -> int:
        """`keep_days` in microseconds."""
        return int(self.keep_days * 86_400e6)

    @property
    def sealed_us(self) -> int:
        """`sealed_days` in microseconds."""
        return int(self.sealed_days * 86_400e6)


def keys_of(camera: str, capture: str) -> tuple[str, str]:
    """Object keys of a capture's pixelated crop and of its sealed original."""
    return f"{PREFIX}{camera}/{capture}.jpg", f"{PREFIX}{camera}/{capture}.age"


def delete_face(objects: FolderObjects, journal: Journal, row: FaceRow, now_us: int) -> None:
    """Delete what is kept of a capture, because somebody asked for it; durable when this returns.

    The footage that it was cut from is not touched: it has a retention of its own.

    Raises:
        StorageError: not all was done; asked again, it goes on.
    """
    for key in (row.sealed, row.picture):
        if key:
            objects.delete(key)
    journal.note(row.source, FaceDeleted(capture=row.capture, what="all", reason="asked"), now_us)
    journal.flush()


def sweep_faces(
    objects: FolderObjects, store: Store, journal: Journal, now_us: int, settings: FacesSettings
) -> int:
    """Delete originals and crops whose time is up, and say so in the journal; answers how many files went.

    First the files, then the event: after a kill in between, the next sweep finds the capture still counted
    as kept, finds no file, and makes up for the event. A file whose capture the store does not know, or knows
    as deleted, goes too: by its age, or at once.

    Raises:
        StorageError: not all was done; the next sweep goes on.
    """
    gone = _halves(objects, now_us)
    before = {".jpg": now_us - settings.keep_us, ".age": now_us - settings.sealed_us}
    for key in objects.keys(PREFIX):
        path = objects.path(key)
        row = store.face(path.stem)
        try:
            at_us = row.at_us if row else path.stat().st_mtime_ns // 1000
        except FileNotFoundError:  # somebody was quicker
            continue
        # What is of neither kind is none of ours, and of people: it goes with the first.
        if at_us < before.get(path.suffix, before[".age"]) or (row and key not in _kept(row)):
            objects.delete(key)
            gone += 1
    for row in _rows(store, before[".age"]):
        due: Literal["all", "sealed"] | None = None
        if row.at_us < before[".jpg"]:
            due = "all" if row.state != "deleted" else None
        elif row.sealed and row.state == "kept":
            due = "sealed"
        if due is not None:
            data = FaceDeleted(capture=row.capture, what=due, reason="expired")
            journal.note(row.source, data, now_us)
    return gone


def _kept(row: FaceRow) -> set[str]:
    """The keys of what is to be there."""
    match row.state:
        case "kept":
            return {row.picture, row.sealed} - {""}
        case "unsealed":
            return {row.picture}
        case "deleted":
            return set()


def _rows(store: Store, before_us: int) -> Iterator[FaceRow]:
    """Captures from before that time, page by page, each once."""
    seen: set[str] = set()
    limit = _PAGE
    while True:
        page = store.faces(None, before_us, limit)
        new = [row for row in page if row.capture not in seen]
        yield from new
        if len(page) < limit:
            return
        seen |= {row.capture for row in new}
        before_us = page[-1].at_us + 1  # others may have been captured in the same microsecond
        limit = limit if new else 2 * limit  # or more of them than a page holds


def _halves(objects: FolderObjects, now_us: int) -> int:
    """Delete what a kill left half-written."""
    gone = 0
    root = objects.path(PREFIX.rstrip("/"))
    for path in sorted(root.rglob(".*")):
        try:
            if path.is_file() and path.stat().st_mtime_ns // 1000 < now_us - _HALF_US:
                path.unlink()
                gone += 1
        except FileNotFoundError:
            continue
        except OSError as e:
            raise storage_error(e, path) from e
    return gone
