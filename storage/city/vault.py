"""The vault: a key of its own for everything that is said of a person, so that it can be erased for good.

What is sealed may lie in many places (objects, the store, copies and backups of both). Its key lies here
alone, wrapped under the master key; once the key is destroyed, none of the copies can be read. The vault is
not part of the store: a store that is built again from the log finds the keys that are left, and no others.

Sealed bytes are `L1`, a nonce of 12 bytes, and AES-256-GCM's output, with the entry's name as associated
data: what was sealed for one entry cannot pass for another's. The master key is a file of mode 600; keys for
wrapping and for the blind index are derived from it (HKDF-SHA256, RFC 5869).

**Erasing, exactly.** In SQLite the page is overwritten (`secure_delete`) and the write-ahead log truncated:
the key is in no file afterwards. PostgreSQL keeps old rows in its own log and in backups for a time. Whatever
is left anywhere is wrapped under the master key: `rewrap` under a new one and the destruction of the old make
it unreadable, too.
"""

import hmac
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Column, LargeBinary, String, Table, select, update

from events.errors import ConfigError, StorageError
from ingest.credentials import Credentials
from storage.city.engine import among, is_postgres, opened, reading, upsert, writing
from storage.city.keys import KEYS, VAULT, Keys, unwrapped, wrapped_under

if TYPE_CHECKING:
    from storage.pglink import Address

CHECK = Table(
    "vault_master",
    VAULT,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

_AT_ONCE = 5000
_CHECKPOINTS = 50
_PRAGMAS = ("synchronous = FULL", "secure_delete = ON")


class Vault:
    """See the module's text. From any thread, and from several processes at once.

    Args:
        where: an SQLite file, or `postgresql://[user@]host[:port]/database`.
        master: the master key, 32 bytes (`read_master`).

    Raises:
        ConfigError: the master key is not the one that the vault was begun with.
        StorageError: it cannot be opened.
    """

    def __init__(
        self, where: "Path | str | Address", master: bytes, login: Credentials | None = None
    ) -> None:
        self._where = where
        self._wrap = AESGCM(_derived(master, b"wrap"))
        self._blind = _derived(master, b"blind")
        self._engine = opened(where, login, VAULT, _PRAGMAS)
        if isinstance(where, Path):
            where.chmod(0o600)
        self._check(_derived(master, b"check"))

    def __repr__(self) -> str:
        return f"Vault({self._where})"

    def seal(self, entry: str, plain: bytes) -> bytes:
        """Encrypted under the entry's key, which is made the first time.

        Raises:
            StorageError: the entry was erased, or the vault cannot be read or written.
        """
        return self.seal_many([entry], [plain])[0]

    def open(self, entry: str, sealed: bytes) -> bytes | None:
        """What was sealed; None: the entry was erased (or never had a key here).

        Raises:
            StorageError: it was not sealed for this entry, or is damaged.
        """
        return self.open_many([entry], [sealed])[0]

    def seal_many(self, entries: Sequence[str], plains: Sequence[bytes]) -> list[bytes]:
        """As `seal`, each under its own entry's key; all keys are durable when this returns."""
        keys = self.keys(entries)
        keys.make(entries)
        return keys.seal_many(entries, plains)

    def open_many(self, entries: Sequence[str], sealed: Sequence[bytes]) -> list[bytes | None]:
        """As `open`, in the same order."""
        return self.keys(entries).open_many(entries, sealed)

    def keys(self, entries: Sequence[str]) -> Keys:
        """The keys of entries, held for as long as much is sealed and opened under them: the vault is asked
        once."""
        return Keys(self._engine, self._wrap, entries)

    def erase(self, entry: str) -> bool:
        """Destroy the entry's key for good; whether there was one. It never gets another.

        Raises:
            StorageError: it was not destroyed, or may still be in the file; to be done again.
        """
        with writing(self._engine) as connection:
            known = connection.execute(select(KEYS.c.wrapped).where(KEYS.c.entry == entry)).fetchone()
            if known is not None and known.wrapped is not None:  # zeros first: the same length, in place
                zeros = bytes(len(known.wrapped))
                connection.execute(update(KEYS).where(KEYS.c.entry == entry).values(wrapped=zeros))
            upsert(connection, KEYS, [{"entry": entry, "wrapped": None}])
        self._forget()
        return known is not None and known.wrapped is not None

    def erased(self, entries: Sequence[str]) -> frozenset[str]:
        """Of these entries, those whose key was destroyed."""
        gone: set[str] = set()
        with reading(self._engine) as connection:
            for first in range(0, len(entries), _AT_ONCE):
                part = entries[first : first + _AT_ONCE]
                rows = connection.execute(
                    select(KEYS.c.entry).where(
                        among(connection, KEYS.c.entry, part), KEYS.c.wrapped.is_(None)
                    )
                )
                gone |= set(rows.scalars())
        return frozenset(gone)

    def destroyed(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """Entries that begin so and whose key was destroyed, in order, from the one after `after` on."""
        named = KEYS.c.entry.startswith(prefix, autoescape=True)
        asked = (
            select(KEYS.c.entry)
            .where(KEYS.c.wrapped.is_(None), named, KEYS.c.entry > after)
            .order_by(KEYS.c.entry)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return list(connection.execute(asked).scalars())

    def blind(self, text: str) -> bytes:
        """16 bytes by which the same text is found again, and which tell nobody without the key what it is
        (HMAC-SHA256, cut)."""
        return hmac.digest(self._blind, text.encode(), "sha256")[:16]

    def rewrap(self, master: bytes) -> int:
        """Wrap all keys under another master key; answers how many. The blind index changes with it: what was
        stored of it has to be made anew.

        Raises:
            StorageError: nothing was changed.
        """
        wrap, count = AESGCM(_derived(master, b"wrap")), 0
        with writing(self._engine) as connection:
            rows = connection.execute(select(KEYS).where(KEYS.c.wrapped.is_not(None))).fetchall()
            for first in range(0, len(rows), _AT_ONCE):
                part = rows[first : first + _AT_ONCE]
                again = [
                    {"entry": entry, "wrapped": wrapped_under(wrap, entry, unwrapped(self._wrap, entry, key))}
                    for entry, key in part
                ]
                upsert(connection, KEYS, again)
                count += len(part)
            upsert(connection, CHECK, [{"name": "check", "value": _derived(master, b"check")}])
        self._wrap, self._blind = wrap, _derived(master, b"blind")
        self._forget()
        return count

    def close(self) -> None:
        """Release the file or connections."""
        self._engine.dispose()

    def _check(self, value: bytes) -> None:
        with writing(self._engine) as connection:
            found = connection.execute(select(CHECK.c.value).where(CHECK.c.name == "check")).scalar()
            if found is None:
                upsert(connection, CHECK, [{"name": "check", "value": value}])
        if found is not None and not hmac.compare_digest(bytes(found), value):
            self.close()
            raise ConfigError(f"the vault {self._where} was begun with another key; give that one")

    def _forget(self) -> None:
        """What was overwritten is in no file any more."""
        raw = self._engine.raw_connection()
        try:
            link: Any = raw.driver_connection
            if is_postgres(self._engine):
                link.autocommit = True  # VACUUM is of no transaction
                link.execute("VACUUM vault_keys")
                link.autocommit = False
                return
            for _ in range(_CHECKPOINTS):
                busy, _, _ = link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    return
                threading.Event().wait(0.1)
        finally:
            raw.close()
        raise StorageError(
            f"{self._where}: erased, but somebody reads on and keeps the old page; erase again"
        )


def _derived(master: bytes, what: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"linli vault " + what).derive(master)
