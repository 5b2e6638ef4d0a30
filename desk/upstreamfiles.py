"""The platform above over two folders: it puts messages into `inbox`, and takes ours from `outbox`.

Whoever writes does so under another name and then renames to `NAME.json`: what has that ending is whole. A
message that was taken is deleted, for it holds a person's words; one that cannot be is moved to `aside`, with
the reason in `NAME.json.reason.txt`. Our messages are named by when they were made and their id: the same one
again has the same name.
"""

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from desk.upstream import MAX_BYTES, Outgoing, Received, written
from events.errors import StorageError, UpstreamAway, UpstreamError
from storage.database import make_folder, storage_error, sync_folder

ENDING = ".json"


class FilesUpstream:
    """See the module's text. The folders are made; only their owner can read them.

    Args:
        folder: holds `inbox`, `outbox` and `aside`.

    Raises:
        UpstreamError: they cannot be made.
    """

    def __init__(self, folder: Path, name: str = "upstream") -> None:
        self.name = name
        self._inbox, self._outbox, self._aside = (folder / part for part in ("inbox", "outbox", "aside"))
        try:
            for each in (self._inbox, self._outbox, self._aside):
                if not each.is_dir():
                    make_folder(each)
                    each.chmod(0o700)
        except OSError as e:
            raise UpstreamError(f"{folder} cannot be used: {e}; give its owner the right to write") from e

    def fetch(self, limit: int) -> Sequence[Received]:
        """Whole messages in the inbox, by name."""
        try:
            names = sorted(e.name for e in os.scandir(self._inbox) if _is_message(e.name))
            found = (self._read(name) for name in names[:limit])
            return [received for received in found if received is not None]
        except OSError as e:
            raise UpstreamAway(f"{self._inbox} cannot be read: {e}") from e

    def settle(self, receipt: str, problem: str = "") -> None:
        """Delete the message; with a problem, set it aside."""
        path = self._inbox / receipt
        try:
            if problem:
                if not path.exists() and not path.is_symlink():
                    return
                self._write(self._aside / f"{receipt}.reason.txt", (problem + "\n").encode())
                path.rename(self._aside / receipt)
                sync_folder(self._aside)
            else:
                path.unlink(missing_ok=True)
            sync_folder(self._inbox)
        except OSError as e:
            raise UpstreamAway(f"{path} cannot be put away: {e}") from e

    def send(self, message: Outgoing) -> None:
        """Put the message into the outbox; durable when this returns."""
        made = "".join(c for c in message.sent if c.isalnum())
        self._write(self._outbox / f"{made}-{message.message}{ENDING}", written(message))

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, name: str) -> Received | None:
        """None: it went meanwhile. What is no plain file has no bytes, and so is refused."""
        try:
            fd = os.open(self._inbox / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError:
            return Received(name, b"")
        try:
            plain = stat.S_ISREG(os.fstat(fd).st_mode)
            return Received(name, os.read(fd, MAX_BYTES + 1) if plain else b"")
        finally:
            os.close(fd)

    def _write(self, path: Path, data: bytes) -> None:
        half = path.with_name(f".{path.name}.half")
        try:
            with half.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
            sync_folder(path.parent)
        except OSError as e:
            with contextlib.suppress(OSError):
                half.unlink()
            error: StorageError = storage_error(e, path)
            raise UpstreamAway(str(error)) from e


def _is_message(name: str) -> bool:
    return name.endswith(ENDING) and not name.startswith(".")
