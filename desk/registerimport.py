"""Surveys into the registers: row by row, rejected rows set aside with the reason, the rest as encrypted
batches that one event each names.

The same file again changes nothing. A person is known again by the identity number, else by the survey's own
number; what is new takes the place of what was said before, and where somebody lived before stays as a fact
that has ended. Nothing of the batch can be read without the vault, and none of it is in the event.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from city.housing import FOREVER, OUTSIDE, Fact, FactsDisagree, Home, with_fact
from city.persons import PersonDoc
from city.rights import Actor, decide
from desk import registercheck as check
from desk.registercheck import Draft, Refusal
from desk.registerfiles import Rejected, RejectFile, Row, read
from events.civic import RegisterImported, desk_source
from events.clock import Clock
from events.errors import AccessDenied, ConfigError
from events.events import AnyPayload
from storage.city.batches import entry_of_batch
from storage.city.bulk import chunks
from storage.city.features import FeatureTables
from storage.city.keys import Keys
from storage.city.registerrows import (
    PERSON,
    PersonEntry,
    PersonRow,
    blind_of,
    entry_of,
    packed,
    reference_of,
    sealed_rows,
)
from storage.city.registers import RegisterTables
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects

CHUNK = 20_000
"""Rows looked at together. References are random: of more rows each takes fewer pages of the vault."""
PART = 100_000
"""Entries of one batch, which is in memory as a whole: a larger import is several events."""
_SINGLY = 200
"""Buildings that are asked for one by one."""
PREFIX = "registers/"
"""Of the keys of objects."""
Progress = Callable[[int], None]
"""Told how many rows were read."""
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(PersonDoc).decode


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file."""

    what: str
    rows: int
    taken: int
    unchanged: int
    """Said already, word for word."""
    rejected: int
    batches: tuple[str, ...] = ()
    """Keys of the batches; none on a dry run."""
    first: tuple[Rejected, ...] = ()
    """The first rejected rows; all are in the file of rejected rows."""


class RegisterImport:
    """Imports files for one actor.

    Args:
        area_of: a building's jurisdiction by the map; "": there is none of that code.
    """

    def __init__(
        self,
        site: str,
        journal: Journal,
        tables: RegisterTables,
        objects: Objects,
        vault: Vault,
        clock: Clock,
        area_of: Callable[[str], str],
    ) -> None:
        self._site = site
        self._journal = journal
        self._tables = tables
        self._objects = objects
        self._vault = vault
        self._clock = clock
        self._area_of = area_of

    def file(  # noqa: PLR0913 - the file and its sender (3), and how it is read, each with a default
        self,
        path: Path,
        what: Literal["person", "home"],
        actor: Actor,
        *,
        mapping: Mapping[str, str] | None = None,
        dry: bool = False,
        rejects: Path | None = None,
        purpose: str = "survey",
        survey: str = "",
        progress: Progress = lambda _: None,
    ) -> Report:
        """Import a file; what is taken is in the store once its projector has had the events.

        Args:
            mapping: field -> the file's heading.
            dry: everything is looked at, nothing is kept.
            rejects: where rejected rows go; beside the file by default, not at all on a dry run.
            survey: whose own numbers of persons (`person`) the file has: two surveys' numbers are kept apart.

        Raises:
            AccessDenied: the actor may not change the registers anywhere.
            ConfigError: the file or the mapping cannot be used.
            StorageError: journal, objects or vault take nothing; the same file may be given again.
        """
        decision = decide(actor, "person.write", actor.place)
        if not decision.allowed:
            raise AccessDenied(decision.why)
        fields = check.PERSON_FIELDS if what == PERSON else check.HOME_FIELDS
        aside = RejectFile(rejects or path.with_name(f"{path.stem}.rejected.csv"))
        run = _Run(self, actor, what, (path.name, survey), None if dry else aside)
        try:
            # Rows are read and checked while the database is asked about those before them.
            with ThreadPoolExecutor(1, thread_name_prefix="import") as other:
                before: Future[None] | None = None
                for rows in chunks(read(path), CHUNK):
                    if not run.headings:
                        try:
                            run.headings = check.columns(list(rows[0].values), fields, mapping or {})
                        except Refusal as e:
                            raise ConfigError(f"{path.name}: {e.why}") from None
                    checked = run.checked(rows)
                    if before is not None:
                        before.result()
                    before = other.submit(self._settle, run, checked, purpose)
                    progress(len(rows))
                if before is not None:
                    before.result()
            if not dry and run.kept:
                run.batches.append(self._batch(run, purpose))
        finally:
            aside.close()
        if run.batches:
            self._journal.flush()
        return run.report()

    def _settle(self, run: "_Run", checked: "_Checked", purpose: str) -> None:
        run.settle(checked)
        if run.aside is not None and len(run.kept) >= PART:
            run.batches.append(self._batch(run, purpose))

    def _batch(self, run: "_Run", purpose: str) -> str:
        rows, run.kept = run.kept, []
        body = packed(rows)
        key = f"{PREFIX}{run.what}/{hashlib.sha256(body).hexdigest()[:32]}"
        sealed = self._vault.seal(entry_of_batch(key), body)
        self._objects.put(key, sealed)
        self.note(
            RegisterImported(
                what=run.what,
                object=key,
                sha256=hashlib.sha256(sealed).hexdigest(),
                rows=len(rows),
                rejected=run.rejected,
                origin=run.origin,
                purpose=purpose,
                who=run.actor.who,
            )
        )
        return key

    def note(self, data: AnyPayload) -> None:
        """Journal something of the desk."""
        self._journal.note(desk_source(self._site), data, self._clock.wall_us())

    # -- what the run asks for

    def reference(self, draft: Draft, survey: str) -> str:
        """The opaque reference of a person: the same for the same number, and telling nothing of it."""
        key = f"id:{draft.doc.identity}" if draft.doc.identity else f"own:{survey}:{draft.own}"
        return reference_of(self._vault, key)

    def blind(self, identity: str) -> bytes:
        """The blind index of an identity number; b"" without one."""
        return blind_of(self._vault, identity)

    def known(self, blinds: Sequence[bytes]) -> dict[bytes, str]:
        """Who has these numbers: blind index -> reference."""
        return self._tables.by_blind(blinds)

    def today(self) -> str:
        """The last day on which somebody can have been born, wherever the city is."""
        now = datetime.fromtimestamp(self._clock.wall_us() / 1e6, UTC) + timedelta(days=1)
        return now.date().isoformat()

    def homes(self, codes: Sequence[str]) -> Mapping[str, Home]:
        """Homes that are there."""
        return self._tables.homes_of(codes)

    def area_of(self, building: str) -> str:
        """A building's jurisdiction."""
        return self._area_of(building)

    def keys(self, refs: Sequence[str]) -> Keys:
        """The keys of persons."""
        return self._vault.keys([entry_of(PERSON, ref) for ref in refs])

    def before(self, refs: Sequence[str], keys: Keys) -> dict[str, tuple[PersonEntry, PersonDoc | None]]:
        """What is there already (nothing of whom there was no key for); without words where the key was
        destroyed."""
        entries = self._tables.persons([ref for ref in refs if entry_of(PERSON, ref) in keys])
        plains = keys.open_many([entry_of(PERSON, e.ref) for e in entries], [e.sealed for e in entries])
        return {
            e.ref: (e, _decode(plain) if plain else None) for e, plain in zip(entries, plains, strict=True)
        }


class _Checked(NamedTuple):
    """Rows that were looked at one by one: with what they say, or why they cannot be taken."""

    good: list[tuple[Row, Any]]
    bad: list[tuple[Row, Refusal]]


class _Run:
    """One file on its way."""

    def __init__(
        self, desk: RegisterImport, actor: Actor, what: str, of: tuple[str, str], aside: RejectFile | None
    ) -> None:
        self.desk, self.actor, self.what, self.aside = desk, actor, what, aside
        self.origin, self._survey = of
        self._today = desk.today()
        self.headings: Mapping[str, str] = {}
        """Field -> the file's heading."""
        self.kept: list[Any] = []
        """Homes, or persons as a batch has them."""
        self.batches: list[str] = []
        self.rows = self.taken = self.unchanged = self.rejected = 0
        self.first: list[Rejected] = []
        self._why_not: dict[str, str] = {}
        """Jurisdiction -> why the actor may not write there; "": it may."""
        self._seen: dict[str, int] = {}
        """Reference or code -> the row that it came in."""

    def checked(self, rows: Sequence[Row]) -> "_Checked":
        """Each row by itself. Touches nothing of the run, so that it goes on beside `settle`."""
        good: list[tuple[Row, Any]] = []
        bad: list[tuple[Row, Refusal]] = []
        for row in rows:
            try:
                if row.problem:
                    raise Refusal("", row.problem)
                get = check.getter(row.values, self.headings)
                good.append((row, self._person(get) if self.what == PERSON else self._home(get)))
            except Refusal as e:
                bad.append((row, e))
        return _Checked(good, bad)

    def settle(self, checked: "_Checked") -> None:
        """What follows from what is there already; what is left is kept for the batch."""
        self.rows += len(checked.good) + len(checked.bad)
        for row, refusal in checked.bad:
            self._reject(row, refusal)
        if self.what == PERSON:
            self._persons(checked.good)
        else:
            self._homes(checked.good)

    def _person(self, get: Callable[[str], Any]) -> tuple[Draft, bytes]:
        draft = check.person(get)
        if draft.doc.born > self._today:
            raise Refusal("born", f"born on {draft.doc.born}, which is still to come")
        return draft, self.desk.blind(draft.doc.identity)

    def _home(self, get: Callable[[str], Any]) -> Home:
        return check.home(get, self.desk.area_of)

    def report(self) -> Report:
        return Report(
            what=self.what,
            rows=self.rows,
            taken=self.taken,
            unchanged=self.unchanged,
            rejected=self.rejected,
            batches=tuple(self.batches),
            first=tuple(self.first),
        )

    def _reject(self, row: Row, refusal: Refusal) -> None:
        field = self.headings.get(refusal.field, refusal.field)
        rejected = Rejected(row=row.number, field=field, why=refusal.why)
        self.rejected += 1
        if len(self.first) < 20:
            self.first.append(rejected)
        if self.aside is not None:
            self.aside.add(row, rejected)

    def _once(self, key: str, row: Row, what: str) -> None:
        before = self._seen.setdefault(key, row.number)
        if before != row.number:
            raise Refusal("", f"{what} is in row {before} already; a file says it once")

    def _merged(self, entry: PersonEntry | None, new: tuple[Fact, ...]) -> tuple[Fact, ...]:
        if entry is None or not entry.facts:
            return new
        facts = entry.facts
        try:
            for fact in new:
                facts = with_fact(facts, fact)
        except FactsDisagree as e:
            seen = decide(self.actor, "person.read", entry.area).allowed
            elsewhere = (
                "it disagrees with what another jurisdiction says of this person for that day; ask there"
            )
            raise Refusal("since", str(e) if seen else elsewhere) from None
        return facts

    def _homes(self, read: Sequence[tuple[Row, Home]]) -> None:
        found: list[Home] = []
        for row, home in read:
            try:
                self._may(home.area)
                self._once(home.home, row, f"the home {home.home}")
                found.append(home)
            except Refusal as e:
                self._reject(row, e)
        there = self.desk.homes([home.home for home in found])
        new = [home for home in found if there.get(home.home) != home]
        self.unchanged += len(found) - len(new)
        self.taken += len(new)
        self.kept += new

    def _may(self, area: str) -> None:
        why = self._why_not.get(area)
        if why is None:
            why = self._why_not[area] = decide(self.actor, "person.write", area).why
        if why:
            raise Refusal("", why)

    def _persons(self, read: Sequence[tuple[Row, tuple[Draft, bytes]]]) -> None:
        known = self.desk.known([blind for _, (_, blind) in read if blind])  # entered by hand, too
        drafts: list[tuple[Row, str, Draft, bytes]] = []
        for row, (draft, blind) in read:
            ref = known.get(blind) or self.desk.reference(draft, self._survey)
            try:
                self._once(ref, row, "the same person")
                drafts.append((row, ref, draft, blind))
            except Refusal as e:
                self._reject(row, e)
        refs = [ref for _, ref, *_ in drafts]
        keys = self.desk.keys(refs)
        before, erased = self.desk.before(refs, keys), keys.erased
        said = [draft.facts for *_, draft, _ in drafts] + [entry.facts for entry, _ in before.values()]
        homes = self.desk.homes(list({fact.home for facts in said for fact in facts} - {OUTSIDE}))
        chosen: list[tuple[str, Draft, bytes, tuple[Fact, ...], str, str]] = []
        for row, ref, draft, blind in drafts:
            try:
                if erased and entry_of(PERSON, ref) in erased:
                    raise Refusal("", "this person was erased; somebody has to enter them anew, by hand")
                entry, doc = before.get(ref, (None, None))
                facts = self._merged(entry, draft.facts)
                lives, area = _place(facts, homes)
                self._may(area)
            except Refusal as e:
                self._reject(row, e)
                continue
            if entry is not None and (doc, entry.facts, entry.care) == (draft.doc, facts, draft.care):
                self.unchanged += 1
            else:
                chosen.append((ref, draft, blind, facts, lives, area))
        if self.aside is None:  # a dry run makes no keys
            self.taken += len(chosen)
            return
        entries = [entry_of(PERSON, ref) for ref, *_ in chosen]
        keys.make(entries)
        sealed = keys.seal_many(entries, [_encode(draft.doc) for _, draft, *_ in chosen])
        entered = [
            PersonRow(ref=ref, blind=blind, area=area, home=lives, sealed=body, facts=facts, care=draft.care)
            for (ref, draft, blind, facts, lives, area), body in zip(chosen, sealed, strict=True)
        ]
        self.kept += sealed_rows(keys, entered)
        self.taken += len(chosen)


def areas_of(features: FeatureTables) -> Callable[[str], str]:
    """A building's jurisdiction by the map: each asked for once, and after some all of them at once."""
    known: dict[str, str] = {}
    whole = False

    def area_of(building: str) -> str:
        nonlocal whole
        if building not in known and not whole:
            if len(known) < _SINGLY:
                feature = features.get("building", building)
                known[building] = feature.area if feature is not None else ""
            else:
                known.update((one.id, one.area) for one in features.every("building"))
                whole = True
        return known.get(building, "")

    return area_of


def _place(facts: Sequence[Fact], homes: Mapping[str, Home]) -> tuple[str, str]:
    """Where somebody lives, and the jurisdiction: of that home, else of the registration."""
    lives = area = ""
    for fact in facts:
        if fact.home == OUTSIDE:
            continue
        home = homes.get(fact.home)
        if home is None:
            if fact.until == FOREVER:
                raise Refusal("home", f"there is no home {fact.home[:60]!r}; import the homes first")
            continue
        if fact.kind == "residence" and fact.until == FOREVER:
            lives, area = home.home, home.area
        elif not area:
            area = home.area
    if not area:
        raise Refusal("home", "neither lives nor is registered in this city")
    return lives, area
