"""How operations say what they take and give: msgspec's forms are the API description's schemas.

@router.post("/things", responses=gives(Thing, "The thing.", 201), openapi_extra=takes(Form, EXAMPLE))
def make(request: Request, form: Annotated[Form, reads(Form)]) -> Response:
    return answer(Thing(...), 201)
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import msgspec.inspect
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from console.problems import Problem, body_of
from events.structdocs import field_docs

MAX_FORM = 64 << 10
"""Bytes of a form."""
FORMS: set[type] = set()
"""All that operations name."""


def gives(
    form: type, text: str, status: int = 200, example: object = None
) -> dict[int | str, dict[str, Any]]:
    """`responses` of an operation."""
    return {status: {"description": text, "content": {"application/json": _content(form, example)}}}


def takes(form: type, example: object) -> dict[str, Any]:
    """`openapi_extra` of an operation."""
    return {"requestBody": {"required": True, "content": {"application/json": _content(form, example)}}}


def reads(form: type) -> Any:
    """A dependency whose value is the request's body in this form."""
    return Depends(_reader(form))


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def schemas() -> dict[str, Any]:
    """The schemas of all forms, by name."""
    named = sorted(FORMS, key=lambda form: form.__name__)
    made = dict(msgspec.json.schema_components(named, ref_template="#/components/schemas/{name}")[1])
    # Of two with one name msgspec would rename both, and operations refer to neither.
    twice = sorted(form.__name__ for form in named if form.__name__ not in made)
    assert not twice, f"two forms are called {twice[0]}: give one of them another name"
    for struct in _structs(named):
        try:
            texts = field_docs(struct)
        except OSError:  # installed without its source
            texts = {}
        for field in msgspec.structs.fields(struct):
            described = made.get(struct.__name__, {}).get("properties", {}).get(field.encode_name)
            if described is not None and field.name in texts:
                described["description"] = texts[field.name]
    return made


def _structs(forms: Sequence[type]) -> set[type[msgspec.Struct]]:
    """The forms, and all structs that they are made of."""
    found: set[type[msgspec.Struct]] = set()
    left = list(msgspec.inspect.multi_type_info(forms))
    while left:
        kind = left.pop()
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.cls in found:
                continue
            found.add(kind.cls)
            left += [field.type for field in kind.fields]
        for name in ("item_type", "key_type", "value_type", "type"):
            inside = getattr(kind, name, None)
            left += [inside] if isinstance(inside, msgspec.inspect.Type) else []
        for name in ("types", "item_types"):
            left += getattr(kind, name, ())
    return found


def _content(form: type, example: object) -> dict[str, Any]:
    FORMS.add(form)
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}
    if example is not None:
        content["example"] = msgspec.to_builtins(example)
    return content


def _reader(form: type) -> Callable[[Request], Awaitable[object]]:
    async def read(request: Request) -> object:
        """Raises Problem: 400 no JSON, 413, 415, 422 not of this form."""
        body = await body_of(request, MAX_FORM)
        try:
            value: object = msgspec.json.decode(body, type=form)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            name = path.rstrip("`").lstrip(".") or "body"
            raise Problem(422, f"{name}: {text}", name[:80]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"the body must be JSON: {error}", "body") from error
        return value

    return read
