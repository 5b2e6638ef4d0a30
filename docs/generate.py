"""The reference pages, made from the code that they describe: `python -m docs.generate`.

Fields, types, bounds and defaults come from the msgspec structs, the texts from the docstrings beside them,
the commands from click and the API from its handlers' docstrings. `--check` writes nothing and fails if a
page is not what the code says; `tests/test_docs.py` does the same.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_args

import click
from msgspec import inspect as kinds

from cli import settings
from cli.main import main as linli
from console import access
from console import app as console_app
from docs import eventpages, wire
from docs.structs import NOTE, doc, page, table
from docs.wire import tag
from events import events, rules

HERE = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """Every generated file's text by its name in `docs/reference`."""
    return {
        "site-file.md": site_file(),
        "events.md": eventpages.event_types(),
        "events.schema.json": _json(wire.event_schema()),
        "asyncapi.yaml": wire.asyncapi(),
        "topics.md": eventpages.topics_page(),
        "cli.md": commands(),
        "http.md": http_api(),
    } | {
        f"schemas/{tag(payload)}.json": _json(wire.payload_schema(payload))
        for payload in get_args(events.AnyPayload)
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# --- pages


def site_file() -> str:
    """The keys of site.toml."""
    out = [
        "# The site file",
        NOTE,
        "TOML. An unknown key is an error that names its place. Paths are relative to the file. "
        "`linli doctor site.toml` checks what the file names. Kinds of rules: "
        + ", ".join(f"[{tag(rule)}](#{tag(rule)})" for rule in get_args(rules.Rule))
        + ".",
    ]
    structs = kinds.type_info(settings.SiteFile)
    assert isinstance(structs, kinds.StructType)
    for field in structs.fields:
        struct, listed = _struct_of(field.type)
        heading = f"[[{field.name}]]" if listed else f"[{field.name}]"
        out += [f"## {heading}", "" if struct.__doc__ == heading else doc(struct)]
        if struct is settings.Camera:
            out.append(_without_rules(table(struct)))
        else:
            out.append(table(struct))
        if struct is access.PrivacySettings:
            out += ["## [[privacy.grant]]", doc(access), table(access.Grant)]
    out += ["## [[camera.rules]]", doc(rules)]
    for rule in get_args(rules.Rule):
        out += [f"### {tag(rule)}", f'`kind = "{tag(rule)}"`. {doc(rule)}', table(rule)]
    shown = {access.Grant, *get_args(rules.Rule), *(_struct_of(field.type)[0] for field in structs.fields)}
    inner = [struct for struct in _within(structs) if struct not in shown and struct is not settings.SiteFile]
    if inner:
        out.append("## Tables within tables")
    for struct in inner:
        out += [f"### {tag(struct) or struct.__name__}", doc(struct), table(struct)]
    return page(out).replace("[Grant](#grant)", "[privacy.grant](#privacygrant)")


def _within(kind: kinds.Type) -> list[type]:
    """The structs that the type is made of, itself included, each once, in the order of their fields."""
    found: dict[type, None] = {}
    match kind:
        case kinds.StructType():
            found[kind.cls] = None
            parts = [field.type for field in kind.fields]
        case kinds.UnionType():
            parts = list(kind.types)
        case kinds.TupleType():
            parts = list(kind.item_types)
        case kinds.VarTupleType():
            parts = [kind.item_type]
        case kinds.DictType():
            parts = [kind.key_type, kind.value_type]
        case _:
            parts = []
    for part in parts:
        found |= dict.fromkeys(_within(part))
    return list(found)


def _without_rules(text: str) -> str:
    """The camera's table with a link in place of the union of all rules."""
    lines = text.splitlines()
    return "\n".join(
        "| `rules` | list of [camera.rules](#camerarules) | `[]` | What is to be found here. |"
        if line.startswith("| `rules`")
        else line
        for line in lines
    )


def _struct_of(kind: kinds.Type) -> tuple[type, bool]:
    if isinstance(kind, kinds.VarTupleType):
        return _struct_of(kind.item_type)[0], True
    assert isinstance(kind, kinds.StructType)
    return kind.cls, False


def commands() -> str:
    """The command line."""
    out = [
        "# The command line",
        NOTE,
        "Figures and events go to standard output, progress and errors to standard error. Exit status: "
        "0 done, 2 wrong arguments or a wrong site file (one line says what to mend), others as stated.",
    ]
    for path, command in _walk("linli", linli):
        context = click.Context(command, info_name=path)
        if isinstance(command, click.Group) and path != "linli":
            continue
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        options = [p for p in command.params if isinstance(p, click.Option)]
        usage = " ".join([path, *(_argument(a) for a in arguments)])
        out += [f"## {path}", f"```\n{usage}\n```", inspect.cleandoc(command.help or "")]
        if options:
            rows = ["| option | value | default | |", "| --- | --- | --- | --- |"]
            out.append("\n".join(rows + [_option(option, context) for option in options]))
    return page(out)


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            if not command.commands[name].hidden:
                yield from _walk(f"{path} {name}", command.commands[name])


def _argument(argument: click.Argument) -> str:
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = ", ".join(str(choice) for choice in option.type.choices)
    else:
        value = _click_type(option.type)
    default = option.get_default(context) if option.show_default else ""
    if isinstance(default, tuple):
        default = ", ".join(map(str, default))
    if option.required:
        default = "required"
    return f"| {names} | {value} | {'' if default is None else default} | {option.help or ''} |"


def _click_type(kind: Any) -> str:
    words = {
        "integer": "whole number",
        "float": "number",
        "path": "path",
        "file": "path",
        "directory": "path",
    }
    name = kind.name.removesuffix(" range")
    if isinstance(kind, click.IntRange | click.FloatRange):
        low, high = kind.min, kind.max
        bounds = f"{low:g} to {high:g}" if high is not None else f"at least {low:g}"
        return f"{words.get(name, name)} ({bounds})"
    return str(words.get(name, name))


def http_api() -> str:
    """The console's API."""
    out = [
        "# The console's HTTP API",
        NOTE,
        "Answers are JSON. A refusal is an `application/problem+json` document (RFC 9457) that says what "
        "is missing. A caller is known by `Authorization: Bearer TOKEN`, by the session cookie, or (where a "
        "grant says so) by sitting at the machine; see [site-file.md](site-file.md#privacygrant).",
        "| | |\n| --- | --- |",
    ]
    seen: set[str] = set()
    for route in console_app._routes(None):
        text = " ".join(inspect.cleandoc(getattr(route, "endpoint").__doc__ or "").split())  # noqa: B009
        what, _, about = text.partition(": ")
        if what not in seen:
            seen.add(what)
            cells = (cell.replace("|", "\\|") for cell in (f"`{what.strip().rstrip(':')}`", about))
            out[-1] += "\n| " + " | ".join(cells) + " |"
    return page(out)


def stale() -> list[str]:
    """Names of the pages that are not what the code says."""
    made = pages()
    return [
        name
        for name, text in made.items()
        if not (HERE / name).is_file() or (HERE / name).read_text() != text
    ] + [f"schemas/{path.name}" for path in _strays(made)]


def _strays(made: Collection[str]) -> list[Path]:
    """Schemas of types that are no more."""
    return [path for path in sorted((HERE / "schemas").glob("*")) if f"schemas/{path.name}" not in made]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    if parser.parse_args().check:
        names = stale()
        for name in names:
            print(f"docs/reference/{name} is stale; run python -m docs.generate", file=sys.stderr)
        return 1 if names else 0
    (HERE / "schemas").mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in _strays(made):
        path.unlink()
    for name, text in made.items():
        (HERE / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
