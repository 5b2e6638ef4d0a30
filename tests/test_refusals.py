"""What a camera that cannot be opened is told to be, and what mends it."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from events.clock import SystemClock
from events.errors import AuthError, SourceError, UnsupportedStream
from ingest.refusals import ask
from ingest.rtsp import RtspSource

Serve = Callable[[bytes | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer every request with the same bytes, or (None) never; gives their port."""
    listeners: list[socket.socket] = []
    held: list[socket.socket] = []

    def start(reply: bytes | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if reply is not None:
                    connection.recv(2000)
                    connection.sendall(reply)
                    connection.close()

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for s in listeners + held:
        s.close()


def refusal(url: str) -> SourceError:
    with pytest.raises(SourceError) as e:
        RtspSource(url, clock=SystemClock(), connect_s=0.6).open()
    assert "geheim" not in str(e.value)
    assert "guard" not in str(e.value)
    return e.value


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (b"", SourceError, "hung up"),
        (None, SourceError, "did not answer within 0.6 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", UnsupportedStream, "does not speak RTSP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnsupportedStream, "does not speak RTSP"),
        (b"RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n", AuthError, "user and password"),
        (b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", AuthError, "user and password"),
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", SourceError, "check the path"),
        (b"RTSP/1.0 503 Busy\r\nCSeq: 1\r\n\r\n", SourceError, "cannot be opened"),
    ],
)
def test_answers(serve: Serve, reply: bytes | None, kind: type[SourceError], text: str) -> None:
    error = refusal(f"rtsp://guard:geheim@127.0.0.1:{serve(reply)}/main")
    assert type(error) is kind
    assert text in str(error)


def test_a_closed_port_and_an_unknown_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused the connection" in str(refusal(f"rtsp://guard:geheim@127.0.0.1:{port}/main"))
    assert "host name is unknown" in str(refusal("rtsp://guard:geheim@camera.invalid/main"))


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "file:///etc/passwd", "/etc/passwd", "rtsp"])
def test_what_is_no_rtsp_address_is_never_opened(url: str) -> None:
    error = refusal(url)
    assert type(error) is UnsupportedStream
    assert "rtsp://host:port/path" in str(error)


def test_asking_tells_an_rtsp_server(serve: Serve) -> None:
    assert ask(f"rtsp://127.0.0.1:{serve(b'RTSP/1.0 200 OK')}/x", 1) == "rtsp"
    assert ask("rtsp://127.0.0.1:99999/x", 1) == "unknown-host"
