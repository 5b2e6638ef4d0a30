"""The platform of the prefecture as a real server, and as somebody who fills and empties two folders.

    with Platform(login=("linli", "secret")) as platform:
        platform.give(order)                   # the same one again, late or before its order: as one likes
        platform.fault = "lost"                # the next requests are done, and their answers get lost
        platform.answers                       # what came, by message id

`fault` is one of "", "500", "garbage" (200, and no JSON), "lost" (done, then the connection is cut),
"silent" (no answer before it is cleared), "slow-down" (429). `away()` and `back()` stop and start it on the
same port. Both classes have the same surface, so that one suite tests both adapters.
"""

import base64
import contextlib
import json
import os
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from desk.upstream import Incoming, written
from testbed.process import free_port


class Platform:
    """See the module's text.

    Args:
        login: user and password that it asks for.
        certificate: PEM files of certificate and key, for TLS.
    """

    def __init__(
        self, login: tuple[str, str] | None = None, certificate: tuple[Path, Path] | None = None
    ) -> None:
        self._login, self._certificate = login, certificate
        self.port = free_port()
        self.fault = ""
        self.refuses: set[str] = set()
        """Numbers of orders about which it takes no answer (422)."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        """Ids of the answers as they came first."""
        self.aside: dict[str, str] = {}
        """Messages that could not be taken, and why."""
        self.requests = 0
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}/api"

    def give(self, message: Incoming | bytes) -> None:
        """Have a message sent, until it is settled."""
        with self._lock:
            self._waiting.append(message if isinstance(message, bytes) else written(message))

    @property
    def waiting(self) -> int:
        """How many messages are not settled."""
        return len(self._waiting)

    def __enter__(self) -> Self:
        self.back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fault = ""
        self.away()

    def back(self) -> None:
        """It answers (again)."""
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                platform._answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def away(self) -> None:
        """Nobody listens there."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        body = http.rfile.read(int(http.headers.get("Content-Length", 0)))
        while self.fault == "silent":
            time.sleep(0.02)
        if self.fault in ("500", "slow-down"):
            return _send(http, 500 if self.fault == "500" else 429, b"{}")
        if self.fault == "garbage":
            return _send(http, 200, b"<html>busy</html")
        if self._login and http.headers.get("Authorization") != _basic(self._login):
            return _send(http, 401, b"{}")
        with self._lock:
            status, answer = self._do(http, body)
        if self.fault == "lost":
            http.close_connection = True
            http.connection.close()
            return None
        return _send(http, status, json.dumps(answer).encode())

    def _do(self, http: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        path, _, query = http.path.partition("?")
        if http.command == "GET" and path == "/api/messages":
            limit = int(query.removeprefix("limit="))
            return 200, {"messages": [_loose(raw) for raw in self._waiting[:limit]]}
        if path.startswith("/api/messages/") and path.endswith("/receipt"):
            return self._settled(path.split("/")[3], json.loads(body))
        if path == "/api/answers":
            return self._answered(http.headers.get("Idempotency-Key", ""), json.loads(body))
        return 404, {}

    def _settled(self, message: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        before = len(self._waiting)
        self._waiting = [raw for raw in self._waiting if _id(raw) != message]
        if before == len(self._waiting):
            return 404, {}
        if not said["taken"]:
            self.aside[message] = said["reason"]
        return 200, {}

    def _answered(self, key: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if key != said["message"]:
            return 400, {}
        if said["number"] in self.refuses:
            return 422, {}
        if key in self.answers:
            return (200 if self.answers[key] == said else 409), {}
        self.answers[key] = said
        self.order.append(key)
        return 201, {}


class FilePlatform:
    """The other side of `desk.upstreamfiles`, with the surface of `Platform`. It takes what is in the outbox
    whenever it is asked for `answers`, and passes over what it has had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._had: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self._n = 0

    def give(self, message: Incoming | bytes) -> None:
        """Write to another name, then rename."""
        self._n += 1
        inbox = self.folder / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        half = inbox / f"{self._n:04d}.half"
        half.write_bytes(message if isinstance(message, bytes) else written(message))
        half.rename(half.with_suffix(".json"))

    @property
    def waiting(self) -> int:
        """How many messages are not settled."""
        return len(list((self.folder / "inbox").glob("*.json")))

    @property
    def answers(self) -> dict[str, dict[str, Any]]:
        """What came, by message id."""
        for path in sorted((self.folder / "outbox").glob("*.json")):
            said = json.loads(path.read_bytes())
            if said["message"] not in self._had:
                self._had[said["message"]] = said
                self.order.append(said["message"])
            path.unlink()
        return self._had

    @property
    def aside(self) -> dict[str, str]:
        """Messages that could not be taken, and why."""
        found = (self.folder / "aside").glob("*.json")
        return {
            _id(path.read_bytes()) or path.name: path.with_name(f"{path.name}.reason.txt").read_text()
            for path in found
        }

    def away(self) -> None:
        """The folder is not there, as when a share is not mounted."""
        os.rename(self.folder, self.folder.with_name("elsewhere"))

    def back(self) -> None:
        """It is there again."""
        os.rename(self.folder.with_name("elsewhere"), self.folder)


def _send(http: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # nobody waits any more
        http.send_response(status)
        http.send_header("Content-Type", "application/json")
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _loose(raw: bytes) -> Any:
    """The message; what is no JSON goes as a text."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _id(raw: bytes) -> str:
    try:
        said = json.loads(raw)
    except ValueError:
        return ""
    return str(said.get("message", "")) if isinstance(said, dict) else ""
