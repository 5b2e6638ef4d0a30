"""Why a camera could not be opened: libav's error and, where that says little, what answers at the port."""

import socket
from typing import Literal
from urllib.parse import urlsplit

from av import error as av_errors

from events.errors import AuthError, SourceError, UnsupportedStream
from ingest.credentials import mask

Answer = Literal["rtsp", "other", "silent", "closed", "refused", "unknown-host", "unreachable"]


def ask(url: str, timeout_s: float) -> Answer:
    """What answers at an RTSP URL's host and port when it is sent a plain OPTIONS request, without login."""
    try:
        parts = urlsplit(url)
        port = parts.port or 554
    except ValueError:
        return "unknown-host"
    try:
        with socket.create_connection((parts.hostname or "", port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(
                f"OPTIONS rtsp://{parts.hostname}:{port}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
            )
            head = connection.recv(64)
    except socket.gaierror:
        return "unknown-host"
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "closed"
    except OSError:
        return "unreachable"
    if not head:
        return "closed"
    return "rtsp" if head.startswith(b"RTSP/") else "other"


def explain(error: av_errors.FFmpegError, url: str, timeout_s: float) -> SourceError:
    """The error to raise for libav's when `url` (without login) could not be opened.

    Asks the host itself where libav's error does not say whether it is there: takes up to `timeout_s`.
    """
    name = mask(url)
    match error:
        case av_errors.HTTPUnauthorizedError() | av_errors.HTTPForbiddenError():
            return AuthError(f"{name} refused the credentials; check the camera's user and password")
        case av_errors.HTTPNotFoundError():
            return SourceError(f"{name} has no such stream (404); check the path after the host")
        case av_errors.ExitError() | av_errors.TimeoutError():
            answer: Answer = "silent"
        case _:
            answer = ask(url, timeout_s)
    match answer:
        case "other":
            return UnsupportedStream(f"{name} does not speak RTSP; check the port and the address")
        case "silent":
            return SourceError(f"{name} did not answer within {timeout_s:g} s; is the camera switched on?")
        case "closed":
            return SourceError(f"{name} hung up at once; check the port, or wait until the camera is up")
        case "refused":
            return SourceError(f"{name} refused the connection; check the port, and that RTSP is enabled")
        case "unknown-host":
            return SourceError(f"{name}: the host name is unknown; check its spelling and the DNS")
        case "unreachable":
            return SourceError(f"{name} is unreachable; check the address, the network and the camera")
    reason = mask(error.strerror or type(error).__name__)
    return SourceError(f"{name} cannot be opened: {reason}; check the stream in the camera's own settings")
