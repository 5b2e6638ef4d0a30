"""Refusals as `application/problem+json` (RFC 9457): what is wrong, which parameter, and the mend."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from events.errors import AccessDenied, LinliError

_TITLES = {
    400: "Bad request",
    401: "Sign-in needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible here",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Wrong kind of body",
    422: "Wrong content",
    428: "Version needed",
    429: "Too many attempts",
    503: "Not ready",
}


class Problem(Exception):
    """Ends a request with a problem document.

    `parameter` names what the caller must change; `headers` go with the answer (Retry-After ...); `more` are
    members of the document beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        parameter: str = "",
        headers: dict[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.parameter = parameter
        self.headers = headers or {}
        self.more = more or {}

    def response(self) -> Response:
        """The answer to send."""
        body: dict[str, object] = {
            "type": "about:blank",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
        }
        if self.parameter:
            body["parameter"] = self.parameter
        body |= self.more
        return Response(
            msgspec.json.encode(body), self.status, self.headers, media_type="application/problem+json"
        )


async def on_problem(_: Request, error: Exception) -> Response:
    """Starlette's handler for `Problem`."""
    assert isinstance(error, Problem)
    return error.response()


async def on_http_error(_: Request, error: Exception) -> Response:
    """Starlette's handler for its own refusals: no route, wrong method, a range that cannot be served."""
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, error.detail, headers=dict(error.headers or {})).response()


async def on_linli_error(_: Request, error: Exception) -> Response:
    """Starlette's handler for the house's own errors: a locked store, a full disk, footage that is gone."""
    assert isinstance(error, LinliError)
    if isinstance(error, AccessDenied):
        return Problem(403, str(error)).response()
    return Problem(503, str(error), headers={"retry-after": "5"}).response()


def integer(conn: HTTPConnection, name: str, default: int | None, low: int, high: int) -> int | None:
    """Query parameter `name` as a whole number within [low, high].

    Raises:
        Problem: 400, naming the parameter and what it may be.
    """
    text = conn.query_params.get(name)
    if text is None:
        return default
    mend = f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}"
    # str.isdigit takes other scripts' digits and int() takes underscores: neither is meant.
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) <= 20):
        raise Problem(400, mend, name)
    value = int(text)
    if not low <= value <= high:
        raise Problem(400, mend, name)
    return value


def flag(conn: HTTPConnection, name: str) -> bool | None:
    """Query parameter `name` as true or false, None where it is absent."""
    text = conn.query_params.get(name)
    if text is None:
        return None
    if text not in ("true", "false", "1", "0"):
        raise Problem(400, f"{name} must be true or false, not {text[:40]!r}", name)
    return text in ("true", "1")


Body = TypeVar("Body")


async def decoded(request: Request, form: type[Body], mend: str, parameter: str = "body") -> Body:
    """The request's JSON body in this form. `mend`: what it must be.

    Raises:
        Problem: 400, 413 or 415.
    """
    try:
        return msgspec.json.decode(await body_of(request), type=form)
    except msgspec.MsgspecError as error:
        raise Problem(400, f"the body must be {mend}: {error}", parameter) from error


async def body_of(request: Request, limit: int = 4096) -> bytes:
    """The request's body, at most `limit` bytes, which must be JSON by its content type.

    Raises:
        Problem: 413 or 415.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415, f"send the body as application/json, not {kind[:60] or 'without a content type'!r}"
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(413, f"the body may have at most {limit} bytes")
    return body
