"""Who asks, and whether they may: the token or session of the console, decided by `city/rights.py`.

@router.get("/cases", dependencies=[needs("case.read")])
def cases(request: Request) -> ...:
    actor = permit(request, "case.read", case.area)      # 401 or 403, noted in the access log
"""

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from city.rights import WHOLE, Action, Actor, Decision, decide, reach
from console.access import Viewer, identify
from console.city.context import City, city_of
from console.problems import Problem

NOBODY = "sign in, or send an access token as `Authorization: Bearer ...`"


def viewer_of(conn: HTTPConnection) -> Viewer | None:
    """Whom the request comes from, None for nobody known."""
    city = city_of(conn)
    return identify(conn, city.policy, city.sessions)


def known(conn: HTTPConnection, what: str = "city") -> Viewer:
    """Whom the request comes from.

    Raises:
        Problem: 401, noted.
    """
    viewer = viewer_of(conn)
    if viewer is None:
        refused(city_of(conn), conn, "", what, conn.url.path)
        raise Problem(401, NOBODY, headers={"www-authenticate": 'Bearer realm="linli"'})
    return viewer


def permit(
    conn: HTTPConnection,
    action: Action,
    place: str = WHOLE,
    *,
    level: str = "",
    orgs: Iterable[str] = (),
    what: str = "",
    object: str = "",
) -> Actor:
    """The actor, if it may do this there (see `city.rights.decide`); else the refusal is noted.

    Args:
        what, object: as the access log calls them; the action and the path by default.

    Raises:
        Problem: 401 nobody known, 403 known and not allowed.
    """
    actor = known(conn, what or action).actor
    decision = decide(actor, action, place, level=level, orgs=orgs)
    if not decision.allowed:
        refuse(conn, actor, decision, what or action, object)
    return actor


def refuse(conn: HTTPConnection, actor: Actor, decision: Decision, what: str, object: str = "") -> None:
    """Note the refusal and raise it. Raises Problem 403."""
    refused(city_of(conn), conn, actor.who, what, object or conn.url.path)
    raise Problem(403, decision.why)


def refused(city: City, conn: HTTPConnection, who: str, what: str, object: str) -> None:
    """Note a refusal; of strangers by their address."""
    client = conn.client.host if conn.client else "?"
    city.log.refusal(who or f"unknown {client}", what, object[:64], plain=what.startswith("person."))


def reached(conn: HTTPConnection, action: Action) -> tuple[Actor, str]:
    """The actor, and how codes of what it may do this with begin ('': all): for lists.

    Raises:
        Problem: 401, 403.
    """
    actor = known(conn, action).actor
    prefix = reach(actor, action)
    if prefix is None:
        refuse(conn, actor, decide(actor, action, WHOLE, orgs=(actor.org,)), action)
    assert prefix is not None
    return actor, prefix


def needs(action: Action) -> Any:
    """A dependency: whoever asks may do this somewhere. Its value is the actor."""
    return Depends(_asker(action))


def _asker(action: Action) -> Callable[[Request], Actor]:
    def ask(request: Request) -> Actor:
        return reached(request, action)[0]

    return ask
