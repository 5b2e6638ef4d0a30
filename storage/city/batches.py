"""An encrypted batch: the object that an import's event names, checked and opened."""

import hashlib

from events.civic import RegisterImported
from events.errors import StorageError
from events.events import Event
from storage.city.refusal import Refused
from storage.city.vault import Vault
from storage.objects import Objects


def entry_of_batch(key: str) -> str:
    """The vault's entry that a batch is encrypted under."""
    return f"batch:{key}"


def fetched(objects: Objects, key: str) -> bytes:
    """An object that an event names.

    Raises:
        StorageError: it is not there.
    """
    body = objects.get(key)
    if body is None:
        raise StorageError(f"{key} is not among the objects; put it back and go on")
    return body


def opened_batch(event: Event, data: RegisterImported, objects: Objects, vault: Vault) -> bytes | None:
    """What is in the batch; None: it was erased on purpose, and is not to come back.

    Raises:
        Refused: the object is not what the event says.
        StorageError: it is not there, or the vault cannot be read.
    """
    sealed = fetched(objects, data.object)
    if hashlib.sha256(sealed).hexdigest() != data.sha256:
        raise Refused(event, f"the batch {data.object} is not what was imported: its SHA-256 is another")
    return vault.open(entry_of_batch(data.object), sealed)
