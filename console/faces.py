"""Captured faces: the list, the pixelated crops, the sealed originals, deletion.

A look, a refusal and a deletion are in the journal, on disk, before the answer goes out.
"""

import re
from typing import Any

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from console.access import Viewer
from console.api import camera_of, json, source_of
from console.context import Console, console_of
from console.plain import stated
from console.problems import Problem, body_of, integer
from events.errors import AccessDenied
from storage.captures import delete_face
from storage.objects import FolderObjects
from storage.projections import FaceRow

MAX_FACES = 500
NOTE = (
    "A picture is of a capture, not of a person: who passes three times is captured three times, and nobody "
    "counts persons here. Whether the number of persons is reached at which the law asks for filing, the "
    "operator has to judge."
)
_CAPTURE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FOREVER_US = 1 << 52
_MAX_PASSPHRASE = 1024


class OpenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/faces/{capture}/open."""

    purpose: str
    passphrase: str

    def __repr__(self) -> str:
        return "OpenRequest(...)"  # whatever prints it, no passphrase


def faces(request: Request) -> Response:
    """GET /api/faces?camera=&before=&limit= : captures, the latest first, and how many pictures are held.

    `before`: captured before this time, microseconds since 1970, as are `at`, `since` and `until`. `picture`
    and `sealed` say what is there now.
    """
    console = console_of(request)
    console.require(request, "faces", "faces", console.site.id)
    limit = integer(request, "limit", 50, 1, MAX_FACES)
    assert limit is not None
    before = integer(request, "before", None, 0, _FOREVER_US)
    source = source_of(console, request)
    offset = console.projected()
    pictures, sealed = console.store.face_counts()
    holding = {
        "pictures": pictures,
        "sealed": sealed,
        "filing_at_persons": console.faces.filing_at,
        "note": NOTE,
        "opens_here": console.opener.possible,
    }
    rows = console.store.faces(source, before, limit)
    return json({"faces": [_face_json(console, row) for row in rows], "holding": holding, "offset": offset})


def _face_json(console: Console, row: FaceRow) -> dict[str, Any]:
    picture = row.state != "deleted" and _in_time(console, row) and _is_there(console, row.picture)
    sealed = row.state == "kept" and _in_time(console, row, True) and _is_there(console, row.sealed)
    return {
        "capture": row.capture,
        "camera": camera_of(console, row.source),
        "at": row.at_us,
        "since": row.since_us,
        "until": row.until_us,
        "quality": row.quality,
        "measures": row.measures,
        "box": row.box,
        "picture": f"/api/faces/{row.capture}.jpg" if picture else None,
        "sealed": sealed,
        "state": row.state,
    }


def _is_there(console: Console, key: str) -> bool:
    return key != "" and FolderObjects(console.objects).path(key).is_file()


def _in_time(console: Console, row: FaceRow, sealed: bool = False) -> bool:
    """Whether the crop (`sealed`: the original) may still be shown; its file goes up to an hour later, or
    when services run again."""
    kept_us = console.faces.sealed_us if sealed else console.faces.keep_us
    return console.clock.wall_us() - row.at_us < kept_us


def picture(request: Request) -> Response:
    """GET /api/faces/{capture}.jpg: the crop, pixelated."""
    console = console_of(request)
    viewer, row = _face(request, "face")
    if row.state == "deleted" or not _in_time(console, row):
        raise Problem(404, "the picture was deleted, or its time is up")
    if not _is_there(console, row.picture):
        raise Problem(404, "the picture is not made yet", headers={"retry-after": "2"})
    console.log.look(viewer.who, "face", row.capture)
    console.journal.flush()
    path = FolderObjects(console.objects).path(row.picture)
    return FileResponse(path, media_type="image/jpeg", headers={"cache-control": "no-store"})


async def open_original(request: Request) -> Response:
    """POST /api/faces/{capture}/open {purpose, passphrase}: the original as JPEG, opened for this answer.

    Needs the rights `faces` and `plain` and the passphrase of the identity. Takes seconds, one at a time;
    after five wrong passphrases a viewer waits for a quarter of an hour.
    """
    console = console_of(request)
    viewer, row = await to_thread.run_sync(_face, request, "original", True)
    try:
        asked = msgspec.json.decode(await body_of(request), type=OpenRequest)
    except msgspec.MsgspecError:  # not shown: it may quote the passphrase
        raise Problem(400, 'the body must be {"purpose": "...", "passphrase": "..."}', "body") from None
    purpose = stated(asked.purpose)
    if not 0 < len(asked.passphrase) <= _MAX_PASSPHRASE:
        raise Problem(400, "passphrase must be the one of the identity file", "passphrase")
    objects = FolderObjects(console.objects)
    kept = row.sealed and row.state == "kept" and _in_time(console, row, True)
    sealed = await to_thread.run_sync(objects.get, row.sealed) if kept else None
    if sealed is None:
        raise Problem(404, "there is no original of this capture: none is kept, or it was deleted")
    try:
        plain = await console.opener.open(viewer.who, sealed, asked.passphrase)
    except AccessDenied as e:
        console.log.failure(viewer.who, "original", row.capture, purpose)
        await to_thread.run_sync(console.journal.flush)
        raise Problem(403, str(e), "passphrase") from None
    if not await to_thread.run_sync(_still_kept, console, row):  # it took seconds, in a queue
        raise Problem(404, "the original of this capture was deleted meanwhile, or its time is up")
    console.log.plain(viewer.who, "original", row.capture, purpose)
    await to_thread.run_sync(console.journal.flush)
    return Response(plain, media_type="image/jpeg", headers={"cache-control": "no-store"})


def _still_kept(console: Console, row: FaceRow) -> bool:
    """Whether the original may be shown now. A deletion takes the file first; the store learns of it."""
    now = console.store.face(row.capture)
    kept = now is not None and now.state == "kept" and _in_time(console, row, True)
    return kept and _is_there(console, row.sealed)


def delete(request: Request) -> Response:
    """DELETE /api/faces/{capture}: the crop and the original go at once, as whoever is in them may ask.

    Needs the rights `faces` and `plain`: who may not see whom it shows cannot know that it is the right one.
    What was captured under a name that the site had before can be deleted, too. The footage is not changed;
    it goes when its own time is up.
    """
    console = console_of(request)
    viewer, row = _face(request, "deletion", True, gone=True)
    console.log.deed(viewer.who, "deletion", row.capture, "asked to delete")
    console.journal.flush()
    if row.state != "deleted":
        delete_face(FolderObjects(console.objects), console.journal, row, console.clock.wall_us())
    return json({"capture": row.capture, "deleted": True, "footage": "not changed; it has its own retention"})


def _face(request: Request, what: str, plain: bool = False, gone: bool = False) -> tuple[Viewer, FaceRow]:
    """The viewer and the capture. `gone`: it may be of a camera that is none of this site's now.

    Raises:
        Problem: 401, 403, or 404.
    """
    console = console_of(request)
    id = request.path_params["capture"]
    viewer = console.require(request, "faces", what, id[:64])
    if plain:
        viewer = console.require(request, "plain", what, id[:64])
    row = console.store.face(id) if _CAPTURE.fullmatch(id) else None
    if row is None or not (gone or camera_of(console, row.source)):
        raise Problem(404, f"there is no capture {id[:64]!r}; GET /api/faces lists them", "capture")
    return viewer, row
