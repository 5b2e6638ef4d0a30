"""Originals of faces under seal: encrypted for a key that this machine does not have in clear.

The format is age (age-encryption.org/v1), by the library pyrage: each picture has a file key of its own,
drawn when it is sealed, and that key is wrapped for the recipient (X25519). Who has only the recipient can
seal and not open. The other half, the identity, lies in a file that is itself encrypted by a passphrase
(scrypt), in the form that `age -d -i FILE` reads, too: what was sealed here can be opened elsewhere without
this program.

Nothing here writes a file, and no error says a passphrase or an identity.
"""

from pathlib import Path

import pyrage

from events.errors import AccessDenied, ConfigError, StorageError

LEAST_PASSPHRASE = 12
"""Characters. The passphrase is all that keeps whoever steals the identity's file from the pictures."""

_SECRET = "AGE-SECRET-KEY-"
_WRONG_PASSPHRASE = "Decryption failed"
"""What the library says of one; it has a single class of error."""
_KEYGEN = "is it one that `linli faces keygen` made?"


def check_recipient(recipient: str) -> None:
    """Raise unless pictures can be sealed for it.

    Raises:
        ConfigError: it is no recipient (age1...); what it is instead is not shown, it may be the secret half.
    """
    read_recipient(recipient)


def read_recipient(text: str) -> pyrage.x25519.Recipient:
    """The recipient that is written so. Raises ConfigError, as `check_recipient`."""
    if text.strip().upper().startswith(_SECRET):
        raise ConfigError(
            "the recipient is an identity, the secret half of the key, and must not stand in the site file: "
            "make a new pair with `linli faces keygen` and write the recipient, which begins with age1"
        )
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise ConfigError(
            "the recipient is not an age X25519 recipient (age1...): write the one that "
            "`linli faces keygen` printed"
        ) from None


def seal(data: bytes, recipient: str) -> bytes:
    """The data, encrypted with a key of its own that only the recipient's identity unwraps.

    Raises:
        ConfigError: it is no recipient.
    """
    return bytes(pyrage.encrypt(data, [read_recipient(recipient)]))


def new_identity(passphrase: str) -> tuple[str, bytes]:
    """A new pair: the recipient, and the identity's file, protected by the passphrase.

    Takes seconds and, where the machine is fast, up to a gigabyte of memory: that is scrypt's work, and what
    it costs whoever guesses.

    Raises:
        ConfigError: the passphrase is too short.
    """
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigError(
            f"the passphrase has fewer than {LEAST_PASSPHRASE} characters; take several words, at random"
        )
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    text = f"# public key: {recipient}\n{identity}\n"
    return recipient, pyrage.passphrase.encrypt(text.encode(), passphrase, armored=True)


def unseal(sealed: bytes, identity_file: bytes, passphrase: str) -> bytes:
    """What was sealed. The identity is in memory for as long as this takes, and nowhere else.

    Raises:
        AccessDenied: the passphrase is not the identity file's.
        StorageError: the file's identity is not the one it was sealed for, or either is damaged.
    """
    try:
        text = pyrage.passphrase.decrypt(identity_file, passphrase).decode()
    except pyrage.DecryptError as e:
        if str(e) == _WRONG_PASSPHRASE:
            raise AccessDenied("the passphrase does not open the identity file") from None
        raise StorageError(f"the identity file cannot be read: {e}; {_KEYGEN}") from None
    except UnicodeDecodeError:
        raise StorageError(f"the identity file holds no age identity; {_KEYGEN}") from None
    lines = [line.strip() for line in text.splitlines()]
    try:
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith(_SECRET)]
        return bytes(pyrage.decrypt(sealed, identities))
    except pyrage.IdentityError:
        raise StorageError(f"the identity file holds no age identity; {_KEYGEN}") from None
    except pyrage.DecryptError as e:
        raise StorageError(
            f"the picture cannot be opened with this identity ({e}): it was sealed for another recipient, or "
            "its file is damaged"
        ) from None


def read_identity(path: Path) -> bytes:
    """The identity's file, still protected.

    Raises:
        StorageError: it is not there, cannot be read, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise StorageError(f"others may read the identity file of [faces]; run: chmod 600 {path.name}")
        return path.read_bytes()
    except OSError as e:
        raise StorageError(f"the identity file of [faces] cannot be read: {e.strerror}") from e
