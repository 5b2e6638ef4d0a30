"""Changes of cases as rows, many at once, in a transaction of the store that is open."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select

from city.cases import Case, opened, stepped
from city.closure import parked_then_closed, reclocked, self_checked
from city.features import Feature
from events import codec
from events.civic import CaseOpened, CaseStepped
from events.errors import IllegalTransition
from events.events import Event
from storage.city.casecounts import Days, Differences
from storage.city.casetables import (
    CASES,
    COMMON,
    EARLY,
    FINDINGS,
    OF_CASES,
    OF_OPEN,
    OF_ORGS,
    OPEN,
    ORGS,
    STEPS,
    Row,
    case_of,
    common,
    of_case,
    of_open,
    of_orgs,
    plain_text,
)
from storage.city.engine import change, driver, is_postgres, load, merge, remove
from storage.city.features import FeatureTables
from storage.city.refusal import Refused

_STEP = ("case", "version", "time_us", "body")
_CHANGED = (*(name for name in OF_CASES if name != "case"), "case")
_INDEXED = tuple(COMMON.index(name) for name in ("town", "community", "spot"))
_FREE = tuple(
    name
    for name in _CHANGED
    if name not in ("town", "community", "spot", "scenario", "opened_us", "reference", "cause")
)
_AT = {name: n for n, name in enumerate(OF_CASES)}
Finding = tuple[str, str, int]


class Folded:
    """Events of cases, added up.

    Attributes:
        early: steps of cases that are not here yet.
    """

    def __init__(self, known: Mapping[str, Case]) -> None:
        self.before = known
        self.after = dict(known)
        self.steps: list[Row] = []
        self.findings: list[Finding] = []
        self.early: dict[str, list[Event]] = {}

    def add(self, event: Event) -> None:
        """One more. What was added before changes nothing.

        Raises:
            Refused: it does not follow.
        """
        id_ = event.key
        case, data = self.after.get(id_), event.data
        if case is not None and event.sequence <= case.version:
            return
        if isinstance(data, CaseOpened):
            if case is not None or event.sequence:
                raise Refused(event, "a case is opened once, by its first event")
            self.after[id_] = opened(id_, event.time_us, data)
        elif isinstance(data, CaseStepped):
            if case is None:
                self.early.setdefault(id_, []).append(event)
                return
            try:
                after = stepped(case, event.sequence, event.time_us, data)
            except IllegalTransition as e:
                raise Refused(event, str(e)) from e
            self.after[id_] = after
            self._look(case, after, data)
        self.steps.append((id_, event.sequence, event.time_us, codec.encode_data(data).decode()))
        if event.sequence == 0 and id_ in self.early:
            self.late({id_: self.early.pop(id_)})

    def late(self, waiting: Mapping[str, Sequence[Event]]) -> None:
        """Steps that came before their cases, of cases that are here now. Raises Refused."""
        for events in waiting.values():
            for event in sorted(events, key=lambda e: e.sequence):
                self.add(event)

    def _look(self, before: Case, after: Case, data: CaseStepped) -> None:
        """For what the auditor wants to see."""
        if before.deadlines is not after.deadlines and reclocked(before, after):
            self.findings.append(("re-clocked", after.case, after.updated_us))
        if self_checked(before, data.action, data.who):
            self.findings.append(("self-checked", after.case, after.updated_us))
        if data.final and parked_then_closed(after):
            self.findings.append(("parked-then-closed", after.case, after.updated_us))


class CaseWrites:
    """Writes cases in the open transaction."""

    def __init__(self, connection: Connection, features: FeatureTables, days: Days) -> None:
        self._connection = connection
        self._features = features
        self._days = days

    def known(self, ids: Sequence[str]) -> dict[str, Case]:
        """Those of these cases that are here, as they are now; held until the transaction ends."""
        with driver(self._connection) as cursor:
            if is_postgres(self._connection):
                cursor.execute('SELECT "case", doc FROM cases WHERE "case" = ANY(%s)', (list(ids),))
            else:
                chosen = msgspec.json.encode(list(ids)).decode()
                cursor.execute(
                    'SELECT "case", doc FROM cases WHERE "case" IN (SELECT value FROM json_each(?))',
                    (chosen,),
                )
            return {id_: case_of(doc) for id_, doc in cursor.fetchall()}

    def waiting(self, ids: Iterable[str]) -> dict[str, list[Event]]:
        """Steps of these cases that came before them; they wait no more."""
        asked = select(EARLY.c.body).where(EARLY.c.case.in_(list(ids)))
        if self._connection.execute(select(EARLY.c.case).limit(1)).first() is None:
            return {}
        found: dict[str, list[Event]] = {}
        for body in self._connection.execute(asked).scalars():
            event = codec.decode(body.encode())
            found.setdefault(event.key, []).append(event)
        remove(self._connection, EARLY, [(id_, e.sequence) for id_, some in found.items() for e in some])
        return found

    def write(self, folded: Folded) -> None:
        """Make the changes that were added up."""
        early = [
            (id_, event.sequence, codec.encode(event).decode())
            for id_, events in sorted(folded.early.items())
            for event in sorted({e.sequence: e for e in events}.values(), key=lambda e: e.sequence)
        ]
        merge(self._connection, EARLY, ("case", "version", "body"), early)
        load(self._connection, STEPS, _STEP, sorted(folded.steps))  # near on the disk, too
        pairs = [
            (folded.before.get(id_), case)
            for id_, case in sorted(folded.after.items())
            if folded.before.get(id_) is not case
        ]
        self._findings(folded.findings)
        self._cases(pairs)

    def insert(self, cases: Iterable[Case]) -> None:
        """Cases that are not here yet, as they are."""
        pairs: list[tuple[Case | None, Case]] = [(None, case) for case in sorted(cases, key=lambda c: c.case)]
        self._findings(
            [
                ("parked-then-closed", case.case, case.updated_us)
                for _, case in pairs
                if parked_then_closed(case)
            ]
        )
        self._cases(pairs)

    def _findings(self, found: Sequence[Finding]) -> None:
        last = {(what, case): (what, case, at) for what, case, at in found}
        merge(self._connection, FINDINGS, ("what", "case", "at_us"), [last[key] for key in sorted(last)])

    def _cases(self, pairs: Sequence[tuple[Case | None, Case]]) -> None:
        """Of each case what it was (None: nothing) and what it is, in the order of their ids."""
        new: list[Row] = []
        moved: list[Row] = []
        stayed: list[Row] = []
        work: list[Row] = []
        done: list[Row] = []
        figures = Differences(self._days)
        for before, after in pairs:
            row = common(after)
            whole = of_case(after, row)
            if before is None:
                new.append(whole)
            else:
                was = common(before)
                (moved if any(was[n] != row[n] for n in _INDEXED) else stayed).append(whole)
            if not after.final:
                work.append(of_open(after, whole[: len(COMMON)]))
            elif before is not None and not before.final:
                done.append((after.case,))
            figures.add(before, after)
        link = self._connection
        load(link, CASES, OF_CASES, new)
        change(link, CASES, _CHANGED, [_in_order(row, _CHANGED) for row in moved])
        change(link, CASES, _FREE, [_in_order(row, _FREE) for row in stayed])
        merge(link, OPEN, OF_OPEN, work)
        remove(link, OPEN, done)
        self._orgs(pairs)
        figures.write(link)
        self._map(pairs)

    def _orgs(self, pairs: Sequence[tuple[Case | None, Case]]) -> None:
        gone, held = [], []
        for before, after in pairs:
            was: Mapping[str, Row] = of_orgs(before) if before is not None else {}
            now = of_orgs(after)
            gone += [(org, after.case) for org in was if org not in now]
            held += [row for org, row in now.items() if was.get(org) != row]
        remove(self._connection, ORGS, sorted(gone))
        merge(self._connection, ORGS, OF_ORGS, sorted(held))

    def _map(self, pairs: Sequence[tuple[Case | None, Case]]) -> None:
        layers: dict[str, list[Feature]] = {}
        gone: dict[str, list[str]] = {}
        for before, after in pairs:
            was = feature(before) if before is not None else None
            now = feature(after)
            if now is not None and now != was:
                layers.setdefault(layer_of(after.scenario), []).append(now)
            elif now is None and was is not None:
                gone.setdefault(layer_of(after.scenario), []).append(after.case)
        for layer, rows in sorted(layers.items()):
            self._features.put(self._connection, layer, rows)
        for layer, ids in sorted(gone.items()):
            self._features.remove(self._connection, layer, ids)


def layer_of(scenario: str) -> str:
    """The map's layer of a scenario's cases."""
    return f"{scenario}s"


def feature(case: Case) -> Feature | None:
    """The case on the map, from its opening to its end; None: it has no place."""
    if case.place is None:
        return None
    return Feature(
        id=case.case,
        what=case.scenario,
        name=plain_text(case.title),
        parent=plain_text(case.area),
        geometry={"type": "Point", "coordinates": list(case.place)},
        properties={
            "state": plain_text(case.state),
            "category": plain_text(case.category),
            "severity": case.severity,
            "level": case.level,
            "final": case.final,
            "public": case.public,
        },
        since_us=case.opened_us,
        until_us=case.closed_us,
    )


def _in_order(row: Row, names: Sequence[str]) -> Row:
    return tuple(row[_AT[name]] for name in names)


def touched(events: Sequence[Event]) -> list[str]:
    """Ids of the cases that the events are of."""
    return list(dict.fromkeys(event.key for event in events))
