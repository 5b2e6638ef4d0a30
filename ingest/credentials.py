"""Camera credentials: read from the environment or from a file that only its owner can read, never shown.

They enter a URL only in the string that is handed to libav (`with_login`); every text that can reach a
person or a log goes through `mask`.
"""

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from events.errors import ConfigError

_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@")
_PARAMETER = re.compile(r"(?i)\b(password|passwd|pass|pwd|token|secret)=[^&\s'\"]*")


class Credentials(msgspec.Struct, frozen=True):
    """A camera's user and password. Its text form shows neither."""

    user: str
    password: str

    def __post_init__(self) -> None:
        if not self.user or ":" in self.user:
            raise ConfigError("a camera's user name is empty or contains ':'; write user:password")

    def __repr__(self) -> str:
        return "Credentials(***)"

    __str__ = __repr__


def mask(text: str) -> str:
    """The text with the user and password of every URL in it, and every `password=...`, made unreadable.

    Rather too much than too little: all between `://` and the last `@` before a space is taken for login.
    """
    return _PARAMETER.sub(r"\1=***", _USERINFO.sub(r"\1***@", text))


def _parse(text: str, where: str) -> Credentials:
    user, colon, password = text.strip("\r\n").partition(":")
    if not colon or not user:
        raise ConfigError(f"{where} does not hold user:password; put both in, separated by a colon")
    return Credentials(user, password)


def from_environment(name: str, environment: Mapping[str, str]) -> Credentials:
    """Credentials from the variable `name`, which holds `user:password`.

    Raises:
        ConfigError: the variable is missing or malformed.
    """
    if name not in environment:
        raise ConfigError(f"environment variable {name} is not set; set it to the camera's user:password")
    return _parse(environment[name], f"environment variable {name}")


def from_file(path: Path) -> Credentials:
    """Credentials from a file with the one line `user:password`, readable by its owner alone.

    Raises:
        ConfigError: the file is missing, others may read it, or it is malformed.
    """
    try:
        with path.open("r", encoding="utf-8") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise ConfigError(f"{path} has mode {mode:o}, others may read it; run: chmod 600 '{path}'")
            text = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read the credentials file {path}: {reason}") from None
    return _parse(text, str(path))


def split_login(url: str) -> tuple[str, Credentials | None]:
    """A URL without its login, and the login that stood in it (percent-encoding undone)."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = login.partition(":")
    bare = urlunsplit(parts._replace(netloc=host))
    return bare, Credentials(unquote(user), unquote(password)) if user else None


def with_login(url: str, credentials: Credentials | None) -> str:
    """The URL with the login in it, percent-encoded: a secret, for libav alone."""
    bare, _ = split_login(url) if credentials else (url, None)
    if credentials is None:
        return bare
    parts = urlsplit(bare)
    login = f"{quote(credentials.user, safe='')}:{quote(credentials.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))
