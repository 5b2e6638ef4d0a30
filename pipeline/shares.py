"""Shares of the cameras, and what a box keeps of those that it reads.

Every box has the same site file, so each finds by itself which cameras are in which share. Which share is
whose is Kafka's to say (`pipeline/membership.py`).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from events.errors import StorageError


def share_of(cameras: Iterable[str], shares: int) -> dict[str, int]:
    """Each camera's share, 0 to `shares` - 1: in the order of their ids, one after the other, round and
    round.

    So shares differ by one camera at most. A camera more or less in the site file moves others to other
    shares.
    """
    return {camera: n % shares for n, camera in enumerate(sorted(set(cameras)))}


def cameras_of(cameras: Iterable[str], share: int, shares: int) -> list[str]:
    """The cameras of one share, in the order of their ids."""
    return sorted(camera for camera, of in share_of(cameras, shares).items() if of == share)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a box reads, or read last: for each share the tokens of its cameras."""

    box: str = ""
    shares: Mapping[int, Mapping[str, int]] = {}

    def tokens(self, share: int) -> Mapping[str, int]:
        """Camera -> token, of one share; empty if it is not held."""
        return self.shares.get(share, {})

    def of(self, share: int, shares: int, cameras: Iterable[str]) -> bool:
        """Whether it holds the share as it is cut now: the site file may have changed since."""
        return set(self.tokens(share)) == set(cameras_of(cameras, share, shares))


def read_held(path: Path) -> Held:
    """What was held; nothing if there is no file, or none that can be read.

    Raises:
        StorageError: it is there, and cannot be opened.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Held)
    except FileNotFoundError:
        return Held()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Held()  # not of this version, or torn: the next assignment writes it anew
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; mend its rights or its mount") from None


def write_held(path: Path, held: Held) -> None:
    """Replace the file, durably: what is in it is known after a power cut too.

    Raises:
        StorageError: it cannot be written.
    """
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            file.write(msgspec.json.encode(held))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e.strerror}; mend its rights or its mount") from None
