"""What the endpoints share: the parts they were given, and the question whether a viewer may."""

from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection

from console.access import AccessPolicy, Right, Sessions, Viewer, identify
from console.accesslog import AccessLog
from console.latest import Latest
from console.plain import PlainLooks
from console.problems import Problem
from console.site import CameraView, SiteView
from console.unsealing import Opener
from events.clock import Clock
from storage.captures import FacesSettings
from storage.journal import Journal
from storage.store import Store

MAX_STREAMS = 64
"""Live views, and as many event streams, at once."""
_PIXELATED = ("alerts", "faces", "judge", "metrics")
"""Rights that show nothing plain."""


@dataclass(kw_only=True)
class Console:
    """The parts, and who is watching."""

    site: SiteView
    store: Store
    journal: Journal
    footage: Path
    objects: Path
    policy: AccessPolicy
    clock: Clock
    sessions: Sessions
    log: AccessLog
    looks: PlainLooks
    latest: Latest
    faces: FacesSettings
    opener: Opener
    log_name: str
    """By which the projector knows the journal in the store."""
    figures: tuple[Collector, ...] = ()
    """Of the box, for /metrics: nothing about people."""
    city: bool = False
    """The city's desk is served here."""
    map_library: bool = False
    """What draws the page's map is here."""
    live: int = 0
    """Live views open now."""
    pushes: int = 0
    """Event streams open now."""
    lives_opened: int = 0
    refusals: int = 0

    def require(self, conn: HTTPConnection, right: Right, what: str, object: str) -> Viewer:
        """The viewer, if a grant gives the right; else the refusal is noted.

        Raises:
            Problem: 401 nobody known, 403 known and without the right.
        """
        viewer = identify(conn, self.policy, self.sessions)
        if viewer is not None and right in viewer.rights:
            return viewer
        self.refusals += 1
        client = conn.client.host if conn.client else "?"
        plain = right not in _PIXELATED
        self.log.refusal(viewer.who if viewer else f"unknown {client}", what, object, plain)
        if viewer is None:
            raise Problem(
                401,
                "sign in, or send an access token as `Authorization: Bearer ...`",
                headers={"www-authenticate": 'Bearer realm="linli"'},
            )
        raise Problem(
            403, f"{viewer.who} has no right {right!r}; a [[privacy.grant]] of the site file gives it"
        )

    def still_may(self, conn: HTTPConnection, right: Right) -> bool:
        """Whether a stream that `require` admitted may go on: the session may have ended since."""
        viewer = identify(conn, self.policy, self.sessions)
        return viewer is not None and right in viewer.rights

    def projected(self) -> int:
        """The journal's offset up to which the store has its events."""
        return self.store.offset(self.log_name)

    def camera(self, id: str) -> CameraView:
        """The camera of that id.

        Raises:
            Problem: 404.
        """
        camera = self.site.camera(id)
        if camera is None:
            raise Problem(404, f"the site has no camera {id[:60]!r}; GET /api/cameras lists them", "camera")
        return camera


def console_of(conn: HTTPConnection) -> Console:
    """The console that the application was made with."""
    console = conn.app.state.console
    assert isinstance(console, Console)
    return console
