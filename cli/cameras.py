"""The demo's cameras: footage served again and again over real RTSP/TCP by a process of its own.

The server is PyPI's aio-rtsp-toolkit, which needs neither root nor system packages. It begins a clip anew for
each client, so two clients see one camera at different moments: good enough for a demo, not for benchmarks.
"""

import asyncio
import importlib.util
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from cli.footage import DemoClip
from events.clock import Clock, SystemClock
from events.errors import ConfigError, SourceError

HOST = "127.0.0.1"
START_S = 15.0
MAX_CLIENTS = 64


class DemoCameras:
    """A server process for the given clips. It ends with `stop`, and by itself when this process dies.

    with DemoCameras(clips) as cameras:
        cameras.url("gate", "main")   # rtsp://127.0.0.1:PORT/gate/main
    """

    def __init__(self, clips: Sequence[DemoClip], port: int = 0, clock: Clock | None = None) -> None:
        """Args: port: 0 takes any free one. clock: for the start's time-out."""
        self._files = {f"{c.camera}/main": c.main for c in clips}
        self._files |= {f"{c.camera}/sub": c.sub for c in clips if c.sub is not None}
        self._port = port
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "DemoCameras":
        """Start the server and wait until it answers.

        Raises:
            ConfigError: the toolkit is not installed.
            SourceError: the port is taken, or the server does not come up.
        """
        if importlib.util.find_spec("aio_rtsp_toolkit") is None:
            raise ConfigError("the demo's cameras need aio-rtsp-toolkit: pip install 'linli[demo]'")
        self._port = free_port(self._port)
        files = [f"{name}={path.absolute()}" for name, path in self._files.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.cameras", str(self._port), *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        deadline = self._clock.monotonic() + START_S
        while not _answers(self._port):
            code = self._process.poll()
            if code is not None or self._clock.monotonic() > deadline:
                self.stop()
                why = "it does not answer" if code is None else f"it ended with status {code}"
                raise SourceError(f"the demo's camera server on port {self._port} did not start: {why}")
            self._clock.sleep(0.05)
        return self

    def url(self, camera: str, stream: str = "main") -> str:
        """Where a camera's `main` or `sub` stream is served.

        Raises:
            KeyError: there is no such camera or stream.
        """
        name = f"{camera}/{stream}"
        if name not in self._files:
            raise KeyError(f"no demo stream {name!r}; there are {', '.join(self._files)}")
        return f"rtsp://{HOST}:{self._port}/{name}"

    def stop(self) -> None:
        """End the server process; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> "DemoCameras":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port(port: int = 0) -> int:
    """The port, or with 0 any, if nobody has it.

    Raises:
        SourceError: it is taken.
    """
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError as e:
            raise SourceError(
                f"port {port} for the demo's cameras is taken ({e.strerror}); choose another"
            ) from None
        return int(s.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as s:
            s.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            return s.recv(64).startswith(b"RTSP/1.0 200")
    except OSError:
        return False


# --- the server process -------------------------------------------------------------------------------


async def _serve(port: int, files: dict[str, Path]) -> None:
    from aio_rtsp_toolkit import server, server_streaming

    # Its reader waits this long for room in a queue, then cancels and puts the packet again, though the first
    # put may have gone through: with 50 ms one packet in 100 was sent twice. Longer than a frame is safe.
    server_streaming.QUEUE_PUT_POLL_INTERVAL = 2.0

    class Cameras(server.RtspServer):  # type: ignore[misc]
        """Serves `/CAMERA/STREAM` from a table, looping, instead of a folder's files once."""

        def resolve_request_path(self, uri: str) -> Path:
            camera, stream = ([*urlsplit(uri).path.strip("/").split("/"), "", ""])[:2]
            path = files.get(f"{camera}/{stream}")
            if path is None:
                raise FileNotFoundError(uri)
            return path

        def parse_play_count(self, uri: str) -> int:
            return 0

    # Each client holds one thread of the default executor, which has only six on two cores: the next clients
    # would wait until their time-outs.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_CLIENTS))
    cameras = Cameras(directory="/", host=HOST, port=port)
    cameras.logger = logging.getLogger("cameras")
    await cameras.start()
    await cameras.serve_forever()


def _end_with_parent() -> None:
    """The parent holds our stdin; its end, however it came, ends us."""
    import os

    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """`python -m cli.cameras PORT CAMERA/STREAM=FILE ...`"""
    port, *pairs = arguments
    files = {name: Path(path) for name, _, path in (pair.partition("=") for pair in pairs)}
    logging.basicConfig(level=logging.ERROR)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_serve(int(port), files))


if __name__ == "__main__":
    main(sys.argv[1:])
