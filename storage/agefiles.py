"""age encryption of what leaves the box, as a stream: nothing is held whole in memory or on the disk.

Who sends needs the recipients alone; the identity, the secret half, belongs where objects are read.
"""

import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import pyrage

from events.errors import ConfigError, StorageError
from storage.sealing import read_recipient

SUFFIX = ".age"
"""Ends the key of an object that is encrypted so: `age -d -i IDENTITY FILE` opens it, too."""

_SECRET = "AGE-SECRET-KEY-"


class Encrypted:
    """The age form of a stream, to be read from: encrypted by a thread as fast as it is read."""

    def __init__(self, plain: BinaryIO, recipients: Sequence[str]) -> None:
        """
        Raises:
            ConfigError: there is no recipient, or one is not one.
        """
        if not recipients:
            raise ConfigError("there is no recipient to encrypt for; write [objects].age")
        known = [read_recipient(text) for text in recipients]
        out, into = os.pipe()
        self._out = io.BufferedReader(io.FileIO(out, "rb"), 1 << 16)
        self._failed: Exception | None = None
        self._thread = threading.Thread(
            target=self._encrypt, args=(plain, into, known), name="age", daemon=True
        )
        self._thread.start()

    def _encrypt(self, plain: BinaryIO, into: int, known: list[pyrage.x25519.Recipient]) -> None:
        try:
            with os.fdopen(into, "wb", 1 << 16) as writer:
                pyrage.encrypt_io(plain, writer, known)
        except Exception as e:  # noqa: BLE001 - the library has many; whoever reads is told
            self._failed = e

    def read(self, size: int = -1) -> bytes:
        """Bytes of the age file; empty at its end.

        Raises:
            StorageError: the plain stream cannot be read, or not be encrypted.
        """
        data = self._out.read(size)
        if not data:
            self._thread.join()
            if self._failed is not None:
                raise StorageError(f"it cannot be encrypted: {self._failed}") from self._failed
        return data

    def close(self) -> None:
        """End; a thread that still encrypts ends with it."""
        self._out.close()
        self._thread.join()

    def __enter__(self) -> "Encrypted":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def decrypt(
    sealed: BinaryIO, plain: BinaryIO, identities: Sequence[pyrage.x25519.Identity], what: str
) -> None:
    """Write what was encrypted into `plain`.

    Raises:
        ConfigError: there is no identity.
        StorageError: none of the identities opens it, or it is damaged.
    """
    if not identities:
        raise ConfigError(
            f"{what} is encrypted for age recipients; name the secret half with --identity FILE"
        )
    try:
        pyrage.decrypt_io(sealed, plain, list(identities))
    except pyrage.DecryptError as e:
        raise StorageError(
            f"{what} cannot be opened with this identity ({e}): it was encrypted for another recipient, or "
            "it is damaged"
        ) from None


def read_identities(path: Path, passphrase: str = "") -> list[pyrage.x25519.Identity]:
    """The identities in a file as `age-keygen` or `linli faces keygen` writes it; the latter's needs its
    passphrase.

    Raises:
        ConfigError: it cannot be read, others may read it, it holds none, or the passphrase is wrong.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"others may read the identity {path}; run: chmod 600 '{path}'")
        data = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"the identity {path} cannot be read: {e.strerror}") from None
    if locked(data):
        try:
            data = bytes(pyrage.passphrase.decrypt(data, passphrase))
        except pyrage.DecryptError:
            raise ConfigError(f"the passphrase does not open the identity {path}") from None
    lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
    try:
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith(_SECRET)]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise ConfigError(f"{path} holds no age identity; make one with `linli faces keygen` or age-keygen")
    return found


def locked(data: bytes) -> bool:
    """Whether an identity's file needs a passphrase."""
    return data.startswith((b"age-encryption.org/", b"-----BEGIN AGE"))
