"""The intake's HTTP server: uvicorn in a thread of its own."""

import asyncio
import logging
import threading
from pathlib import Path

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from events.errors import ConfigError
from ingest.intake import is_loopback
from ingest.listening import listen, url

REQUEST_S = 10.0
"""A request's head and body are there within this time, or its connection is closed."""

CONNECTIONS = 400
"""Beyond them, requests are answered with 503."""

PER_ADDRESS = 100
"""Connections that another machine may have; more are closed at once. A proxy on this one may have all."""


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 for strangers: before they have said who they are, they can hold a connection only briefly.

    uvicorn has a limit for the time between two requests alone.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counted by address; its time begins."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        peers = [getattr(other, "client", None) for other in self.connections]
        same = sum(peer[0] == host for peer in peers if peer)
        if same > PER_ADDRESS and not is_loopback(host):
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or all of it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._rest()

    def _watch(self) -> None:
        """The time goes from a request's first byte to its last; more bytes do not prolong it."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class IntakeServer:
    """Serves the intake in a thread, from `start` to `stop`.

    Attributes:
        url: where, once started.
    """

    def __init__(
        self, app: Starlette, host: str, port: int, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        self._host, self._port = host, port
        self._tls = certificate is not None
        self.url = ""
        config = uvicorn.Config(
            app,
            log_config=None,  # uvicorn's lines go where ours go
            log_level=logging.WARNING,
            access_log=False,
            proxy_headers=False,  # nobody on loopback may pass for somebody else
            server_header=False,
            lifespan="off",
            ws="none",
            http=GuardedProtocol,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=30,
            h11_max_incomplete_event_size=32 << 10,
            limit_concurrency=CONNECTIONS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except OSError as error:
            raise ConfigError(f"[sensors.http] certificate or key cannot be used: {error}") from None
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and serve in the background.

        Raises:
            ConfigError: the address cannot be had.
        """
        listener = listen(self._host, self._port, "[sensors.http]", "readings cannot be taken")
        self.url = url("https" if self._tls else "http", self._host, listener)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="intake", daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Answer what is under way, and release the port. May be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None
