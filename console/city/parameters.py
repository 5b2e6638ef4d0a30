"""No parameter is passed over in silence: one that an operation does not know, or that is given twice where
one is meant, is refused by name."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from console.problems import Problem

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_FREE = "takes_any_query"


def free_query(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint that checks its query parameters itself (e.g. filters by property)."""
    setattr(endpoint, _FREE, True)
    return endpoint


def check_query(request: Request) -> None:
    """Dependency of the whole application.

    Raises:
        Problem: 400, naming the parameter.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or getattr(route.endpoint, _FREE, False):
        return
    names = dict(_parameters(route.dependant))
    for name in request.query_params:
        if name not in names:
            mend = f"it takes {', '.join(sorted(names))}" if names else "it takes none"
            raise Problem(400, f"there is no parameter {name[:40]!r} here; {mend}", name[:40])
        if len(request.query_params.getlist(name)) > 1 and not names[name]:
            raise Problem(400, f"{name} is given twice; give it once", name)


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Names of query parameters, and whether each may be given again and again."""
    for field in dependant.query_params:
        yield field.alias, "list[" in str(field.field_info.annotation)
    for other in dependant.dependencies:
        yield from _parameters(other)
