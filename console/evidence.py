"""Pictures and clips of alerts.

What lies in the objects folder is pixelated, and anybody with the right `alerts` may see it. Something plain
is never stored: it is cut from the footage for one viewer who has the right `plain` and said what for.
"""

import tempfile
from pathlib import Path

from anyio import Lock, to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from console.access import Viewer
from console.api import alert_of, json
from console.context import Console, console_of
from console.plain import LOOK_S, PlainLook, PlainRequest, stated
from console.problems import Problem, decoded, flag
from storage.clips import cut_clip
from storage.fragments import locate, whole_length
from storage.projections import AlertRow
from storage.rows import SegmentRow
from storage.stills import picture_at

PRE_S = 5
POST_S = 5
MAX_CLIP_S = 60
"""A plain clip shows the alert's beginning and at most so much of what follows."""
_SECOND = 1_000_000

_cutting = Lock()
"""One plain clip is cut at a time: it must not take the box's time from its cameras."""


def picture(request: Request) -> Response:
    """GET /api/alerts/{id}/picture: JPEG, pixelated. `?ready=true` only asks whether it is there."""
    return _stored(request, "snapshot", "pictures/{}.jpg", "image/jpeg", "picture is not made yet")


def clip(request: Request) -> Response:
    """GET /api/alerts/{id}/clip: MP4, pixelated, in ranges if asked. `?ready=true` as above."""
    return _stored(request, "clip", "clips/{}.mp4", "video/mp4", "clip is not cut yet")


def health_picture(request: Request) -> Response:
    """GET /api/health/{event}/{when}: JPEG, pixelated, from `before` or `after` a fault began, by the event
    that raised it. `?ready=true` as above.
    """
    console = console_of(request)
    event, when = request.path_params["event"], request.path_params["when"]
    viewer = console.require(request, "alerts", "health", event[:64])
    if when not in ("before", "after") or not any(
        row.event == event for row in console.store.cameras_health() if row.event
    ):
        raise Problem(
            404, f"nothing is known of the fault {event[:64]!r}; GET /api/health lists them", "event"
        )
    path = console.objects / f"health/{event}-{when}.jpg"
    return _answer(request, viewer, ("health", event), path, "image/jpeg", "picture is not made yet")


def _stored(request: Request, what: str, name: str, media_type: str, missing: str) -> Response:
    console = console_of(request)
    id = request.path_params["id"]
    viewer = console.require(request, "alerts", what, id[:64])
    alert = alert_of(console, id)
    path = console.objects / name.format(alert.alert)
    return _answer(request, viewer, (what, alert.alert), path, media_type, missing)


def _answer(
    request: Request, viewer: Viewer, look: tuple[str, str], path: Path, media_type: str, missing: str
) -> Response:
    if flag(request, "ready"):
        return json({"ready": path.is_file()})
    if not path.is_file():
        raise Problem(404, f"the {missing}; ask again in a moment", headers={"retry-after": "2"})
    console_of(request).log.look(viewer.who, *look)
    return FileResponse(path, media_type=media_type, headers={"cache-control": "no-store"})


async def ask_plain(request: Request) -> Response:
    """POST /api/alerts/{id}/plain {what, purpose}: where to load it from, for a minute. Always noted."""
    console = console_of(request)
    id = request.path_params["id"]
    viewer = await to_thread.run_sync(console.require, request, "plain", "footage", id[:64])
    alert = await to_thread.run_sync(alert_of, console, id)
    mend = '{"what": "picture" or "clip", "purpose": "..."}'
    wanted = await decoded(request, PlainRequest, mend)
    purpose = stated(wanted.purpose)
    what = "snapshot" if wanted.what == "picture" else "clip"
    console.log.plain(viewer.who, what, alert.alert, purpose)
    look = console.looks.grant(viewer.who, alert.alert, wanted.what)
    return json({"url": f"/api/plain/{look}", "seconds": LOOK_S}, 201)


async def plain(request: Request) -> Response:
    """GET /api/plain/{look}: the picture or clip that was asked for, to whom asked."""
    console = console_of(request)
    viewer = await to_thread.run_sync(console.require, request, "plain", "footage", "")
    look = console.looks.find(request.path_params["look"], viewer.who)
    if look is None:
        raise Problem(404, "this permission is unknown, over, or another viewer's; state the purpose again")
    async with _cutting:
        body, media_type = await to_thread.run_sync(_cut, console, look)
    return Response(body, media_type=media_type)


def _cut(console: Console, look: PlainLook) -> tuple[bytes, str]:
    alert = alert_of(console, look.alert)
    if look.what == "picture":
        rows = _rows(console, alert, alert.raised_us, alert.raised_us)
        return picture_at(console.footage, rows, alert.raised_us), "image/jpeg"  # nothing hidden: plain
    start = alert.since_us - PRE_S * _SECOND
    end = min((alert.until_us or alert.updated_us) + POST_S * _SECOND, start + MAX_CLIP_S * _SECOND)
    rows = _rows(console, alert, start, end)
    with tempfile.TemporaryDirectory(prefix="linli-plain-") as folder:
        out = Path(folder) / "clip.mp4"
        # Packets as they are, where a browser can play them: milliseconds, and the very evidence.
        kinds = {(row.codec, row.width, row.height) for row in rows}
        transcode = len(kinds) > 1 or any(row.codec != "h264" for row in rows)
        cut_clip(console.footage, rows, start, end, out, transcode=transcode)
        return out.read_bytes(), "video/mp4"


def _rows(console: Console, alert: AlertRow, start: int, end: int) -> list[SegmentRow]:
    """The footage of the stream that was analysed.

    Raises:
        Problem: 404, there is none any more.
    """
    camera = console.camera(alert.source.rsplit("/", 1)[1])
    root = console.footage
    rows = [
        row
        for row in console.journal.segments(camera.id, camera.stream, start, end)
        # One that was only just begun has no picture yet.
        if row.state != "open" or whole_length(locate(root / row.path))
    ]
    if not rows:
        raise Problem(404, f"the footage of {camera.id} at that time is gone: retention has deleted it")
    return rows
