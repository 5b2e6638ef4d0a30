"""Objects: pictures and clips by key. Here in a folder; `storage.s3objects` has them in an S3 bucket.

A key is one or more names joined by `/`; a name has letters, digits, `.`, `_`, `-` and does not begin with a
dot, so no key leads out of the folder.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from events.errors import StorageError
from storage.database import make_folder, storage_error, sync_folder

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_HALF = ".half"
_TEMPORARY = ".tmp"
"""Ending of a file that is still being written under an object's path."""


def check_key(key: str) -> str:
    """The key. Raises StorageError if it is none."""
    if not _KEY.fullmatch(key):
        raise StorageError(f"{key!r} is not a key: use names of letters, digits, . _ - joined by /")
    return key


class Objects(Protocol):
    """Bytes by key. A reader sees an object whole or not at all."""

    def put(self, key: str, data: bytes) -> None:
        """Store, or replace; durable when this returns. Raises StorageError (DiskFull: no room)."""

    def get(self, key: str) -> bytes | None:
        """The object; None if there is none."""

    def delete(self, key: str) -> None:
        """Remove it; nothing happens if there is none."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with the prefix, in order."""


class FolderObjects:
    """Each object a file below `root`. The folder is made when the first object is put."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        path = self.path(key)
        half = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{_HALF}")
        try:
            make_folder(path.parent)
            with half.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
            sync_folder(path.parent)
        except OSError as e:
            with contextlib.suppress(OSError):
                half.unlink()
            raise storage_error(e, path) from e

    def get(self, key: str) -> bytes | None:
        path = self.path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as e:
            raise storage_error(e, path) from e

    def delete(self, key: str) -> None:
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except (NotADirectoryError, IsADirectoryError):
            return
        except OSError as e:
            raise storage_error(e, path) from e

    def keys(self, prefix: str = "") -> Iterator[str]:
        found = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
        half = (_HALF, _TEMPORARY)
        yield from sorted(key for key in found if key.startswith(prefix) and not key.endswith(half))

    def path(self, key: str) -> Path:
        """Where the object's file is or would be (to send it without reading it).

        Raises:
            StorageError: not a key.
        """
        return self._root / check_key(key)
