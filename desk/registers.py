"""The registers at work: who is entered, moves, is visited and erased, each change with the version that its
maker saw; and the looks of `desk/registerlooks.py`.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from city.housing import FOREVER, OUTSIDE, Fact, with_fact
from city.persons import CARE, PersonDoc, normal_identity
from city.rights import Actor
from desk.registercheck import flaw
from desk.registerlooks import RegisterLooks, Shown, VisitShown
from events.civic import RegisterChanged, RegisterErased, register_source
from events.errors import MissingValue, NoSuchThing, NotShownYet, VersionConflict
from events.events import AnyPayload, Event
from events.ids import event_id
from storage.city.registerrows import PERSON, VISIT, PersonRow, VisitRow, blind_of, entry_of, reference_of

__all__ = ["Registers", "Shown", "VisitShown"]

PREFIX = "registers/"
"""Of the keys of objects."""
_LOOK_S = 0.01
_doc = msgspec.json.Decoder(PersonDoc).decode


class Registers(RegisterLooks):
    """The desk over the registers. From any thread."""

    # -- changes

    def enter(self, actor: Actor, doc: PersonDoc, facts: Sequence[Fact], care: Sequence[str] = ()) -> str:
        """A new person, by hand; answers the reference. Who was erased gets another one: the old entry stays
        what it is, gone.

        Raises:
            AccessDenied: not there, or not by this role.
            MissingValue: names what cannot be; a number that is another entry's, too.
            FactsDisagree: the dates cannot be.
        """
        doc = msgspec.structs.replace(doc, identity=normal_identity(doc.identity))
        known: tuple[Fact, ...] = ()
        for fact in facts:
            known = with_fact(known, fact)
        home, area = self._lives(known, "", "")
        self._allow(actor, "person.write", area, "new", "")
        self._check(doc, "", actor)
        ref = self._new(doc.identity)
        row = self._row(ref, doc, known, self._tags(care), (home, area))
        self._deed(actor, "person-entry", ref)
        self._append(PERSON, ref, row, 0, actor)
        self._settled(lambda: self._tables.person(ref) is not None, ref, 0)
        return ref

    def change(
        self,
        actor: Actor,
        ref: str,
        version: int,
        *,
        doc: PersonDoc | None = None,
        care: Sequence[str] | None = None,
        fact: Fact | None = None,
    ) -> int:
        """Change what is said of a person, the care tags, or where somebody lives, is registered, holds a
        home (which ends what it takes the place of); answers the new version.

        Args:
            version: the one that the actor saw.

        Raises:
            AccessDenied, NoSuchThing: as `person`.
            FactsDisagree: the dates cannot be.
            MissingValue: no such care tag or home.
            VersionConflict: somebody else was first.
        """
        entry = self._entry(actor, "person.write", ref)
        plain = self._vault.open(entry_of(PERSON, ref), entry.sealed)
        if plain is None:
            raise NoSuchThing(f"person {ref[:40]!r} was erased")
        if entry.version != version:
            raise VersionConflict(f"person {ref} has version {entry.version} by now, not {version}")
        facts = entry.facts if fact is None else with_fact(entry.facts, fact)
        home, area = self._lives(facts, entry.home, entry.area)
        self._allow(actor, "person.write", area, ref, "")
        new = _doc(plain)
        if doc is not None:
            new = msgspec.structs.replace(doc, identity=normal_identity(doc.identity))
            self._check(new, ref, actor)
        row = self._row(ref, new, facts, entry.care if care is None else self._tags(care), (home, area))
        self._deed(actor, "person-change", ref)
        made = self._append(PERSON, ref, row, version + 1, actor)
        self._settled(lambda: self._version(ref) >= made, ref, made)
        return made

    def visit(self, actor: Actor, ref: str, kind: Literal["visit", "referral"], org: str, words: str) -> str:
        """Write down a visit, or a referral to an organisation; answers its id.

        Raises:
            AccessDenied, NoSuchThing: as `person`.
        """
        entry = self._entry(actor, "person.read", ref)
        self._allow(actor, "case.step", entry.area, ref, "")
        id_ = f"{ref}.{secrets.token_hex(6)}"
        row = VisitRow(
            visit=id_,
            ref=ref,
            area=entry.area,
            kind=kind,
            org=org,
            who=actor.who,
            time_us=self._clock.wall_us(),
            sealed=self._vault.seal(entry_of(PERSON, ref), words.encode()),
        )
        self._deed(actor, kind, ref)
        self._append(VISIT, id_, row, 0, actor)
        self._settled(lambda: any(v.visit == id_ for v in self._tables.visits(ref)), id_, 0)
        return id_

    def erase(self, actor: Actor, ref: str, reason: Literal["asked", "expired", "mistake"]) -> None:
        """Destroy the person's key, and say so: what was sealed under it is gone wherever it lies.

        Raises:
            AccessDenied, NoSuchThing: as `person`.
            StorageError: the key was not destroyed; to be done again.
        """
        self._entry(actor, "person.erase", ref)
        self._deed(actor, "person-erasure", ref)
        self._journal.flush()
        self._vault.erase(entry_of(PERSON, ref))
        version = self._told(ref, RegisterErased(what=PERSON, entry=ref, reason=reason, who=actor.who))
        self._settled(lambda: self._tables.person(ref) is None, ref, version)

    def finish(self, who: str) -> int:
        """Say of whose key is destroyed that it is, where a kill came between the two; answers how many were
        still in the store. (That somebody was about to be erased, and by whom, was noted before.)

        Raises:
            StorageError: journal, store or vault cannot be used.
        """
        found, after = 0, ""
        while entries := self._vault.destroyed(entry_of(PERSON, ""), after):
            after = entries[-1]
            refs = [entry.removeprefix(entry_of(PERSON, "")) for entry in entries]
            for left in self._tables.persons(refs):
                self._told(left.ref, RegisterErased(what=PERSON, entry=left.ref, reason="asked", who=who))
                found += 1
        return found

    def _told(self, ref: str, data: RegisterErased) -> int:
        """Journal that the key is gone, whatever was journaled since the store was looked at; answers the
        version. Without its key nobody can change the entry any more."""
        while True:
            history = self._journal.history(register_source(self._site, PERSON, ref), "register")
            if history and isinstance(history[-1].data, RegisterErased):
                return history[-1].sequence
            with suppress(VersionConflict):
                self._journal.append_next([self._event(PERSON, ref, len(history), data)])
                return len(history)

    # -- the parts

    def _lives(self, facts: Sequence[Fact], home: str, area: str) -> tuple[str, str]:
        """Where somebody lives, and the jurisdiction: of that home, else as before, else of another fact."""
        lives = next((f.home for f in facts if f.kind == "residence" and f.until == FOREVER), "")
        homes = self._tables.homes_of(list({f.home for f in facts if f.until == FOREVER} - {OUTSIDE}))
        for fact in facts:
            if fact.until == FOREVER and fact.home not in homes and fact.home != OUTSIDE:
                raise MissingValue(f"there is no home {fact.home[:80]!r}; import or enter it first", "home")
        if lives in homes and lives != home:
            return lives, homes[lives].area
        area = area or next((homes[f.home].area for f in facts if f.home in homes), "")
        if not area:
            raise MissingValue("neither lives nor is registered in this city", "facts")
        return lives, area

    def _check(self, doc: PersonDoc, ref: str, actor: Actor) -> None:
        today = datetime.fromtimestamp(self._clock.wall_us() / 1e6, UTC).date()
        field, why = flaw(doc, (today + timedelta(days=1)).isoformat())  # it may be tomorrow there
        if why:
            raise MissingValue(why, field)
        other = self._tables.by_blind([blind_of(self._vault, doc.identity)]) if doc.identity else {}
        if others := [found for found in other.values() if found != ref]:
            self._look(actor, "person-lookup", others, "entry")  # it tells that there is somebody
            raise MissingValue("another entry has this identity number; look it up", "identity")

    def _tags(self, care: Sequence[str]) -> tuple[str, ...]:
        if unknown := next((tag for tag in care if tag not in CARE), ""):
            raise MissingValue(f"there is no care tag {unknown[:40]!r}; there are {', '.join(CARE)}", "care")
        return tuple(dict.fromkeys(care))

    def _new(self, identity: str) -> str:
        """A reference that no entry has or had."""
        if not identity:
            return secrets.token_hex(12)
        key, n = f"id:{identity}", 0
        while self._vault.erased([entry_of(PERSON, ref := reference_of(self._vault, key))]):
            n += 1
            key = f"id:{identity}:{n}"
        return ref

    def _row(
        self, ref: str, doc: PersonDoc, facts: tuple[Fact, ...], care: tuple[str, ...], at: tuple[str, str]
    ) -> PersonRow:
        return PersonRow(
            ref=ref,
            blind=blind_of(self._vault, doc.identity),
            area=at[1],
            home=at[0],
            sealed=self._vault.seal(entry_of(PERSON, ref), msgspec.json.encode(doc)),
            facts=facts,
            care=care,
        )

    def _version(self, ref: str) -> int:
        entry = self._tables.person(ref)
        return -1 if entry is None else entry.version

    def _settled(self, shown: Callable[[], bool], thing: str, version: int) -> None:
        """
        Raises:
            NotShownYet: the store does not show it in time. It is journaled and holds all the same.
        """
        until = self._clock.monotonic() + self._wait_s
        while self._wait_s and not shown():
            if self._clock.monotonic() >= until:
                raise NotShownYet(
                    f"{thing}: version {version} is journaled and holds, but the store does not show it yet; "
                    "do not send it again (is `linli serve` running?)",
                    thing,
                    version,
                )
            self._clock.sleep(_LOOK_S)

    def _append(self, what: str, entry: str, row: msgspec.Struct, version: int, actor: Actor) -> int:
        key = f"{PREFIX}{what}/{entry}/{secrets.token_hex(8)}"
        sealed = self._vault.seal(entry_of(what, entry), msgspec.msgpack.encode(row))
        self._objects.put(key, sealed)
        data = RegisterChanged(what=what, entry=entry, object=key, who=actor.who)
        try:
            self._journal.append_next([self._event(what, entry, version, data)])
        except VersionConflict:
            self._objects.delete(key)
            raise
        return version

    def _event(self, what: str, entry: str, version: int, data: AnyPayload) -> Event:
        source = register_source(self._site, what, entry)
        now = self._clock.wall_us()
        id_ = event_id(source, "register", 0, version)
        return Event(id=id_, source=source, time_us=now, epoch=0, sequence=version, data=data)
