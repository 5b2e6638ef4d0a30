"""Looks at the registers: each one of a person decided, and written down before the answer.

What is shown is masked. Who states a purpose, and may, sees a person in full, one at a time; an export of
many is a right of its own. Nothing here knows of cameras.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from city.housing import Fact, Home, standing
from city.persons import CARE, Masked, PersonDoc, check_identity, mask, normal_identity
from city.rights import WHOLE, Actor, decide, reach
from desk.registerfiles import write_csv
from events.clock import Clock
from events.errors import AccessDenied, MissingValue, NoSuchThing
from events.events import Access
from storage.city.registerrows import PERSON, PersonEntry, Sums, blind_of, entry_of
from storage.city.registers import RegisterTables
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects

WAIT_S = 5.0
"""So long the store is waited for before a change is answered without it."""
_doc = msgspec.json.Decoder(PersonDoc).decode
_EXPORTED = (
    *("name", "sex", "born", "identity", "phone", "nationality", "workplace", "relation"),
    *("home", "address", "care"),
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A person as somebody may see it."""

    ref: str
    area: str
    home: str
    address: str
    """Of the home; not of a person by itself."""
    version: int
    standing: str
    """same, lives-elsewhere, registered-elsewhere: how residence and registration stand to each other."""
    facts: tuple[Fact, ...]
    care: tuple[str, ...]
    masked: Masked | None = None
    """Unless it was opened; None: the words were erased."""
    full: PersonDoc | None = None
    """Opened for a stated purpose."""


class VisitShown(msgspec.Struct, frozen=True, kw_only=True):
    """A visit or referral; `words` are None once they were erased."""

    visit: str
    kind: str
    org: str
    who: str
    time_us: int
    words: str | None


class RegisterLooks:
    """Looks at persons and homes. From any thread.

    Args:
        note: queues an access event in the journal (`Journal.note` with the console's source). It is durable
            before anything is shown: what cannot be written down is not shown.
        wait_s: how long a change waits for the store to show it; 0: not at all.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each given once
        self,
        site: str,
        journal: Journal,
        tables: RegisterTables,
        objects: Objects,
        vault: Vault,
        clock: Clock,
        note: Callable[[Access], None],
        wait_s: float = WAIT_S,
    ) -> None:
        self._site = site
        self._journal = journal
        self._tables = tables
        self._objects = objects
        self._vault = vault
        self._clock = clock
        self._note = note
        self._wait_s = wait_s

    # -- looks

    def person(self, actor: Actor, ref: str, purpose: str = "", day: str = "") -> Shown:
        """One person: masked, or in full for a purpose.

        Raises:
            AccessDenied: by role or jurisdiction; the refusal is written down.
            NoSuchThing: there is none, or the actor's jurisdiction ends before.
        """
        entry = self._tables.person(ref)
        action = "person.open" if purpose else "person.read"
        if entry is None or not decide(actor, "person.read", entry.area).allowed:
            self._refuse(actor, "person.read", entry.area if entry else WHOLE, ref, purpose)
            raise NoSuchThing(f"there is no person {ref[:40]!r} in your jurisdiction")
        self._allow(actor, action, entry.area, ref, purpose)
        self._look(actor, "person", [ref], purpose, plain=bool(purpose))
        return self._shown([entry], bool(purpose), day)[0]

    def find(self, actor: Actor, identity: str, purpose: str, day: str = "") -> Shown | None:
        """The person with exactly this identity number, masked; None: not here. By the blind index: numbers
        that begin alike cannot be listed.

        Raises:
            AccessDenied: the actor may not look persons up.
            MissingValue: the number cannot be one, or no purpose was stated.
        """
        number = normal_identity(identity)
        if why := check_identity(number):
            raise MissingValue(why, "identity")
        if len(purpose.strip()) < 3:
            raise MissingValue("a look-up by identity number needs a purpose", "purpose")
        self._allow(actor, "person.read", WHOLE, "look-up", purpose)
        found = self._tables.by_blind([blind_of(self._vault, number)])
        entry = self._tables.person(next(iter(found.values()))) if found else None
        if entry is not None and not decide(actor, "person.read", entry.area).allowed:
            entry = None
        self._look(actor, "person-lookup", [entry.ref if entry else "none"], purpose)
        return self._shown([entry], False, day)[0] if entry else None

    def of_home(self, actor: Actor, home: str, day: str) -> tuple[Home, tuple[Shown, ...]]:
        """A home and who lives in it, is registered there or holds it on a day, masked.

        Raises:
            AccessDenied, NoSuchThing: as `person`.
        """
        found = self._tables.home(home)
        if found is None or not decide(actor, "person.read", found.area).allowed:
            self._refuse(actor, "person.read", found.area if found else WHOLE, home, "")
            raise NoSuchThing(f"there is no home {home[:80]!r} in your jurisdiction")
        refs = list(dict.fromkeys(ref for ref, _ in self._tables.of_home(home, day)))
        some = self._tables.persons(refs)  # who is registered or holds the home here may live elsewhere
        some = [entry for entry in some if decide(actor, "person.read", entry.area).allowed]
        self._look(actor, "home", [home, *(entry.ref for entry in some)], "")
        return found, tuple(self._shown(some, False, day))

    def page(
        self, actor: Actor, area: str = "", tag: str = "", after: str = "", limit: int = 50, day: str = ""
    ) -> tuple[tuple[Shown, ...], str]:
        """Persons below a jurisdiction, masked, with a care tag if one is given; and where to go on.

        Raises:
            AccessDenied: as `person`.
            MissingValue: no such care tag.
        """
        if tag and tag not in CARE:
            raise MissingValue(f"there is no care tag {tag[:40]!r}; there are {', '.join(CARE)}", "care")
        prefix = reach(actor, "person.read")
        place = _place(area, WHOLE if prefix is None else prefix or WHOLE)
        self._allow(actor, "person.read", place, place, "")
        keys = self._tables.page("" if place == WHOLE else place, tag, after, limit)
        refs = [key.split(" ")[1] for key in keys]
        self._look(actor, f"person-list {tag}".strip(), refs or [place], "")
        shown = self._shown(self._tables.persons(refs), False, day)
        order = {ref: n for n, ref in enumerate(refs)}
        return tuple(sorted(shown, key=lambda s: order[s.ref])), keys[-1] if len(keys) == limit else ""

    def sums(self, actor: Actor, area: str, day: str) -> Sums:
        """Figures of a jurisdiction: nobody in particular.

        Raises:
            AccessDenied: by role or jurisdiction.
        """
        place = _place(area, actor.place)
        self._allow(actor, "person.read", place, "figures", "")
        return self._tables.sums("" if place == WHOLE else place, day)

    def visits(self, actor: Actor, ref: str) -> tuple[VisitShown, ...]:
        """Visits to a person, the latest first.

        Raises:
            AccessDenied, NoSuchThing: as `person`.
        """
        self._entry(actor, "person.read", ref)
        self._look(actor, "visits", [ref], "")
        rows = self._tables.visits(ref)
        plains = self._vault.open_many([entry_of(PERSON, ref)] * len(rows), [row.sealed for row in rows])
        return tuple(
            VisitShown(
                visit=row.visit,
                kind=row.kind,
                org=row.org,
                who=row.who,
                time_us=row.time_us,
                words=None if plain is None else plain.decode(),
            )
            for row, plain in zip(rows, plains, strict=True)
        )

    def export(self, actor: Actor, path: Path, area: str, purpose: str) -> int:
        """Persons below a jurisdiction in full, as CSV for the actor alone (mode 600); answers how many.

        Raises:
            AccessDenied: by role or jurisdiction.
            MissingValue: no purpose was stated.
            ConfigError: the file cannot be written.
        """
        if len(purpose.strip()) < 3:
            raise MissingValue("an export of persons needs a purpose", "purpose")
        place = _place(area, actor.place)
        self._allow(actor, "person.export", place, place, purpose)
        self._look(actor, "person-export", [place], purpose, plain=True)

        def rows() -> Iterator[list[str]]:
            after = ""
            while keys := self._tables.page("" if place == WHOLE else place, "", after, 1000):
                after = keys[-1]
                for one in self._shown(self._tables.persons([k.split(" ")[1] for k in keys]), True, ""):
                    if one.full is not None:
                        values = msgspec.structs.asdict(one.full)
                        values |= {"home": one.home, "address": one.address, "care": ";".join(one.care)}
                        yield [str(values[name]) for name in _EXPORTED]

        return write_csv(path, _EXPORTED, rows())

    # -- the parts

    def _entry(self, actor: Actor, action: str, ref: str) -> PersonEntry:
        entry = self._tables.person(ref)
        if entry is None or not decide(actor, "person.read", entry.area).allowed:
            self._refuse(actor, action, entry.area if entry else WHOLE, ref, "")
            raise NoSuchThing(f"there is no person {ref[:40]!r} in your jurisdiction")
        self._allow(actor, action, entry.area, ref, "")
        return entry

    def _shown(self, entries: Sequence[PersonEntry], full: bool, day: str) -> list[Shown]:
        sealed = [entry.sealed for entry in entries]
        plains = self._vault.open_many([entry_of(PERSON, entry.ref) for entry in entries], sealed)
        homes = self._tables.homes_of(list({entry.home for entry in entries if entry.home}))
        found = []
        for entry, plain in zip(entries, plains, strict=True):
            doc = _doc(plain) if plain is not None else None
            found.append(
                Shown(
                    ref=entry.ref,
                    area=entry.area,
                    home=entry.home,
                    address=homes[entry.home].address if entry.home in homes else "",
                    version=entry.version,
                    standing=standing(entry.facts, day or "9999-12-30"),
                    facts=entry.facts,
                    care=entry.care,
                    masked=None if full or doc is None else mask(doc),
                    full=doc if full else None,
                )
            )
        return found

    def _allow(self, actor: Actor, action: str, place: str, object: str, purpose: str) -> None:
        decision = decide(actor, action, place)
        if not decision.allowed:
            self._refuse(actor, action, place, object, purpose)
            raise AccessDenied(decision.why)

    def _refuse(self, actor: Actor, action: str, place: str, object: str, purpose: str) -> None:
        self._note(
            Access(
                who=actor.who, what=action, object=object[:64], plain=False, purpose=purpose, allowed=False
            )
        )

    def _look(
        self, actor: Actor, what: str, objects: Sequence[str], purpose: str, plain: bool = False
    ) -> None:
        """One event for each person that is about to be shown, durable when this returns."""
        for one in objects:
            self._note(
                Access(who=actor.who, what=what, object=one[:64], plain=plain, purpose=purpose, allowed=True)
            )
        self._journal.flush()

    def _deed(self, actor: Actor, what: str, object: str) -> None:
        self._note(
            Access(who=actor.who, what=what, object=object[:64], plain=False, purpose="", allowed=True)
        )


def _place(area: str, own: str) -> str:
    """What is asked for. Everything is asked for by `*`, and that is no more than one's own jurisdiction."""
    return own if area in ("", WHOLE) else area
