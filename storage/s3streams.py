"""Streams that hash what passes through them, on its way to an object store and back."""

import hashlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from events.errors import StorageError


class Damaged(StorageError):
    """A local file is not what it is to be."""


class Checked:
    """A file that is hashed while it is read; at its end it is what it is to be, or the read fails."""

    def __init__(self, file: BinaryIO, size: int, sha256: str, key: str) -> None:
        """Raises Damaged if the file is empty and should not be."""
        self._file = file
        self._left = size
        self._sha256 = sha256
        self._key = key
        self._digest = hashlib.sha256()
        self.problem: StorageError | None = None
        """Why it was not read to its end."""
        if not size:
            self._compare()

    def read(self, size: int = -1) -> bytes:
        """Raises Damaged at the end of a file that is not what it is to be."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._digest.update(data)
        self._left -= len(data)
        if (not data and size and self._left) or (data and not self._left):
            self._compare()
        return data

    def _compare(self) -> None:
        found = self._digest.hexdigest()
        if self._left or found != self._sha256:
            self.problem = Damaged(
                f"{self._key} is not sent: the SHA-256 of its file is {found}, it should be {self._sha256}: "
                "damaged on the disk, or changed"
            )
            raise self.problem


class Parts:
    """What leaves, hashed as the store will hash it: by parts."""

    def __init__(self, body: Any, part_bytes: int) -> None:
        self._body = body
        self._part_bytes = part_bytes
        self._part = hashlib.md5(usedforsecurity=False)
        self._in_part = 0
        self._done: list[bytes] = []
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._body.read(size))
        self.sha256.update(data)
        self.bytes += len(data)
        view = memoryview(data)
        while view:
            room = self._part_bytes - self._in_part
            self._part.update(view[:room])
            self._in_part += len(view[:room])
            view = view[room:]
            if self._in_part == self._part_bytes:
                self._end()
        return data

    def _end(self) -> None:
        self._done.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._in_part = 0

    def etags(self) -> set[str]:
        """Of an object in one go, and in parts."""
        parts = [*self._done, self._part.digest()] if self._in_part or not self._done else self._done
        whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
        return {f"{whole}-{len(parts)}"} | ({parts[0].hex()} if len(parts) == 1 else set())


class Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class Chunked(io.RawIOBase):
    """Chunks as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
