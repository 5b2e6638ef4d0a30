"""What a broker's port speaks, asked without a library: TLS or not, a login or not, and by which mechanisms.

A client of the library that is refused says no more than that it could not connect.
"""

import contextlib
import socket
import ssl
import struct
from typing import NamedTuple

_SASL_HANDSHAKE = 17
_NO_LOGIN_HERE = 34
"""ILLEGAL_SASL_STATE: the port has no login."""


class Listener(NamedTuple):
    """How a broker answers on a port."""

    login: bool
    """It wants one (SASL)."""
    mechanisms: tuple[str, ...]
    """Ways to show a password that it takes."""


class Silent(Exception):
    """The port takes connections, and does not answer as a broker does."""


def ask(address: str, tls: ssl.SSLContext | None, mechanism: str, timeout_s: float) -> Listener:
    """What the broker wants.

    Args:
        address: `host:port`.
        tls: None: without TLS.
        mechanism: the one that would be used.

    Raises:
        ssl.SSLError: TLS failed.
        Silent: it does not answer as a broker does.
        OSError: it cannot be reached.
    """
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as open_:
        link = open_.enter_context(socket.create_connection((host.strip("[]"), int(port)), timeout_s))
        try:
            if tls is not None:
                link = open_.enter_context(tls.wrap_socket(link, server_hostname=host.strip("[]")))
            return _handshake(link, mechanism)
        except ssl.SSLError:
            raise
        except (OSError, EOFError, struct.error, UnicodeDecodeError) as e:
            raise Silent(str(e) or type(e).__name__) from None


def speaks_tls(address: str, timeout_s: float) -> bool:
    """Whether the port answers TLS, whatever its certificate is."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent over it
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as link:
            context.wrap_socket(link, server_hostname=host.strip("[]")).close()
    except OSError:
        return False
    return True


def _handshake(link: socket.socket, mechanism: str) -> Listener:
    """SaslHandshake, version 1: names the mechanism, shows no secret. A port without login says so."""
    name = mechanism.encode()
    body = struct.pack(">hhihh", _SASL_HANDSHAKE, 1, 1, -1, len(name)) + name
    link.sendall(struct.pack(">i", len(body)) + body)
    length = struct.unpack(">i", _read(link, 4))[0]
    if not 10 <= length <= 10_000:
        raise EOFError("that is not Kafka's language")
    answer = _read(link, length)
    _, error, count = struct.unpack_from(">ihi", answer)
    at, names = 10, []
    for _ in range(count):
        size = struct.unpack_from(">h", answer, at)[0]
        names.append(answer[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return Listener(error != _NO_LOGIN_HERE, tuple(names))


def _read(link: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = link.recv(size - len(got))
        if not part:
            raise EOFError("it closed the connection")
        got += part
    return got
