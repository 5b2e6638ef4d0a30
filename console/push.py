"""Events as they are journaled, as server-sent events (WHATWG HTML, 9.2).

The id of each is its offset in the journal, so a browser that lost the connection goes on where it was. The
first event, `hello`, names the journal: offsets of one mean nothing in another.
"""

from asyncio import CancelledError

import msgspec
from anyio import CancelScope, create_task_group, sleep, to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from console.context import MAX_STREAMS, Console, console_of
from console.latest import News
from console.problems import Problem, integer
from events import codec
from events.bus import Record

FAMILIES = ("alert", "count", "health", "view", "face", "judgement")
"""What is pushed as it was journaled. Who looked at what (access) is the auditor's, not every viewer's; of
sensors the latest values go out in lists (`sensor`), at most one of each in a second. Captures of faces only
to who has the right `faces`.
"""
POLL_S = 0.25
BEAT_S = 15.0
"""A comment so often keeps proxies from closing the connection, and finds out that nobody listens."""
BATCH = 200
_MAX_OFFSET = 1 << 62


def render(record: Record) -> bytes:
    """One event of the stream. The document is JSON on one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        record.offset,
        record.event.family.encode(),
        codec.encode(record.event),
    )


class EventStream(Response):
    """Sends until the client goes."""

    media_type = "text/event-stream"

    def __init__(self, console: Console, request: Request, after: int) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._console = console
        self._request = request
        self._after = after
        self._news = News(console.latest, console.site.id)
        self._families = [name for name in FAMILIES if name != "face" or console.still_may(request, "faces")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        self._console.pushes += 1
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._until_gone, receive, tasks.cancel_scope)
                await self._run(send)
                tasks.cancel_scope.cancel()
        except CancelledError:
            pass  # the server ends and cuts off who is still there: nothing went wrong
        finally:
            self._console.pushes -= 1

    @staticmethod
    async def _until_gone(receive: Receive, scope: CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    def _poll(self) -> bytes:
        records, self._after = self._console.journal.page(self._after, BATCH, self._families)
        chunk = b"".join(map(render, records))
        if news := self._news.poll():
            chunk += b"id: %d\nevent: sensor\ndata: %s\n\n" % (self._after, news)
        return chunk

    async def _run(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        hello = msgspec.json.encode({"journal": self._console.journal.id})
        chunk = b"retry: 2000\nevent: hello\ndata: %s\n\n" % hello
        silent = since_check = 0.0
        while True:
            if chunk or silent >= BEAT_S:
                body = chunk or b"id: %d\n: still here\n\n" % self._after
                await send({"type": "http.response.body", "body": body, "more_body": True})
                silent = 0.0
            if since_check >= BEAT_S:
                since_check = 0.0
                if not self._console.still_may(self._request, "alerts"):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
            chunk = await to_thread.run_sync(self._poll)
            if not chunk:
                await sleep(POLL_S)
                silent += POLL_S
                since_check += POLL_S


async def events(request: Request) -> Response:
    """GET /events?after= : from the header Last-Event-ID, else after the offset given, else from now on."""
    console = console_of(request)
    await to_thread.run_sync(console.require, request, "alerts", "page", console.site.id)
    if console.pushes >= MAX_STREAMS:
        raise Problem(
            503, f"{MAX_STREAMS} event streams are open; close some pages", headers={"retry-after": "10"}
        )
    last = await to_thread.run_sync(console.journal.last_offset)
    header = request.headers.get("last-event-id", "")
    after = integer(request, "after", None, 0, _MAX_OFFSET)
    if header.isascii() and header.isdigit() and len(header) < 19:
        after = int(header)
    # An offset beyond the end is from a journal that is no more.
    return EventStream(console, request, last if after is None or after > last else after)
