"""The file of a vault's master key."""

import base64
import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path

from events.errors import ConfigError

MASTER_BYTES = 32


def make_master(path: Path) -> None:
    """Make a master key in a new file of mode 600.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; a vault's key is never overwritten") from None
    except OSError as e:
        raise ConfigError(f"{path} cannot be written: {e.strerror}") from None
    with os.fdopen(file, "w") as out:
        out.write(secrets.token_hex(MASTER_BYTES) + "\n")
        out.flush()
        os.fsync(out.fileno())


def read_master(path: Path) -> bytes:
    """The master key in a file of mode 600: 64 hexadecimal digits.

    Raises:
        ConfigError: it is not there, others may read it, or it is none. Never shows what is in it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"others may read the vault's key {path}; run `chmod 600 {path}`")
        master = bytes.fromhex(path.read_text().strip())
    except OSError as e:
        raise ConfigError(f"the vault's key {path} cannot be read: {e.strerror}") from None
    except ValueError:
        master = b""
    if len(master) != MASTER_BYTES:
        raise ConfigError(
            f"{path} is no vault's key: it holds 64 hexadecimal digits; `linli registers key new` makes one"
        )
    return master


def fingerprint(master: bytes) -> str:
    """A short name for a master key that tells nothing of it."""
    return base64.b32encode(sha256(b"linli vault name" + master).digest()[:5]).decode().lower()
