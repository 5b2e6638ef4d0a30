"""The platform above over HTTP: it is asked for messages, told what became of each, and given ours.

    GET  URL/messages?limit=N           {"messages": [...]}: those not settled, the oldest first
    POST URL/messages/MESSAGE/receipt   {"taken": true} or {"taken": false, "reason": "..."}
    POST URL/answers                    one message; header Idempotency-Key: its id

What it has taken it says with a JSON object (or 204). All of it may be asked again: a request that fails is,
a few times with growing pauses. Basic authentication (RFC 7617); without TLS only on loopback, since the
messages carry persons' words.
"""

import contextlib
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from desk.upstream import MAX_BYTES, Outgoing, Received, written
from events.clock import Clock
from events.errors import ConfigError, UpstreamAway, UpstreamError, UpstreamRefused
from ingest.credentials import Credentials

TIMEOUT_S = 20.0
TRIES = 3
PAUSE_S = 0.5
"""Before the second try; twice as long before each further one."""
MAX_ANSWER = 16 * 1024 * 1024

_RECEIPT = "/receipt"
_BUSY = frozenset((408, 425, 429))
_NEVER = frozenset((400, 409, 410, 413, 415, 422))
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class _Page(msgspec.Struct, frozen=True):
    messages: list[msgspec.Raw]


class _Named(msgspec.Struct, frozen=True):
    message: str = ""


class HttpUpstream:
    """See the module's text. Used by one thread at a time.

    Args:
        url: without a login.
        ca: PEM file of the authority that signed its certificate; None: the system's.

    Raises:
        ConfigError: plain HTTP to another machine, or the PEM file cannot be used.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        login: Credentials | None = None,
        ca: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"{url}: persons' words go to another machine only over https; write https://")
        try:
            trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
        except OSError as e:
            raise ConfigError(f"{ca} is no PEM file of an authority: {e}") from e
        self.name = parts.netloc
        self._url = url.rstrip("/")
        self._clock = clock
        self._client = httpx.Client(
            auth=(login.user, login.password) if login else None,
            verify=trust,
            timeout=timeout_s,
            trust_env=False,
        )

    def fetch(self, limit: int) -> Sequence[Received]:
        """Ask for messages; an answer that is none counts as no answer."""
        body = self._ask("GET", f"/messages?limit={limit}")
        try:
            page = msgspec.json.decode(body, type=_Page)
        except (ValueError, RecursionError):
            raise UpstreamAway(f"{self.name} answers what is no list of messages") from None
        return [Received(_receipt(bytes(raw)), bytes(raw)) for raw in page.messages]

    def settle(self, receipt: str, problem: str = "") -> None:
        """Tell what became of the message. One without an id cannot be spoken of."""
        if not receipt:
            return
        said = {"taken": False, "reason": problem} if problem else {"taken": True}
        with contextlib.suppress(UpstreamRefused):  # it does not know of it any more
            self._ask("POST", f"/messages/{quote(receipt, safe='')}{_RECEIPT}", msgspec.json.encode(said))

    def send(self, message: Outgoing) -> None:
        """Hand the message over; durable there when this returns."""
        self._ask("POST", "/answers", written(message), {"idempotency-key": message.message})

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        def once() -> bytes:
            return self._once(method, path, body, headers or {})

        return _tried(once, self._clock)

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        if body:
            headers = {"content-type": "application/json"} | headers
        try:
            with self._client.stream(
                method, self._url + path, content=body or None, headers=headers
            ) as response:
                answer = b""
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > MAX_ANSWER:
                        raise UpstreamAway(f"{self.name} answers more than {MAX_ANSWER >> 20} MiB")
                self._check(response.status_code, path)
                if method == "POST" and response.status_code != 204:
                    self._object(answer)
                return answer
        except httpx.HTTPError as e:  # its text has the address and never a body
            raise UpstreamAway(f"{self.name} does not answer: {e or type(e).__name__}") from e

    def _object(self, answer: bytes) -> None:
        """A page of something in between, with status 200, is no receipt."""
        try:
            msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        except (ValueError, RecursionError):
            raise UpstreamAway(f"{self.name} answers what is no JSON object") from None

    def _check(self, status: int, path: str) -> None:
        """Raises what a status means."""
        if 200 <= status < 300:
            return
        where = f"{self.name}{path.partition('?')[0]}"
        if status >= 500 or status in _BUSY:
            raise UpstreamAway(f"{where} answers {status}")
        if status in (401, 403):
            raise UpstreamError(f"{where} answers {status}; mend city.upstream.credentials")
        if status in _NEVER or (status == 404 and path.endswith(_RECEIPT)):
            raise UpstreamRefused(f"{where} answers {status}")
        raise UpstreamError(f"{where} answers {status}; look whether city.upstream.url is right")


def _tried(once: Callable[[], bytes], clock: Clock) -> bytes:
    for attempt in range(TRIES - 1):
        try:
            return once()
        except UpstreamAway:
            clock.sleep(PAUSE_S * 2**attempt)
    return once()


def _receipt(raw: bytes) -> str:
    """The message's id, as far as one can be read; '': none."""
    if len(raw) > MAX_BYTES * 4:
        return ""
    try:
        name = msgspec.json.decode(raw, type=_Named).message
    except (ValueError, RecursionError):
        return ""
    return name if len(name) <= 200 else ""
