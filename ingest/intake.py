"""Readings over HTTP: `POST /readings` and `POST /readings/{sensor}`, answered once the journal has them.

| content type | what |
| --- | --- |
| application/senml+json | a SenML pack; of the named sensor, or told apart by its names |
| application/json | JSON of the named sensor, read as its [[sensor]] says |
| text/plain | one number of the named sensor |
| application/cloudevents+json | one CloudEvent (structured mode); its source names the sensor |
| application/cloudevents-batch+json | several |
| any, with ce-... headers | one CloudEvent (binary mode) |

200: at least one reading was taken; the body says how many, and what was refused. 400: none was, and why, as
problem+json (RFC 9457). 401, 403: no token, or not for this sensor. 413: too large. 503: the journal cannot
be written now; try again.
"""

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from events.clock import Clock
from ingest import cloudevents, senml
from ingest.cloudevents import CloudEvent, CloudEventError
from ingest.deliveries import Delivery
from ingest.readings import Refusal

ANSWER_S = 30.0
"""After so long without a commit the sender is told to try again."""

CROWDED = 20_000
"""With so many deliveries waiting, senders are told to try again."""

MOST_SHOWN = 100
"""So many refusals are in an answer at most."""

CROWDED_BYTES = 64 << 20
"""So much of requests that are under way or wait to be written is held; beyond it senders are told so too."""

MIN_TOKEN = 16
_CROWDED = "too many readings wait to be written; try again"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via", "origin")


class Sender(msgspec.Struct, frozen=True):
    """Who may hand in readings."""

    who: str
    digest: bytes
    """SHA-256 of the token."""
    sensors: frozenset[str] | None
    """None: for all."""


class _Problem(Exception):
    def __init__(self, status: int, detail: str, errors: Sequence[Refusal] = ()) -> None:
        self.status, self.detail, self.errors = status, detail, errors


class _Waiting:
    """One request's deliveries: done when all are settled. `bytes` are held from the first until then."""

    def __init__(self, release: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._release = release
        self.done = asyncio.Event()
        self.left = 0
        self.bytes = 0

    def settled(self, deliveries: Sequence[Delivery]) -> None:
        """Called by the journal's thread."""
        with contextlib.suppress(RuntimeError):  # the server has stopped: nobody waits for an answer
            self._loop.call_soon_threadsafe(self._count, len(deliveries))

    def _count(self, settled: int) -> None:
        self.left -= settled
        if self.left <= 0:
            self.give_up()
            self.done.set()

    def give_up(self) -> None:
        """Nothing of it is held any more."""
        self._release(self.bytes)
        self.bytes = 0


class Intake:
    """The application. `app` is ASGI.

    Args:
        senders: who has a token.
        loopback: whoever is at this machine needs none.
        deliver: takes each delivery; settles it once it is committed.
        waiting: how many deliveries wait to be read.
        max_bytes: of a request.
    """

    def __init__(
        self,
        *,
        senders: Sequence[Sender],
        loopback: bool,
        deliver: Callable[[Delivery], None],
        waiting: Callable[[], int],
        clock: Clock,
        max_bytes: int = 1 << 20,
    ) -> None:
        self._senders, self._loopback = tuple(senders), loopback
        self._deliver, self._waiting, self._clock = deliver, waiting, clock
        self._max_bytes = max_bytes
        self._held = 0
        self.app = Starlette(
            routes=[
                Route("/readings", self._post, methods=["POST"]),
                Route("/readings/{sensor}", self._post, methods=["POST"]),
            ],
            exception_handlers={_Problem: _on_problem, HTTPException: _on_http_error},
        )
        self.app.router.redirect_slashes = False

    async def _post(self, request: Request) -> Response:
        allowed = self._sender(request)
        if self._waiting() > CROWDED:
            raise _Problem(503, _CROWDED)
        waiting = _Waiting(self._release)
        try:
            deliveries = self._deliveries(request, await self._body(request, waiting), waiting)
            if not deliveries:
                raise _Problem(400, "the batch is empty")
        except BaseException:
            waiting.give_up()
            raise
        for delivery in deliveries:
            delivery.only = allowed
        waiting.left = len(deliveries)
        for delivery in deliveries:
            self._deliver(delivery)
        try:
            await asyncio.wait_for(waiting.done.wait(), ANSWER_S)
        except TimeoutError:
            raise _Problem(503, "the journal could not be written; try again") from None
        return _answer(deliveries)

    def _sender(self, request: Request) -> frozenset[str] | None:
        """The sensors that the sender may speak for; None: all."""
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            digest = hashlib.sha256(token.strip().encode()).digest()
            found = None
            for sender in self._senders:  # each is compared, whether or not one matched before
                if hmac.compare_digest(sender.digest, digest):
                    found = sender
            if found is not None and scheme.lower() == "bearer":
                return found.sensors
            raise _Problem(401, "this token is not known; see [[sensors.http.gateway]] of the site file")
        if self._loopback and _is_at_this_machine(request):
            return None
        raise _Problem(401, "a bearer token is needed; see [[sensors.http.gateway]] of the site file")

    def _release(self, size: int) -> None:
        self._held -= size

    async def _body(self, request: Request, waiting: _Waiting) -> bytes:
        said = request.headers.get("content-length", "0")
        too_large = _Problem(413, f"a request may have {self._max_bytes} bytes; send less at once")
        if said.isdigit() and int(said) > self._max_bytes:
            raise too_large
        parts: list[bytes] = []
        try:
            async for part in request.stream():
                waiting.bytes += len(part)
                self._held += len(part)
                if waiting.bytes > self._max_bytes:
                    raise too_large
                if self._held > CROWDED_BYTES:
                    raise _Problem(503, _CROWDED)
                parts.append(part)
        except ClientDisconnect:
            raise _Problem(408, "the request did not come to its end") from None  # nobody reads it
        return b"".join(parts)

    def _deliveries(self, request: Request, body: bytes, origin: _Waiting) -> list[Delivery]:
        now = self._clock.wall_us()
        sensor = request.path_params.get("sensor", "")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if kind == cloudevents.BATCH:
                found = cloudevents.batch(body)
            elif kind == cloudevents.STRUCTURED:
                found = [cloudevents.structured(body)]
            elif "ce-specversion" in request.headers:
                found = [cloudevents.binary(request.headers, body)]
            elif kind in (senml.MEDIA_TYPE, "application/json", "text/plain"):
                if not sensor and kind != senml.MEDIA_TYPE:
                    raise _Problem(400, "which sensor? Post to /readings/ID, or send SenML or a CloudEvent")
                plain = kind == senml.MEDIA_TYPE
                return [Delivery(payload=body, arrived_us=now, origin=origin, sensor=sensor, senml=plain)]
            else:
                known = "application/senml+json, application/json, text/plain, application/cloudevents+json"
                raise _Problem(
                    415, f"the content type is none of {known}, application/cloudevents-batch+json"
                )
        except CloudEventError as error:
            raise _Problem(400, str(error), [Refusal("payload", str(error), error.field)]) from None
        return [_delivery(event, sensor, now, origin) for event in found]


def _delivery(event: CloudEvent, sensor: str, now: int, origin: _Waiting) -> Delivery:
    return Delivery(
        payload=event.data,
        arrived_us=now,
        origin=origin,
        sensor=sensor,
        source=event.source,
        time_us=event.time_us,
        senml=event.senml,
        name=f"{event.source} {event.id}".encode(),
        again=True,  # whether it is, nobody says: it may be a second try
    )


def _answer(deliveries: Sequence[Delivery]) -> Response:
    accepted = sum(delivery.accepted for delivery in deliveries)
    more = sum(delivery.refused_more for delivery in deliveries)
    refused = [refusal for delivery in deliveries for refusal in delivery.refused]
    if refused and not accepted:
        if all(refusal.why == "forbidden" for refusal in refused):
            raise _Problem(403, "the token is not for these sensors", refused[:MOST_SHOWN])
        also = f" (and {len(refused) + more - MOST_SHOWN} more)" if len(refused) + more > MOST_SHOWN else ""
        raise _Problem(400, refused[0].text + also, refused[:MOST_SHOWN])
    if not accepted:
        raise _Problem(400, "no reading is in it")
    body: dict[str, object] = {
        "accepted": accepted,
        "refused": [_shown(refusal) for refusal in refused[:MOST_SHOWN]],
    }
    if len(refused) + more > MOST_SHOWN:
        body["more_refused"] = len(refused) + more - MOST_SHOWN
    return _json(200, body)


def _shown(refusal: Refusal) -> dict[str, str]:
    return {
        "sensor": refusal.sensor,
        "field": refusal.field,
        "why": refusal.why,
        "detail": refusal.text,
    }


def _json(status: int, body: dict[str, object], media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(body), status, media_type=media_type)


def _problem(status: int, detail: str, errors: Sequence[Refusal] = ()) -> Response:
    titles = {400: "Refused", 401: "Who is it?", 403: "Not allowed", 413: "Too large", 503: "Not now"}
    body: dict[str, object] = {
        "type": "about:blank",
        "title": titles.get(status, "Refused"),
        "status": status,
    }
    body |= {"detail": detail, "errors": [_shown(refusal) for refusal in errors]}
    answer = _json(status, body, "application/problem+json")
    if status == 401:
        answer.headers["www-authenticate"] = "Bearer"
        answer.headers["connection"] = "close"  # it is not kept for strangers
    if status == 503:
        answer.headers["retry-after"] = "5"
    return answer


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Problem)
    return _problem(error.status, error.detail, error.errors)


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = _problem(error.status_code, error.detail)
    answer.headers["connection"] = "close"
    return answer


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_at_this_machine(request: Request) -> bool:
    """From loopback, by no proxy, and not from a page in a browser that was led here."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    return is_loopback(request.client.host if request.client else "") and is_loopback(host)
