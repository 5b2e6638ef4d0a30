"""Words about or for a person, that belong to a case: encrypted under the case's own key, in an object.

The key lies in the vault under the entry of the case; erasing it makes all words of the case unreadable,
wherever copies of the objects are.
"""

import secrets
from collections.abc import Sequence

import msgspec

from events.errors import StorageError
from storage.city.vault import Vault
from storage.objects import Objects

PREFIX = "cases/"
"""Of the keys of objects."""


class Words(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a citizen says, or is told, and how to reach them."""

    text: str = ""
    name: str = ""
    phone: str = ""
    email: str = ""
    address: str = ""
    media: str = ""
    """Address of a picture that came with it."""


def entry_of(case: str) -> str:
    """The vault's entry that the words of a case are encrypted under."""
    return f"case:{case}"


class WordsBox:
    """Puts and reads words. From any thread."""

    def __init__(self, objects: Objects, vault: Vault) -> None:
        self._objects = objects
        self._vault = vault

    def put(self, case: str, words: Words) -> str:
        """Seal and store; answers the object's key, new each time.

        Raises:
            StorageError: vault or objects cannot be written.
        """
        key = f"{PREFIX}{case}/{secrets.token_hex(8)}"
        self._objects.put(key, self._vault.seal(entry_of(case), msgspec.json.encode(words)))
        return key

    def put_many(self, name: str, cases: Sequence[str], words: Sequence[Words]) -> list[str]:
        """Seal words of many cases, each under its own key, into one object; answers what stands for an
        object's key for each case. The same name again replaces what was put.

        Args:
            name: of the object; letters, digits, `-` and `/`.

        Raises:
            StorageError: vault or objects cannot be written.
        """
        plain = [msgspec.json.encode(one) for one in words]
        sealed = self._vault.seal_many([entry_of(case) for case in cases], plain)
        key = f"{PREFIX}{name}"
        self._objects.put(key, msgspec.msgpack.encode(sealed))
        return [f"{key}#{n}" for n in range(len(sealed))]

    def read(self, case: str, key: str) -> Words | None:
        """The words; None: they were erased.

        Raises:
            StorageError: vault or objects cannot be read, or the object is damaged.
        """
        sealed = self._sealed(*key.split("#", 1))
        if sealed is None:
            return None
        plain = self._vault.open(entry_of(case), sealed)
        if plain is None:
            return None
        try:
            return msgspec.json.decode(plain, type=Words)
        except msgspec.MsgspecError as error:
            raise StorageError(f"the words {key} are damaged: {error}") from error

    def erased(self, case: str) -> bool:
        """Whether the case's key was destroyed: it takes no words any more. Raises StorageError."""
        return bool(self._vault.erased([entry_of(case)]))

    def drop(self, key: str) -> None:
        """Remove what no event came to name."""
        self._objects.delete(key)

    def _sealed(self, key: str, number: str = "") -> bytes | None:
        """What lies under a key, or as one of many in its object."""
        body = self._objects.get(key)
        if body is None or not number:
            return body
        try:
            return msgspec.msgpack.decode(body, type=list[bytes])[int(number)]
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise StorageError(f"the words {key}#{number} are damaged: {error}") from error
