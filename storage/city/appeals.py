"""What appeals have beside other cases: links of one to another, and a hotline's batches.

A batch is one object, encrypted as a whole under a key of its own, with cases as they are; words of persons
are not in it, but in objects of their own (`desk/words.py`). It is read once, when its event is projected.
"""

from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy import Column, Connection, Engine, Index, String, Table, bindparam, delete, select

from city.cases import Case
from events.civic import CaseStepped, RegisterImported
from events.events import Event
from storage.city.batches import opened_batch
from storage.city.cases import CaseTables
from storage.city.engine import merge, reading
from storage.city.metadata import METADATA
from storage.city.refusal import Refused
from storage.city.vault import Vault
from storage.objects import Objects

WHAT = "appeal"
"""Of `RegisterImported`."""
LINK, UNLINK = "link", "unlink"
"""Actions of the pack that link an appeal to the one that it repeats, and undo it."""
_AT_ONCE = 5000

LINKS = Table(
    "appeal_links",
    METADATA,
    Column("case", String, primary_key=True),
    Column("of", String, nullable=False),
)
Index("appeal_links_by_of", LINKS.c.of)

_decoder = msgspec.msgpack.Decoder(Case)


def packed(cases: Sequence[Case]) -> bytes:
    """A batch's bytes, not encrypted yet."""
    encoder = msgspec.msgpack.Encoder()
    parts: list[bytes] = []
    for case in cases:
        body = encoder.encode(case)
        parts += (len(body).to_bytes(4), body)
    return b"".join(parts)


def unpacked(batch: bytes) -> Iterator[Case]:
    """The cases of a batch. Raises msgspec.MsgspecError where there are none."""
    view, at = memoryview(batch), 0
    while at < len(view):
        end = at + 4 + int.from_bytes(view[at : at + 4])
        yield _decoder.decode(view[at + 4 : end])
        at = end


class AppealTables:
    """Links and batches. From any thread."""

    def __init__(self, engine: Engine, objects: Objects, vault: Vault, cases: CaseTables) -> None:
        self._engine = engine
        self._objects = objects
        self._vault = vault
        self._cases = cases

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """Steps that link and unlink, in order; the same again changes nothing."""
        links: dict[str, str] = {}
        for event in events:
            data = event.data
            if isinstance(data, CaseStepped) and data.action in (LINK, UNLINK):
                links[event.key] = data.other if data.action == LINK else ""
        gone = [{"id": case} for case, of in links.items() if not of]
        if gone:
            connection.execute(delete(LINKS).where(LINKS.c.case == bindparam("id")), gone)
        self._link(connection, {case: of for case, of in links.items() if of})

    def project_imports(self, connection: Connection, events: Sequence[Event]) -> None:
        """Batches of appeals; cases that are here already stay as they are.

        Raises:
            Refused: the batch is not what its event says.
            StorageError: it is not there, or its key is not.
        """
        for event in events:
            if isinstance(event.data, RegisterImported) and event.data.what == WHAT:
                self._import(connection, event, event.data)

    def linked(self, case: str) -> list[str]:
        """Appeals that are linked to this one, oldest id first."""
        with reading(self._engine) as connection:
            found = connection.execute(select(LINKS.c.case).where(LINKS.c.of == case).order_by(LINKS.c.case))
            return [str(id_) for id_ in found.scalars()]

    def _import(self, connection: Connection, event: Event, data: RegisterImported) -> None:
        plain = opened_batch(event, data, self._objects, self._vault)
        if plain is None:  # erased on purpose: what was in it is not to come back
            return
        links: dict[str, str] = {}

        def seen() -> Iterator[Case]:
            for case in unpacked(plain):
                if case.other:
                    links[case.case] = case.other
                yield case

        try:
            self._cases.bulk(connection, seen())
        except msgspec.MsgspecError as e:
            raise Refused(event, f"the batch {data.object} does not hold appeals: {e}") from e
        self._link(connection, links)

    def _link(self, connection: Connection, links: dict[str, str]) -> None:
        rows = sorted(links.items())
        for first in range(0, len(rows), _AT_ONCE):
            merge(connection, LINKS, ("case", "of"), rows[first : first + _AT_ONCE])
