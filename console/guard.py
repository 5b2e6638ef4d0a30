"""What every request passes first: is it meant for us, does it come from our own page, and how may a browser
use the answer. Pure ASGI, so that streams stay streams.

* The Host header must be an address, `localhost` or a name the site file lists: a foreign name that resolves
  to this machine (DNS rebinding) gets nothing.
* A request that says it comes from a page (browsers do; scripts with a token need not) must come from ours:
  by Sec-Fetch-Site, and for a WebSocket and whatever changes something also by Origin.
* Answers carry a content security policy under which the page loads from nowhere else.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.problems import Problem

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_SECURITY = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_PAGES = ("/", "/map")


class Guard:
    """ASGI middleware.

    Args:
        hosts: names this console answers to, besides addresses and localhost.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(name.lower().rstrip(".") for name in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers[name] = value
                # Whatever does not say otherwise may be about people.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        problem = self._check(scope)
        if problem is None:
            await self._app(scope, receive, guarded)
        else:
            await problem.response()(scope, receive, guarded)

    def _check(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._known(hosts[0]):
            return Problem(
                400,
                "this console does not answer to that host name; use its address, or add the name to "
                "`hosts` of [console] in the site file",
                "Host",
            )
        reads = scope["type"] == "http" and scope["method"] in _SAFE
        foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        # A link may lead to a page; nothing else here is for other sites, not even an <img> of it.
        if foreign and not (reads and scope["path"] in _PAGES):
            return Problem(403, "this request comes from a page of another site", "Sec-Fetch-Site")
        origin = headers.get("origin")
        if not reads and origin is not None and _netloc(origin) != hosts[0].lower():
            return Problem(403, "this request comes from a page of another site", "Origin")
        return None

    def _known(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").rstrip(".")
            _ = parts.port  # raises on nonsense
        except ValueError:
            return False
        if parts.netloc != host or "@" in host or name == "":
            return False
        if name == "localhost" or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _netloc(origin: str) -> str:
    """Host and port of an Origin header, "" where it has none (`null`)."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
