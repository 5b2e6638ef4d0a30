"""Entries of the registers as they are journaled and kept, and how they are sealed."""

from collections.abc import Sequence
from typing import Any

import msgspec

from city.housing import Fact, Home
from storage.city.keys import Keys
from storage.city.vault import Vault


class PersonRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A person's entry as it is journaled: all of it encrypted under the person's key."""

    ref: str
    blind: bytes
    """Of the identity number; b"" without one."""
    area: str
    """Of the home that the person lives in, else the one of the registration."""
    home: str
    """Where the person lives; "": nowhere here."""
    sealed: bytes
    """`city.persons.PersonDoc` under the person's key."""
    facts: tuple[Fact, ...]
    care: tuple[str, ...] = ()


class VisitRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A visit to, or a referral of, a person."""

    visit: str
    ref: str
    area: str
    kind: str
    """visit, referral"""
    org: str
    who: str
    time_us: int
    sealed: bytes


class PersonEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A person's entry as the store keeps it."""

    ref: str
    area: str
    home: str
    care: tuple[str, ...]
    version: int
    """Of the last single change; -1: none yet."""
    sealed: bytes
    facts: tuple[Fact, ...] = ()


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Of a jurisdiction, or the whole city."""

    persons: int
    homes: int
    lived_in: int
    """Homes in which somebody lives."""
    care: dict[str, int]
    """Persons by care tag."""


PERSON, HOME, VISIT = "person", "home", "visit"
"""`what` of the events."""
ROWS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    PERSON: msgspec.msgpack.Decoder(list[tuple[str, bytes]]),
    HOME: msgspec.msgpack.Decoder(list[Home]),
}
"""What a batch holds, by `what`."""
ENTRIES: dict[str, msgspec.msgpack.Decoder[Any]] = {
    PERSON: msgspec.msgpack.Decoder(PersonRow),
    HOME: msgspec.msgpack.Decoder(Home),
    VISIT: msgspec.msgpack.Decoder(VisitRow),
}
"""What one entry is, by `what`."""


def entry_of(what: str, entry: str) -> str:
    """The vault's entry: a person's key seals the person's visits, too."""
    return f"person:{entry.partition('.')[0]}" if what in (PERSON, VISIT) else f"{what}:{entry}"


def reference_of(vault: Vault, key: str) -> str:
    """An opaque reference, the same for the same key (a number, a survey's own number), telling nothing of it
    to whoever has not the master key."""
    return vault.blind(f"ref:{key}").hex()[:24]


def blind_of(vault: Vault, identity: str) -> bytes:
    """The blind index of an identity number; b"" without one."""
    return vault.blind(f"identity:{identity}") if identity else b""


def packed(persons: Sequence[tuple[str, bytes]] | Sequence[Home]) -> bytes:
    """A batch's bytes, not encrypted as a whole yet.

    Args:
        persons: a reference and a `PersonRow` as `sealed_rows` sealed it; or homes.
    """
    return msgspec.msgpack.encode(persons)


def sealed_rows(keys: Keys, rows: Sequence[PersonRow]) -> list[tuple[str, bytes]]:
    """Each person's entry under the person's own key, so that nothing of who is erased later, or was a moment
    ago, can be read in a batch but the reference."""
    plains = [msgspec.msgpack.encode(row) for row in rows]
    sealed = keys.seal_many([entry_of(PERSON, row.ref) for row in rows], plains)
    return [(row.ref, body) for row, body in zip(rows, sealed, strict=True)]
