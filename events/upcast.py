"""Old events stay readable for ever: what a type was is made into what it is, when it is read.

A field with a default may be added to a type, and a value to a list of values; nothing else may change.
Whatever needs more gets a new type (`.v2`), the old struct goes, and a step here turns one payload into the
other. Steps follow each other (v1 to v2 to v3), so each is written once and never touched again.
`tests/samples/` has events as each version wrote them.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from events.errors import MalformedEvent, UnknownEvent

Step = tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]
"""The newer type, of the same family, and the pure function from the old payload to the new. Neither payload
has its `type`."""

STEPS: dict[str, Step] = {}
"""By the old type. Empty: no type was replaced so far."""

_VERSIONED = re.compile(r"(linli\.[a-z]+\.[a-z]+)\.v([1-9][0-9]{0,5})")


def path(type_: str, known: Collection[str], steps: Mapping[str, Step] = STEPS) -> list[Step]:
    """The steps from a type to the present one that it became; none if it is one.

    Raises:
        UnknownEvent: no steps lead to a present type.
    """
    found: list[Step] = []
    while type_ not in known:
        if type_ not in steps:
            raise UnknownEvent(_unknown(type_, {*known, *steps}))
        found.append(steps[type_])
        type_ = steps[type_][0]
    return found


def upcast(
    type_: str, data: dict[str, Any], known: Collection[str], steps: Mapping[str, Step] = STEPS
) -> dict[str, Any]:
    """The payload as the present type that the old one became, its `type` included.

    Args:
        type_: as it was written.
        data: the payload, plain JSON. It is not changed.
        known: the present types.

    Raises:
        UnknownEvent: no steps lead from this type to a present one.
        MalformedEvent: a step cannot make anything of the payload.
    """
    present = {name: value for name, value in data.items() if name != "type"}
    at = type_
    for newer, change in path(type_, known, steps):
        try:
            present = change(present)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as e:
            raise MalformedEvent(
                f"data of {type_}: not what this type was, for it cannot be made into {newer} ({e!r:.100})"
            ) from None
        at = newer
    return {**present, "type": at}


def _unknown(type_: str, readable: Collection[str]) -> str:
    """What to do about a type that cannot be read."""
    retry = "upgrade Linli here, then run `linli dlq retry`"
    match = _VERSIONED.fullmatch(type_)
    if match is None:
        return f"type {type_:.80} is not one of Linli's: another program writes to this topic"
    name, version = match[1], int(match[2])
    others = (_VERSIONED.fullmatch(known) for known in readable)
    versions = [int(other[2]) for other in others if other and other[1] == name]
    if not versions:
        return f"type {type_:.80} is not known here; a newer Linli wrote it: {retry}"
    if version > max(versions):
        return f"type {type_:.80} is newer than this program, which reads up to v{max(versions)}: {retry}"
    return f"type {type_:.80} cannot be read; of {name} v{min(versions)} to v{max(versions)} can"
