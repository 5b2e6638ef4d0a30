"""Brings a hotline's records into the desk, as many as there are, once each.

    done = HotlineImport(journal, store, box, objects, vault, ...).run(file, reject=..., dry_run=True)

Records are taken some ten thousand at a time: the words of each are sealed under a key of its own, what is
left is one object, encrypted under a key of the batch, and one event that names it. A record that is here
already (by its channel and number) is passed over, so that the same file again, or the rest of one after a
kill, is safe. What is the same as an earlier one is linked to it.
"""

import contextlib
import itertools
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b, sha256

import msgspec
import numpy as np

from city.clocks import Calendar
from city.duplicates import DAY_US, WEIGHTS, Chain, Said, Weights
from city.jurisdictions import Jurisdictions
from city.scenario import Pack
from city.services import Services
from desk.appeallinks import SCENARIO, said
from desk.effects import case_id
from desk.gazetteer import Gazetteer, plain
from desk.hotline import Appeal, Hotline, RowRefused, linked
from desk.hotlinefile import HotlineFile, Record
from desk.registerfiles import Row
from desk.words import Words, WordsBox
from events.civic import RegisterImported, register_source
from events.clock import Clock
from events.errors import VersionConflict
from events.events import Event
from events.ids import event_id
from storage.city.appeals import WHAT, packed
from storage.city.batches import entry_of_batch
from storage.city.casequery import CaseQuery
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects

AT_ONCE = 20_000
"""Records of one batch."""
_TOGETHER = 500
"""Words of so many lie in one object: it is read whole for one of them."""
_KNOWN = 50_000
"""Earlier appeals, at most, that the first ones of a file are compared with."""

Reject = Callable[[Row, str], None]
Tick = Callable[[int], None]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did, or (dry) would do."""

    rows: int = 0
    taken: int = 0
    known: int = 0
    """Here already: nothing was changed."""
    rejected: int = 0
    linked: int = 0
    """The same as an earlier one."""
    unplaced: int = 0
    """To be placed by somebody."""
    batches: int = 0
    reasons: Mapping[str, int] = {}
    """Why rows were rejected -> how many."""


class HotlineImport:
    """See the module's text. Used by one thread."""

    def __init__(  # noqa: PLR0913 - what it works with, each given once
        self,
        journal: Journal,
        store: CityStore,
        objects: Objects,
        vault: Vault,
        clock: Clock,
        site: str,
        pack: Pack,
        calendar: Calendar,
        services: Services,
        *,
        weights: Weights = WEIGHTS,
    ) -> None:
        self._journal = journal
        self._store = store
        self._objects = objects
        self._vault = vault
        self._clock = clock
        self._site = site
        self._pack = pack
        self._calendar = calendar
        self._services = services
        self._weights = weights
        self._box = WordsBox(objects, vault)
        self._open: set[str] = set()
        """Heads that are open: what is linked to one of them waits for it."""

    def run(
        self,
        file: HotlineFile,
        *,
        who: str,
        channel: str = "hotline",
        alone: bool = False,
        dry_run: bool = False,
        reject: Reject | None = None,
        tick: Tick | None = None,
    ) -> Done:
        """Take the file's records.

        Args:
            who: signs it.
            channel: of records that name none.
            alone: those that name another one are rejected.
            reject: told of each row that cannot be taken, and why.
            tick: told how many rows more were looked at.

        Raises:
            ConfigError: the file breaks off.
            StorageError: what came before is taken; run it again.
        """
        places = _Places(self._store.features.jurisdictions())
        run = _Run(self._hotline(file, channel, alone, places), reject)
        chain: Chain | None = None
        left = file.records()
        while some := list(itertools.islice(left, AT_ONCE)):
            places.look(some)
            records = run.checked(some)
            here = self._store.cases.cases([record.case.case for record in records])
            fresh = [record for record in records if record.case.case not in here]
            chain = chain or self._chain(fresh)
            fresh = self._linked(fresh, chain)
            run.add(known=len(records) - len(fresh), fresh=fresh)
            if fresh and not dry_run:
                self._take(fresh, file.path.name, who)
            if tick is not None:
                tick(len(some))
        return run.done()

    def _hotline(self, file: HotlineFile, channel: str, alone: bool, places: "_Places") -> Hotline:
        names = Gazetteer(self._store.features).names()
        return Hotline(
            self._pack,
            self._services,
            self._calendar,
            lambda key: case_id(self._site, SCENARIO, key),
            places,
            names.find,
            channel=channel,
            alone=alone,
            zone=file.zone,
            now_us=self._clock.wall_us(),
        )

    # -- duplicates

    def _chain(self, records: Sequence[Appeal]) -> Chain:
        """Heads from the time before the first records; who called is not looked up for them."""
        chain = Chain(self._weights)
        if records:
            first = min(record.case.opened_us for record in records)
            since = first - int(self._weights.window_days * DAY_US)
            last = max(record.case.opened_us for record in records)
            chain.know(self._heads(max(since, 1), last))
        return chain

    def _heads(self, since_us: int, until_us: int) -> Iterator[Said]:
        query = CaseQuery(scenario=SCENARIO, since_us=since_us, until_us=until_us)
        after, left = "", _KNOWN
        found = []
        while left > 0:
            page = self._store.cases.page(query, after, 1000)
            heads = [case for case in page.cases if not case.other]
            found += [said(case) for case in heads]
            self._open |= {case.case for case in heads if not case.final}
            after, left = page.after, left - len(page.cases)
            if not after:
                break
        yield from reversed(found)  # the oldest first

    def _linked(self, records: Sequence[Appeal], chain: Chain) -> list[Appeal]:
        callers = [self._caller(record.words) for record in records]
        new = [said(record.case, caller) for record, caller in zip(records, callers, strict=True)]
        links = {link.case: link for link in chain.links(new)}
        self._open |= {r.case.case for r in records if not r.case.final and r.case.case not in links}
        found = []
        for record in records:
            link = links.get(record.case.case)
            if link is not None:
                case = linked(record.case, link, waits=link.of in self._open)
                record = msgspec.structs.replace(record, case=case)
            found.append(record)
        return found

    def _caller(self, words: Words) -> bytes:
        way = plain(words.phone) or plain(words.email)
        return self._vault.blind(f"caller:{way}") if way else b""

    # -- a batch

    def _take(self, records: Sequence[Appeal], origin: str, who: str) -> None:
        """Seal and store, then say so; the event is what makes them be there."""
        ids = b"".join(record.case.case.encode() for record in records)
        name = blake2b(ids, digest_size=16).hexdigest()
        source = register_source(self._site, WHAT, f"batch-{name}")
        if self._journal.history(source, "register"):  # named before, and not in the store yet
            return
        cases = []
        for n, some in enumerate(_parts(records, _TOGETHER)):
            part = [record.case.case for record in some]
            keys = self._box.put_many(f"import-{name}/{n}", part, [record.words for record in some])
            cases += [
                msgspec.structs.replace(record.case, sealed=key if record.words != Words() else "")
                for record, key in zip(some, keys, strict=True)
            ]
        # By chance: of two who do the same at once, none overwrites what the other's event names.
        key = f"batches/appeal/{name}-{secrets.token_hex(4)}"
        sealed = self._vault.seal(entry_of_batch(key), packed(cases))
        self._objects.put(key, sealed)
        now = self._clock.wall_us()
        data = RegisterImported(
            what=WHAT,
            object=key,
            sha256=sha256(sealed).hexdigest(),
            rows=len(cases),
            origin=origin,
            who=who,
        )
        id_ = event_id(source, "register", 0, 0, now)
        event = Event(id=id_, source=source, time_us=now, epoch=0, sequence=0, data=data)
        with contextlib.suppress(VersionConflict):  # somebody else named it just now
            self._journal.append_next([event])


class _Places:
    """Where places lie; of many records looked up together, in a tenth of the time."""

    def __init__(self, tree: Jurisdictions) -> None:
        self._tree = tree
        self._found: dict[tuple[float, float], str] = {}

    def look(self, rows: Sequence[Record]) -> None:
        """Those of these records; what was looked up before is forgotten."""
        places: set[tuple[float, float]] = set()
        for row in rows:
            with contextlib.suppress(ValueError):  # what is no number is refused when its turn comes
                lon, lat = (float(row.values.get(name, "")) for name in ("lon", "lat"))
                if math.isfinite(lon) and math.isfinite(lat):
                    places.add((round(lon, 7), round(lat, 7)))
        order = sorted(places)
        codes = self._tree.locate_all(*np.array(order, np.float64).reshape(-1, 2).T)
        self._found = dict(zip(order, codes, strict=True))

    def __call__(self, lon: float, lat: float) -> list[str]:
        code = self._found.get((lon, lat))
        return self._tree.locate(lon, lat) if code is None else self._tree.chain(code)


class _Run:
    """What has been seen of a file."""

    def __init__(self, hotline: Hotline, reject: Reject | None) -> None:
        self._hotline = hotline
        self._reject = reject
        self._seen: set[int] = set()
        self._reasons: dict[str, int] = {}
        self._counts = dict.fromkeys(
            ("rows", "taken", "known", "rejected", "linked", "unplaced", "batches"), 0
        )

    def checked(self, rows: Sequence[Record]) -> list[Appeal]:
        """The appeals of these rows; the others are rejected."""
        found = []
        self._counts["rows"] += len(rows)
        for row, values in rows:
            try:
                if row.problem:
                    raise RowRefused(row.problem)
                record = self._hotline.appeal(values)
                # Of an id 60 bits are enough to tell millions apart, and take less room.
                short = int(record.case.case[:12], 32)
                if short in self._seen:
                    raise RowRefused("its number came before in this file")
                self._seen.add(short)
                found.append(record)
            except RowRefused as e:
                self._counts["rejected"] += 1
                why = str(e)
                self._reasons[why] = self._reasons.get(why, 0) + 1
                if self._reject is not None:
                    self._reject(row, why)
        return found

    def add(self, known: int, fresh: Sequence[Appeal]) -> None:
        """What became of a batch."""
        counts = self._counts
        counts["known"] += known
        counts["taken"] += len(fresh)
        counts["linked"] += sum(bool(record.case.other) for record in fresh)
        counts["unplaced"] += sum(
            record.case.place is None and len(record.case.area) < 12 for record in fresh
        )
        counts["batches"] += bool(fresh)

    def done(self) -> Done:
        """The sum of it."""
        most = sorted(self._reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:50]
        return Done(**self._counts, reasons=dict(most))


def _parts(records: Sequence[Appeal], size: int) -> Iterator[Sequence[Appeal]]:
    for first in range(0, len(records), size):
        yield records[first : first + size]
