"""What an operator says of an alert: true, false, or not wanted here. It goes into the journal as an event of
the alert's own source, and from there to what learns by it and to every page.
"""

from typing import Literal

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from console.api import alert_of, json
from console.context import console_of
from console.problems import Problem, decoded
from events.events import Judged

MAX_NOTE = 200
"""Characters of a note."""


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/alerts/{id}/judgement."""

    verdict: Literal["true", "false", "ignore"]
    """ignore: it was what it says, and here it is not wanted."""
    note: str = ""


async def judge(request: Request) -> Response:
    """POST /api/alerts/{id}/judgement {verdict, note}: may be said again; the last one counts."""
    console = console_of(request)
    id = request.path_params["id"]
    viewer = await to_thread.run_sync(console.require, request, "judge", "judgement", id[:64])
    alert = await to_thread.run_sync(alert_of, console, id)
    mend = '{"verdict": "true", "false" or "ignore", "note": "..."}'
    said = await decoded(request, Judgement, mend)
    note = " ".join(said.note.split())
    if not (len(note) <= MAX_NOTE and (note.isprintable() or not note)):
        raise Problem(400, f"note may have at most {MAX_NOTE} printable characters", "note")
    judged = Judged(alert=alert.alert, rule=alert.rule, verdict=said.verdict, who=viewer.who, note=note)
    now = console.clock.wall_us()
    await to_thread.run_sync(console.journal.note, alert.source, judged, now)
    return json({"verdict": judged.verdict, "judged_by": viewer.who, "judged_us": now, "note": note}, 201)
