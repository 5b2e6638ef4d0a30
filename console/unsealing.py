"""Opening sealed originals of faces: one at a time, off the event loop, and not by guessing."""

from pathlib import Path

from anyio import Lock, to_thread

from console.problems import Problem
from events.clock import Clock
from events.errors import AccessDenied
from storage.sealing import read_identity, unseal

WRONG = 5
"""So many wrong passphrases in `WITHIN_S` seconds, and a viewer has to wait until the first is so old."""
WITHIN_S = 900.0
WAITING = 4
"""Who comes after so many is sent away: each opening takes seconds and, for as long, much memory."""


class Opener:
    """Holds no secret: the identity is read and unlocked for each picture anew."""

    def __init__(self, identity: Path | None, clock: Clock) -> None:
        """`identity`: its protected file; None: nothing can be opened on this machine."""
        self._identity = identity
        self._clock = clock
        self._lock = Lock()
        self._waiting = 0
        self._wrong: dict[str, list[float]] = {}

    @property
    def possible(self) -> bool:
        """Whether anything can be opened here."""
        return self._identity is not None

    async def open(self, who: str, sealed: bytes, passphrase: str) -> bytes:
        """What was sealed.

        Raises:
            AccessDenied: the passphrase is wrong; it is counted.
            Problem: 409 there is no identity here, 429 too many wrong ones, 503 too many wait.
            StorageError: the identity cannot be read, or is not the one it was sealed for.
        """
        if self._identity is None:
            raise Problem(
                409,
                "originals cannot be opened on this machine: [faces] of the site file names no `identity`; "
                "take the file to where the identity is kept",
            )
        if self._waiting >= WAITING:
            raise Problem(503, "others are opening pictures; ask again", headers={"retry-after": "10"})
        self._waiting += 1
        try:
            async with self._lock:
                self._check(who)
                identity = await to_thread.run_sync(read_identity, self._identity)
                return await to_thread.run_sync(unseal, sealed, identity, passphrase)
        except AccessDenied:
            self._wrong.setdefault(who, []).append(self._clock.monotonic())
            raise
        finally:
            self._waiting -= 1

    def _check(self, who: str) -> None:
        now = self._clock.monotonic()
        recent = [at for at in self._wrong.get(who, ()) if now - at < WITHIN_S]
        self._wrong[who] = recent
        if len(recent) >= WRONG:
            wait = int(recent[0] + WITHIN_S - now) + 1
            raise Problem(
                429,
                f"{len(recent)} wrong passphrases; try again in {wait} s",
                "passphrase",
                {"retry-after": str(wait)},
            )
