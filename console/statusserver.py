"""A small server for machines: /metrics, /healthz and /readyz. Figures, never events or persons.

`linli serve` has one, and a box without a page may have one; a box with a page has the same paths there. It
asks nobody for a right, so it listens on loopback unless the site file says otherwise.

    healthz   the process does its work: what restarts it looks here
    readyz    what it needs is there as well: store, brokers, the place to read on from
"""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.access import is_loopback
from console.guard import Guard
from console.server import ConsoleServer
from events.errors import LinliError
from ingest.credentials import mask

PATIENCE_S = 3.0
"""A check that takes longer counts as failed; it is not asked again before it has answered."""


class Check(NamedTuple):
    """Something that has to hold."""

    name: str
    """store, brokers, position, projector ..."""
    probe: Callable[[], str]
    """Why it does not hold, with the mend; empty: it does. What it raises counts as why."""
    alive: bool = False
    """Without it the process is of no use, and starting it again may help: it counts for /healthz as well."""


class Checks:
    """Asks them side by side, each at most once at a time."""

    def __init__(self, checks: Sequence[Check], patience_s: float = PATIENCE_S) -> None:
        self._checks = tuple(checks)
        self._patience_s = patience_s
        self._asked: dict[str, concurrent.futures.Future[str]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(
            max(1, len(self._checks)), thread_name_prefix="checks"
        )

    def ask(self, alive: bool) -> dict[str, str]:
        """Name -> why it does not hold; `alive`: only those that count for /healthz."""
        wanted = [check for check in self._checks if check.alive or not alive]
        for check in wanted:
            before = self._asked.get(check.name)
            if before is None or before.done():
                self._asked[check.name] = self._pool.submit(_probed, check)
        asked = {check.name: self._asked[check.name] for check in wanted}
        concurrent.futures.wait(asked.values(), self._patience_s)
        late = f"no answer within {self._patience_s:g} s"
        return {name: found.result() if found.done() else late for name, found in asked.items()}

    def close(self) -> None:
        """Waits for none that hangs."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _probed(check: Check) -> str:
    try:
        return mask(check.probe())
    except LinliError as error:
        return mask(str(error))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it does not hold
        return mask(f"{type(error).__name__}: {error}")


def answer(found: dict[str, str]) -> Response:
    """200 or 503, and a document that names what is wrong."""
    wrong = {name: why for name, why in found.items() if why}
    body = {
        "status": "failing" if wrong else "ok",
        "checks": {name: why or "ok" for name, why in found.items()},
    }
    return Response(
        msgspec.json.encode(body),
        503 if wrong else 200,
        {"cache-control": "no-store"},
        media_type="application/json",
    )


def figures(collectors: Sequence[Collector]) -> Response:
    """What the collectors say, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return Response(
        generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"}
    )


class StatusServer:
    """Serves from `start` to `stop`.

    Args:
        port: 0 takes a free one.
        collectors: asked at each scrape.
        table: of the site file, for messages.
    """

    def __init__(
        self,
        host: str,
        port: int,
        collectors: Sequence[Collector],
        checks: Sequence[Check],
        *,
        table: str = "[serve]",
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._checks = Checks(checks, patience_s)
        self._server = ConsoleServer(
            _app(host, tuple(collectors), self._checks), host, port, table=table, what="figures"
        )

    @property
    def url(self) -> str:
        """Where it is, once started."""
        return self._server.url

    def start(self) -> None:
        """Listen, and serve in the background.

        Raises:
            ConfigError: the address cannot be had.
        """
        self._server.start()

    def stop(self) -> None:
        """Release the port. May be called twice."""
        self._server.stop()
        self._checks.close()


def _app(host: str, collectors: Sequence[Collector], checks: Checks) -> Starlette:
    def metrics(_: Request) -> Response:
        return figures(collectors)

    def healthz(_: Request) -> Response:
        return answer(checks.ask(alive=True))

    def readyz(_: Request) -> Response:
        return answer(checks.ask(alive=False))

    # On loopback no page of another site may read it by a name that resolves to this machine. On a network of
    # its own (a container's) it is called by names that nobody here knows.
    guard = [Middleware(Guard)] if is_loopback(host) else []
    app = Starlette(
        routes=[
            Route("/metrics", metrics, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
        ],
        middleware=guard,
    )
    app.router.redirect_slashes = False
    return app
