"""Keys of a vault's entries: where they lie, wrapped; and what is sealed and opened under them.

Not for itself: `storage.city.vault` says what it is for.
"""

import os
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Column, Connection, Engine, Index, LargeBinary, MetaData, String, Table

from events.errors import StorageError
from storage.city.bulk import chunks
from storage.city.engine import driver, is_postgres, name_of, reading, writing

VAULT = MetaData()
KEYS = Table(
    "vault_keys",
    VAULT,
    Column("entry", String(collation=None), primary_key=True),
    Column("wrapped", LargeBinary),  # NULL: destroyed; the entry is never given another key
    sqlite_with_rowid=False,
)

Index(
    "vault_keys_destroyed",
    KEYS.c.entry,
    sqlite_where=KEYS.c.wrapped.is_(None),
    postgresql_where=KEYS.c.wrapped.is_(None),
)

KEY_BYTES = 32
_MARK = b"L1"
_NONCE = 12
_AT_ONCE = 20_000  # a file takes 32,766 values in one statement


class Keys:
    """The keys of these entries, as they are when it is made. A key that is destroyed afterwards still seals
    here, and nobody will ever open that.

    Raises:
        StorageError: the vault cannot be read, or a key in it is damaged.
    """

    def __init__(self, engine: Engine, wrap: AESGCM, entries: Sequence[str]) -> None:
        self._engine = engine
        self._wrap = wrap
        self._keys: dict[str, AESGCM | None] = {}
        if entries:
            with reading(engine) as connection:
                self._keys = self._known(connection, entries)

    def __contains__(self, entry: str) -> bool:
        """Whether it has, or had, a key."""
        return entry in self._keys

    @property
    def erased(self) -> frozenset[str]:
        """The entries whose key was destroyed."""
        return frozenset(entry for entry, key in self._keys.items() if key is None)

    def make(self, entries: Sequence[str]) -> None:
        """Keys for those that have none. They are durable when this returns.

        Raises:
            StorageError: one was erased, or the vault cannot be written.
        """
        if missing := sorted({entry for entry in entries if entry not in self._keys}):
            with writing(self._engine) as connection:
                self._keys |= self._made(connection, missing)
        if gone := next((entry for entry in entries if self._keys[entry] is None), ""):
            raise StorageError(
                f"{gone.partition(':')[0]} {gone[:60]} was erased; what is new needs a new entry"
            )

    def seal_many(self, entries: Sequence[str], plains: Sequence[bytes]) -> list[bytes]:
        """Each encrypted under its entry's key, which was there or was made."""
        nonces = os.urandom(_NONCE * len(entries))
        sealed = []
        for n, (entry, plain) in enumerate(zip(entries, plains, strict=True)):
            nonce, key = nonces[n * _NONCE : (n + 1) * _NONCE], self._keys[entry]
            assert key is not None, "of an erased entry: `make` refuses it"
            sealed.append(_MARK + nonce + key.encrypt(nonce, plain, entry.encode()))
        return sealed

    def open_many(self, entries: Sequence[str], sealed: Sequence[bytes]) -> list[bytes | None]:
        """In the same order; None: the entry was erased, or never had a key.

        Raises:
            StorageError: one was not sealed for its entry, or is damaged.
        """
        return [
            _opened(key, entry, body) if (key := self._keys.get(entry)) else None
            for entry, body in zip(entries, sealed, strict=True)
        ]

    def _made(self, connection: Connection, entries: Sequence[str]) -> dict[str, AESGCM | None]:
        """Keys for entries that had none; where another process was quicker, the one that it made."""
        fresh = os.urandom(KEY_BYTES * len(entries))
        keys = {e: fresh[n * KEY_BYTES : (n + 1) * KEY_BYTES] for n, e in enumerate(entries)}
        rows = {entry: wrapped_under(self._wrap, entry, key) for entry, key in keys.items()}
        with driver(connection) as cursor:
            if is_postgres(connection):
                cursor.execute(
                    "INSERT INTO vault_keys SELECT key, decode(value, 'base64') FROM json_each_text(%s) "
                    "ON CONFLICT DO NOTHING",
                    (msgspec.json.encode(rows).decode(),),
                )
            else:
                cursor.executemany(
                    "INSERT INTO vault_keys VALUES (?, ?) ON CONFLICT DO NOTHING", list(rows.items())
                )
            alone = cursor.rowcount == len(rows)
        return (
            {entry: AESGCM(key) for entry, key in keys.items()} if alone else self._known(connection, entries)
        )

    def _known(self, connection: Connection, entries: Sequence[str]) -> dict[str, AESGCM | None]:
        """Entry -> its key, None if it was erased; those without are not in it."""
        rows: list[Any] = []
        with driver(connection) as cursor:
            for some in chunks(entries, _AT_ONCE):
                if is_postgres(connection):
                    cursor.execute(
                        "SELECT entry, wrapped FROM vault_keys WHERE entry = ANY("
                        "ARRAY(SELECT json_array_elements_text(%s)))",
                        (msgspec.json.encode(some).decode(),),
                    )
                else:
                    marks = ",".join("?" * len(some))
                    cursor.execute(f"SELECT entry, wrapped FROM vault_keys WHERE entry IN ({marks})", some)
                rows += cursor.fetchall()
        try:
            return {
                entry: AESGCM(unwrapped(self._wrap, entry, wrapped)) if wrapped else None
                for entry, wrapped in rows
            }
        except StorageError as e:
            raise StorageError(f"{name_of(connection)}: {e}") from e


def wrapped_under(wrap: AESGCM, entry: str, key: bytes) -> bytes:
    """A key as it lies in the vault."""
    nonce = os.urandom(_NONCE)
    return nonce + wrap.encrypt(nonce, key, entry.encode())


def unwrapped(wrap: AESGCM, entry: str, wrapped: bytes) -> bytes:
    """The key. Raises StorageError: it is damaged."""
    try:
        return wrap.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], entry.encode())
    except InvalidTag:
        raise StorageError(f"the key of {entry[:60]} is damaged") from None


def _opened(key: AESGCM, entry: str, sealed: bytes) -> bytes:
    start = len(_MARK) + _NONCE
    if not sealed.startswith(_MARK) or len(sealed) < start + 16:
        raise StorageError(f"what is kept of {entry[:60]} was not sealed by a vault, or is damaged")
    try:
        return key.decrypt(sealed[len(_MARK) : start], sealed[start:], entry.encode())
    except InvalidTag:
        raise StorageError(
            f"what is kept of {entry[:60]} was sealed for another entry, or is damaged"
        ) from None
