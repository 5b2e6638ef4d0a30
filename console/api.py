"""The JSON API. Every answer that the page keeps current by pushed events says up to which offset of the
journal it is complete (`offset`): events after it, and only those, go on top.
"""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from console.access import COOKIE, SESSION_S, identify
from console.context import Console, console_of
from console.problems import Problem, decoded, flag, integer
from events.errors import StorageError
from events.events import AlertKind, camera_source, sensor_source
from storage.projections import AlertRow, HealthRow

MAX_ALERTS = 500
INTERVALS_US = 24 * 3600 * 1_000_000
"""Without `from`, /api/counts goes back so far."""
_TRIES = 20
_FOREVER_US = 1 << 52
_KINDS = frozenset(get_args(AlertKind))
_ALERT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/session."""

    token: str


def json(body: object, status: int = 200) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def camera_of(console: Console, source: str) -> str:
    """The camera's id in a CloudEvents source, "" if it is not one of this site's cameras."""
    prefix = camera_source(console.site.id, "")
    return source.removeprefix(prefix) if source.startswith(prefix) else ""


def sensor_of(console: Console, source: str) -> str:
    """The sensor's id in a CloudEvents source, "" if it is not one of this site's sensors."""
    prefix = sensor_source(console.site.id, "")
    return source.removeprefix(prefix) if source.startswith(prefix) else ""


def source_of(console: Console, request: Request) -> str | None:
    """The source named by the parameter `camera`, None without it. Raises Problem 404."""
    camera = request.query_params.get("camera")
    return None if camera is None else camera_source(console.site.id, console.camera(camera).id)


def alert_of(console: Console, id: str) -> AlertRow:
    """The alert of that id. Raises Problem 404."""
    row = console.store.alert(id) if _ALERT_ID.fullmatch(id) else None
    if row is None:
        raise Problem(404, f"there is no alert {id[:64]!r}; GET /api/alerts lists them", "id")
    return row


def site(request: Request) -> Response:
    """GET /api/site"""
    console = console_of(request)
    viewer = console.require(request, "alerts", "page", console.site.id)
    cameras = [
        {
            "id": c.id,
            "name": c.name,
            "kind": c.kind,
            "stream": c.stream,
            "place": c.place,
            "view": c.view,
            "presets": c.presets,
            "rules": [msgspec.to_builtins(rule) for rule in c.rules],
        }
        for c in console.site.cameras
    ]
    signed_in = console.sessions.viewer(request.cookies.get(COOKIE, "")) is not None
    return json(
        {
            "id": console.site.id,
            "name": console.site.name,
            "cameras": cameras,
            "sensors": console.site.sensors,
            "pixelate": console.policy.pixelate,
            "viewer": {"who": viewer.who, "rights": sorted(viewer.rights), "session": signed_in},
        }
    )


def cameras(request: Request) -> Response:
    """GET /api/cameras: each with the last state of everything that was said about it, a dome with where it
    looks.
    """
    console = console_of(request)
    console.require(request, "alerts", "page", console.site.id)
    offset = console.projected()
    health: dict[str, list[dict[str, Any]]] = {c.id: [] for c in console.site.cameras}
    for row in console.store.cameras_health():
        if (camera := camera_of(console, row.source)) in health:
            health[camera].append(health_json(console, row))
    looking = {camera_of(console, row.source): _without_source(row) for row in console.store.views()}
    found = [
        {"id": c.id, "name": c.name, "health": health[c.id], "looking": looking.get(c.id)}
        for c in console.site.cameras
    ]
    return json({"cameras": found, "offset": offset})


def health_json(console: Console, row: HealthRow) -> dict[str, Any]:
    """A health row as the API shows it; `pictures` are those that are there."""
    names = {when: console.objects / f"health/{row.event}-{when}.jpg" for when in ("before", "after")}
    pictures = [when for when, path in names.items() if row.event and path.is_file()]
    return {**_without_source(row), "pictures": pictures}


def alert_json(console: Console, row: AlertRow) -> dict[str, Any]:
    """An alert as the API shows it."""
    body = dict(msgspec.to_builtins(row))
    body["id"] = body.pop("alert")
    source = body.pop("source")
    body["camera"] = camera_of(console, source)
    body["sensor"] = sensor_of(console, source)
    body["open"] = body.pop("state") == "open"
    return body


def alerts(request: Request) -> Response:
    """GET /api/alerts?open=&camera=&kind=&limit=&before= : the last raised first.

    `before`: raised before this time, microseconds since 1970.
    """
    console = console_of(request)
    console.require(request, "alerts", "page", console.site.id)
    limit = integer(request, "limit", 50, 1, MAX_ALERTS)
    assert limit is not None
    before = integer(request, "before", None, 0, _FOREVER_US)
    wanted = flag(request, "open")
    kind = request.query_params.get("kind")
    if kind is not None and kind not in _KINDS:
        raise Problem(400, f"kind must be one of {', '.join(sorted(_KINDS))}, not {kind[:40]!r}", "kind")
    source = source_of(console, request)
    offset = console.projected()
    found: list[dict[str, Any]] = []
    for row in _walk(console, wanted is True, source, before):
        if (kind is None or row.kind == kind) and (wanted is not False or row.state != "open"):
            found.append(alert_json(console, row))
            if len(found) == limit:
                break
    return json({"alerts": found, "offset": offset})


def _walk(console: Console, open_only: bool, source: str | None, before_us: int | None) -> Iterator[AlertRow]:
    """Alerts page by page, each once, the last raised first."""
    seen: set[str] = set()
    while True:
        rows = console.store.alerts(MAX_ALERTS, open_only, source, before_us)
        new = [row for row in rows if row.alert not in seen]
        yield from new
        if len(rows) < MAX_ALERTS or not new:
            return
        seen.update(row.alert for row in new)
        before_us = rows[-1].raised_us + 1  # others may have been raised in the same microsecond


def alert(request: Request) -> Response:
    """GET /api/alerts/{id}"""
    console = console_of(request)
    id = request.path_params["id"]
    console.require(request, "alerts", "page", id[:64])
    return json(alert_json(console, alert_of(console, id)))


def counts(request: Request) -> Response:
    """GET /api/counts?camera=&from=&to= : intervals that start in [from, to), and totals of all time."""
    console = console_of(request)
    console.require(request, "alerts", "page", console.site.id)
    source = source_of(console, request)
    now = console.clock.wall_us()
    start = integer(request, "from", now - INTERVALS_US, 0, _FOREVER_US)
    end = integer(request, "to", None, 0, _FOREVER_US)
    assert start is not None
    if end is not None and end <= start:
        raise Problem(400, f"to must be after from ({start}), not {end}", "to")
    for _ in range(_TRIES):
        offset = console.projected()
        rows = console.store.counts(source, start, end), console.store.totals(source)
        if console.projected() == offset:
            break  # totals must not hold more than the offset says, or the page would count twice
    intervals, totals = (
        [{"camera": camera_of(console, row.source), **_without_source(row)} for row in part] for part in rows
    )
    return json({"intervals": intervals, "totals": totals, "offset": offset})


def _without_source(row: msgspec.Struct) -> dict[str, Any]:
    body = dict(msgspec.to_builtins(row))
    del body["source"]
    return body


def health(request: Request) -> Response:
    """GET /api/health: everything that is wrong now, and how the console itself fares."""
    console = console_of(request)
    console.require(request, "alerts", "page", console.site.id)
    raised = [
        {"source": row.source, **health_json(console, row)}
        for row in console.store.cameras_health()
        if row.state == "raised"
    ]
    stats = console.journal.stats()
    return json(
        {
            "raised": raised,
            "journal": {
                "healthy": console.journal.healthy,
                "problem": stats.problem,
                "last_offset": console.journal.last_offset(),
                "projected": console.projected(),
            },
            "watching": {"live": console.live, "events": console.pushes},
        }
    )


def healthz(request: Request) -> Response:
    """GET /healthz: 200 while the store and the journal can be read and the journal can write.

    Needs no right, and tells in one word each what is wrong: journal, store.
    """
    return _health(_wrong(console_of(request)))


def readyz(request: Request) -> Response:
    """GET /readyz: 200 while the page can be used: as /healthz, and the store has begun to be filled."""
    console = console_of(request)
    wrong = _wrong(console)
    if not wrong and console.journal.last_offset() and not console.projected():
        wrong = [] if console.store.sizes().events else ["projector"]
    return _health(wrong)


def _wrong(console: Console) -> list[str]:
    wrong = []
    try:
        console.journal.last_offset()
        if not console.journal.healthy:
            wrong.append("journal")
    except StorageError:
        wrong.append("journal")
    try:
        console.store.sizes()
    except StorageError:
        wrong.append("store")
    return wrong


def _health(wrong: list[str]) -> Response:
    if wrong:
        return JSONResponse({"status": "failing", "wrong": wrong}, 503)
    return JSONResponse({"status": "ok"})


def who(request: Request) -> Response:
    """GET /api/session: who the caller is, null for nobody known. No refusal: the page asks first.

    Somebody known learns which rooms there are: whether the city's desk is served, and can be drawn as a map.
    """
    console = console_of(request)
    viewer = identify(request, console.policy, console.sessions)
    if viewer is None:
        return json({"who": None})
    return json(
        {
            "who": viewer.who,
            "rights": sorted(viewer.rights),
            "role": viewer.role,
            "city": console.city,
            "map": console.map_library,
            "session": console.sessions.viewer(request.cookies.get(COOKIE, "")) is not None,
        }
    )


async def sign_in(request: Request) -> Response:
    """POST /api/session {token}: a session cookie for a token."""
    console = console_of(request)
    body = await decoded(request, Token, '{"token": "..."}', "token")
    viewer = console.policy.bearer(body.token.strip())
    if viewer is None:
        client = request.client.host if request.client else "?"
        console.log.refusal(f"unknown {client}", "sign-in", console.site.id, False)
        raise Problem(401, "this token is not known here; ask whoever runs the site for one", "token")
    answer = json({"who": viewer.who})
    answer.set_cookie(
        COOKIE,
        console.sessions.start(viewer),
        max_age=int(SESSION_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def sign_out(request: Request) -> Response:
    """DELETE /api/session"""
    console_of(request).sessions.end(request.cookies.get(COOKIE, ""))
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
