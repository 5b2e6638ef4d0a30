"""The console as an ASGI application: its parts and its routes.

app = create_app(site=..., store=..., journal=..., footage=..., objects=..., access=..., clock=...)
server = ConsoleServer(app, "127.0.0.1", 8080)      # console/server.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from console import api, evidence, judgements, metrics, sensors
from console import faces as captured
from console.access import AccessPolicy, Sessions
from console.accesslog import AccessLog
from console.context import Console
from console.guard import Guard
from console.latest import Latest
from console.live import live
from console.plain import PlainLooks
from console.problems import Problem, on_http_error, on_linli_error, on_problem
from console.push import events
from console.site import SiteView
from console.unsealing import Opener
from events.clock import Clock
from events.errors import LinliError
from storage.captures import FacesSettings
from storage.journal import Journal
from storage.store import Store

if TYPE_CHECKING:
    from console.city.context import CityParts  # its packages are optional

NO_FACES = FacesSettings()

_STATIC = Path(__file__).parent / "static"
_LIBRARY = ("maplibre-gl-csp.js", "maplibre-gl-csp-worker.js", "maplibre-gl.css")
_FILES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def create_app(  # noqa: PLR0913  the console's parts, each given by name once
    *,
    site: SiteView,
    store: Store,
    journal: Journal,
    footage: Path,
    objects: Path,
    access: AccessPolicy,
    clock: Clock,
    hosts: Sequence[str] = (),
    log_name: str = "",
    faces: FacesSettings = NO_FACES,
    identity: Path | None = None,
    figures: Sequence[Collector] = (),
    city: "CityParts | None" = None,
    library: Path | None = None,
) -> Starlette:
    """The application.

    Args:
        footage: root of the segments.
        objects: folder with `pictures/{alert}.jpg`, `clips/{alert}.mp4` and `health/{event}-before.jpg` and
            `-after.jpg`, pixelated, made by the pipeline.
        access: who may see what (`console.access.read_policy`).
        hosts: names it answers to besides addresses and localhost.
        log_name: by which the projector knows the journal in the store (`store.offset`); its id by default.
        faces: what is kept of captured faces.
        identity: protected file that opens their originals; None: nothing can be opened here.
        figures: of the box, for /metrics; nothing about people.
        city: parts of the desk, whose HTTP API (`console.city.app`) is served below /city; None: no desk.
        library: folder with the files of what draws the map; None: the page says how to get them.
    """
    console = Console(
        site=site,
        store=store,
        journal=journal,
        footage=footage,
        objects=objects,
        policy=access,
        clock=clock,
        sessions=Sessions(clock),
        log=AccessLog(journal, clock, f"/{site.id}/box/console"),
        looks=PlainLooks(clock),
        latest=Latest(store, clock),
        faces=faces,
        opener=Opener(identity, clock),
        log_name=log_name or journal.id,
        figures=tuple(figures),
        city=city is not None,
        map_library=library is not None,
    )
    app = Starlette(
        routes=[*_routes(library), *([] if city is None else _city(city, console))],
        middleware=[Middleware(Guard, hosts=tuple(hosts))],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_error,
            LinliError: on_linli_error,
            Exception: _on_bug,
        },
        max_body_size=64 << 10,
    )
    app.router.redirect_slashes = False  # a path that is not ours is not found; nobody is sent elsewhere
    app.state.console = console
    return app


def _routes(library: Path | None) -> list[BaseRoute]:
    def static(request: Request) -> Response:
        """GET /static/{name}: one of the page's own files, by a list, never by a path."""
        return _file(request.path_params["name"], library)

    return [
        Route("/", _page("index.html"), methods=["GET"]),
        Route("/map", _page("city.html"), methods=["GET"]),
        Route("/static/{name}", static, methods=["GET"]),
        Route("/healthz", api.healthz, methods=["GET"]),
        Route("/readyz", api.readyz, methods=["GET"]),
        Route("/metrics", metrics.metrics, methods=["GET"]),
        Route("/api/session", api.who, methods=["GET"]),
        Route("/api/session", api.sign_in, methods=["POST"]),
        Route("/api/session", api.sign_out, methods=["DELETE"]),
        Route("/api/site", api.site, methods=["GET"]),
        Route("/api/cameras", api.cameras, methods=["GET"]),
        Route("/api/health", api.health, methods=["GET"]),
        Route("/api/counts", api.counts, methods=["GET"]),
        Route("/api/alerts", api.alerts, methods=["GET"]),
        Route("/api/alerts/{id}", api.alert, methods=["GET"]),
        Route("/api/alerts/{id}/picture", evidence.picture, methods=["GET"]),
        Route("/api/alerts/{id}/clip", evidence.clip, methods=["GET"]),
        Route("/api/alerts/{id}/plain", evidence.ask_plain, methods=["POST"]),
        Route("/api/alerts/{id}/judgement", judgements.judge, methods=["POST"]),
        Route("/api/health/{event}/{when}", evidence.health_picture, methods=["GET"]),
        Route("/api/faces", captured.faces, methods=["GET"]),
        Route("/api/faces/{capture}.jpg", captured.picture, methods=["GET"]),
        Route("/api/faces/{capture}/open", captured.open_original, methods=["POST"]),
        Route("/api/faces/{capture}", captured.delete, methods=["DELETE"]),
        Route("/api/sensors", sensors.sensors, methods=["GET"]),
        Route("/api/sensors/{id}/readings", sensors.readings, methods=["GET"]),
        Route("/api/plain/{look}", evidence.plain, methods=["GET"]),
        Route("/events", events, methods=["GET"]),
        WebSocketRoute("/live/{camera}", live),
    ]


def _city(parts: "CityParts", console: Console) -> list[BaseRoute]:
    from console.city.app import MAX_BODY, create_city

    made = create_city(parts, policy=console.policy, sessions=console.sessions, log=console.log)

    return [Route("/city", _Root(made)), Mount("/city", app=made, max_body_size=MAX_BODY)]


class _Root:
    """/city itself, which a mount does not match."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inside = {"path": "/city/", "raw_path": b"/city/", "root_path": scope.get("root_path", "") + "/city"}
        await self._app({**scope, **inside}, receive, send)


def _page(name: str) -> Callable[[Request], Response]:
    """GET /, GET /map: a page. It holds no data of the site, so anybody may load it."""
    return lambda _: _file(name)


def _file(name: str, library: Path | None = None) -> Response:
    if name not in _names() and not (library is not None and name in _LIBRARY):
        raise Problem(404, "no such file")
    path = (library if library is not None and name in _LIBRARY else _STATIC) / name
    # Asked for again each time (by its ETag), so that a new version is never mixed with an old one.
    return FileResponse(path, media_type=_FILES[path.suffix], headers={"cache-control": "no-cache"})


def _names() -> frozenset[str]:
    return frozenset(path.name for path in _STATIC.iterdir() if path.suffix in _FILES)


async def _on_bug(_: Request, error: Exception) -> Response:
    """Starlette logs the error with its trace and then answers this: no inside of ours."""
    return Problem(500, f"a fault in the console ({type(error).__name__}); its log has more").response()
