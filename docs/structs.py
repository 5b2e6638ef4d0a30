"""Structs as Markdown: fields with their types in words, bounds, defaults, and the text below each."""

import inspect
import json
import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec
from msgspec import inspect as kinds

from events.structdocs import field_docs

NOTE = (
    "<!-- Made by `python -m docs.generate` from the code; change the docstrings there, not this page. -->\n"
)


def page(parts: Iterable[str]) -> str:
    """A page of these paragraphs; empty ones are left out."""
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def doc(thing: Any) -> str:
    """The docstring as Markdown, its indented examples as code."""
    blocks = inspect.cleandoc(thing.__doc__ or "").split("\n\n")
    parts = []
    for is_code, group in groupby(blocks, lambda block: block.startswith("    ")):
        text = "\n\n".join(group)
        parts.append(f"```\n{textwrap.dedent(text)}\n```" if is_code else text)
    return "\n\n".join(parts)


def _bounds(kind: Any) -> str:
    names = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
    parts = [f"{words} {getattr(kind, name):g}" for name, words in names if getattr(kind, name) is not None]
    return f" ({', '.join(parts)})" if parts else ""


def type_text(kind: kinds.Type) -> str:
    """A field's type in plain words."""
    match kind:
        case kinds.FloatType():
            return f"number{_bounds(kind)}"
        case kinds.IntType():
            return f"whole number{_bounds(kind)}"
        case kinds.StrType(pattern=pattern):
            return f"text matching `{pattern}`" if pattern else "text"
        case kinds.BoolType():
            return "true or false"
        case kinds.NoneType():
            return "nothing"
        case kinds.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case kinds.UnionType(types=types):
            return " or ".join(type_text(each) for each in types)
        case kinds.VarTupleType(item_type=item):
            return f"list of: {type_text(item)}"
        case kinds.TupleType(item_types=items):
            return "[" + ", ".join(type_text(item) for item in items) + "]"
        case kinds.DictType(key_type=key, value_type=value):
            return f"table of {type_text(key)} to {type_text(value)}"
        case kinds.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
    raise TypeError(f"there are no words for {kind}; add them here")


def default_text(field: kinds.Field) -> str:
    """A field's default as the file would spell it."""
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{json.dumps(field.default_factory())}`"
    if field.default is msgspec.NODEFAULT:
        return "required"
    if field.default is None:
        return "none"
    if isinstance(field.default, msgspec.Struct):
        return "its defaults"
    return f"`{json.dumps(msgspec.to_builtins(field.default))}`"


def table(struct: type) -> str:
    """The fields of a struct as a Markdown table."""
    info = kinds.type_info(struct)
    assert isinstance(info, kinds.StructType)
    texts = field_docs(struct)
    rows = ["| key | value | default | |", "| --- | --- | --- | --- |"]
    for field in info.fields:
        text = texts.get(field.name, "")
        cells = (f"`{field.encode_name}`", type_text(field.type), default_text(field), text)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
