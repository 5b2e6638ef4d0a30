"""The live view of one camera over a WebSocket: see `console/tail.py` for what is sent.

The video travels as the camera sent it (the page blurs people on its own canvas), so it needs the right
`live`, and each opening is an access event. Stills are pixelated here, except for a viewer who has the right
`plain`. Nothing is read while nobody watches.
"""

from anyio import create_task_group, sleep, to_thread
from starlette.websockets import WebSocket, WebSocketDisconnect

from console.context import MAX_STREAMS, Console, console_of
from console.problems import Problem
from console.tail import LiveTail
from events.errors import LinliError

POLL_S = 0.2
CHECK_POLLS = 50
"""So often a watcher's right is looked at again."""
_REFUSED = 1008
_UNAVAILABLE = 1011
"""Close codes: against policy; a condition that the server did not expect (RFC 6455)."""


async def live(socket: WebSocket) -> None:
    """WebSocket /live/{camera}?as=video|stills"""
    console = console_of(socket)
    try:
        tail = await to_thread.run_sync(_admit, console, socket)
    except Problem as problem:
        await socket.send_denial_response(problem.response())
        return
    except LinliError as error:
        await socket.send_denial_response(Problem(503, str(error)).response())
        return
    console.live += 1
    console.lives_opened += 1
    try:
        await socket.accept()
        async with create_task_group() as tasks:
            tasks.start_soon(_send, console, socket, tail)
            await _until_gone(socket)
            tasks.cancel_scope.cancel()
    finally:
        console.live -= 1


def _admit(console: Console, socket: WebSocket) -> LiveTail:
    """The tail to send, once the look is noted. Raises Problem, StorageError."""
    wanted = socket.path_params["camera"]
    viewer = console.require(socket, "live", "live", wanted[:64])
    camera = console.camera(wanted)
    kind = socket.query_params.get("as", "video")
    if kind not in ("video", "stills"):
        raise Problem(400, f"as must be video or stills, not {kind[:40]!r}", "as")
    if console.live >= MAX_STREAMS:
        raise Problem(503, f"{MAX_STREAMS} live views are open; close some", headers={"retry-after": "10"})
    console.log.plain(viewer.who, "live", camera.id, "live view")
    hidden = None if "plain" in viewer.rights else console.policy.pixelate
    stills = kind == "stills"
    return LiveTail(
        console.journal, console.footage, camera.id, camera.stream, stills=stills, hidden=hidden or None
    )


async def _send(console: Console, socket: WebSocket, tail: LiveTail) -> None:
    polls = 0
    try:
        while True:
            polls += 1
            if polls % CHECK_POLLS == 0 and not console.still_may(socket, "live"):
                await socket.close(_REFUSED, "signed out")
                return
            messages = await to_thread.run_sync(tail.poll)
            for message in messages:
                if isinstance(message, str):
                    await socket.send_text(message)
                else:
                    await socket.send_bytes(message)
            if not messages:
                await sleep(POLL_S)
    except LinliError as error:
        await socket.close(_UNAVAILABLE, str(error)[:120])
    except (WebSocketDisconnect, OSError):
        return  # gone: `_until_gone` sees it too


async def _until_gone(socket: WebSocket) -> None:
    """Until the client closes. It has nothing to say; what it says is ignored."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
