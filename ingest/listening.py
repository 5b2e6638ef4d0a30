"""A socket that a server of ours listens on, and how it is called."""

import socket

from events.errors import ConfigError


def listen(host: str, port: int, table: str, what: str) -> socket.socket:
    """A socket that listens; who connects before the server runs waits.

    Args:
        port: 0 takes any free one.
        table: of the site file, for the message.
        what: what cannot be done without it, for the message.

    Raises:
        ConfigError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol asyncio knows that small answers are not to be held back: else each takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{what} on {host}:{port} ({error.strerror}); end what uses the port, or set another `port` in "
            f"{table} of the site file"
        ) from error
    listener.listen(128)
    return listener


def url(scheme: str, host: str, listener: socket.socket) -> str:
    """The address as a URL, with the port that was had."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"
