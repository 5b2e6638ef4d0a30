"""What stands below the fields of a struct in its source: for pages and descriptions made from the code."""

import ast
import inspect
import textwrap
from functools import cache


@cache
def field_docs(struct: type) -> dict[str, str]:
    """The string that stands below each field of a struct, its bases' included."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base.__module__.split(".")[0] in ("builtins", "msgspec", "typing"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found
