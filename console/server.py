"""The console's HTTP server: uvicorn in a thread of its own, so that a worker's loop need not be async."""

import logging
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from events.errors import ConfigError
from ingest.listening import listen, url

_GRACE_S = 2
"""Live views and event streams never end by themselves: they are cut off so long after `stop`."""


class ConsoleServer:
    """Serves from `start` to `stop`.

    Args:
        port: 0 takes a free one.
        table: of the site file, for messages.
        what: is served, for messages.

    Attributes:
        url: where the page is, once started.
    """

    def __init__(
        self,
        app: Starlette,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        table: str = "[console]",
        what: str = "the console",
    ) -> None:
        self._host = host
        self._port = port
        self._table = table
        self._what = what
        self.url = ""
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,  # uvicorn's lines go where ours go
                log_level=logging.WARNING,
                access_log=False,
                proxy_headers=False,  # nobody on loopback may pass for somebody else
                server_header=False,
                date_header=True,
                lifespan="off",
                ws_max_size=4096,
                ws_per_message_deflate=False,  # video does not compress
                timeout_graceful_shutdown=_GRACE_S,
                timeout_keep_alive=15,
                h11_max_incomplete_event_size=32 << 10,
                http="h11",
                limit_concurrency=400,
            )
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and serve in the background.

        Raises:
            ConfigError: the address cannot be had.
        """
        listener = listen(self._host, self._port, self._table, f"{self._what} cannot be served")
        self.url = url("http", self._host, listener)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="console", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(10):
            raise ConfigError(f"{self._what} did not start on {self.url}; the log says why")

    def stop(self) -> None:
        """Cut off who is watching, and release the port. May be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_S + 5)
            self._thread = None


class _Server(uvicorn.Server):
    """Uvicorn that says when it serves. Off the main thread it leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
