"""Ratings of property companies: red, orange, yellow, black, for each company on each estate.

    score = base + merits (at most so many) - demerits

Points come from cases, by the rules of a file, and from what people enter (inspections, campaigns). Those
that grow with the number of homes are set to so many households. An entry expires, can be traced to its case,
and can be contested; one that is withdrawn counts no more. Which colour is how good is the file's to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from city.cases import Case
from city.estates import Estate
from city.facts import holds
from events.civic import Rated
from events.errors import IllegalTransition, MissingValue
from events.ids import event_id

DAY_US = 86_400_000_000
State = Literal["entered", "contested", "upheld", "withdrawn"]

FOLLOWS: Mapping[State, tuple[State, ...]] = {
    "entered": ("contested", "withdrawn"),
    "contested": ("upheld", "withdrawn"),
    "upheld": ("contested", "withdrawn"),
    "withdrawn": (),
}
"""What may become of an entry."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Base of what the file has."""


class Colour(Part, frozen=True, kw_only=True):
    """One of the colours."""

    id: str
    title: str
    title_zh: str = ""
    at_least: float
    """Score from which it is given; the last one's does not count."""


class Rule(Part, frozen=True, kw_only=True):
    """Points for cases on an estate of which all the facts hold."""

    id: str
    title: str
    title_zh: str = ""
    facts: tuple[str, ...]
    """See `city.facts.holds`."""
    scenario: str = "matter"
    category: str = ""
    """Beginning of the category's code."""
    held: bool = True
    """Only cases that the company itself held or helped with."""
    points: float
    """Above 0: merit; below: demerit."""
    days: int = 365
    """It expires so long after the case was opened."""
    by_households: bool = True


class Category(Part, frozen=True, kw_only=True):
    """Something that people enter points for."""

    id: str
    title: str
    title_zh: str = ""
    least: float
    most: float
    """Bounds of the points."""
    days: int = 365
    by_households: bool = False


class RatingRules(Part, frozen=True, kw_only=True):
    """The file."""

    source: str
    """Where its figures are from."""
    base: float = 80.0
    merit_at_most: float = 40.0
    households: float = 500.0
    """What is set to households counts as on an estate of so many."""
    small: float = 100.0
    """An estate with fewer households counts as one with so many."""
    contested_counts: bool = True
    """Whether an entry counts while it is contested."""
    colours: tuple[Colour, ...]
    """The best one first."""
    rules: tuple[Rule, ...] = ()
    categories: tuple[Category, ...] = ()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A merit or demerit."""

    entry: str
    state: State
    company: str
    estate: str
    category: str
    """Id of the rule or category."""
    points: float
    since_us: int
    expires_us: int
    cause: str = ""
    """The case or inspection that it comes from."""
    note: str = ""
    who: str = ""
    """Who said the last of it; '': nobody, it follows from its case."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in a score."""

    entry: Entry
    points: float
    """As it counts: set to households; 0: it does not count."""
    why: str
    """How it came to that, in words."""


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """A company on an estate, at one time."""

    company: str
    estate: str
    name: str
    area: str
    households: float
    base: float
    merit: float
    """Sum of the merits, as far as it counts."""
    demerit: float
    """Sum of the demerits, above 0."""
    score: float
    colour: str
    points: tuple[Point, ...]
    """All entries that have not expired, the heaviest first."""


def derived(rules: RatingRules, estate: Estate, cases: Iterable[Case]) -> list[Entry]:
    """The entries that follow from cases on the estate, in the company's time, by the rules."""
    return [
        _entry(rule, estate, case)
        for case in cases
        if case.estate == estate.id and estate.company and estate.under_contract(case.opened_us)
        for rule in rules.rules
        if _fits(rule, estate, case)
    ]


def entry_id(rule: str, estate: str, company: str, case: str) -> str:
    """Id of the entry that follows from a case by a rule."""
    return event_id("rated", rule, estate, company, case)


def merged(found: Iterable[Entry], said: Iterable[Entry]) -> list[Entry]:
    """What follows from cases, and what people said: that takes the place of the same entry."""
    entries = {entry.entry: entry for entry in found}
    return list((entries | {entry.entry: entry for entry in said}).values())


def rated(rules: RatingRules, estate: Estate, entries: Sequence[Entry], now_us: int) -> Rating:
    """The rating of the estate's company by its own entries; others and expired ones are left out."""
    points = [
        _point(rules, estate, entry)
        for entry in entries
        if entry.company == estate.company
        and entry.estate == estate.id
        and entry.since_us <= now_us < entry.expires_us
    ]
    merit = min(rules.merit_at_most, sum(p.points for p in points if p.points > 0))
    demerit = -sum(p.points for p in points if p.points < 0)
    score = round(rules.base + merit - demerit, 2)
    return Rating(
        company=estate.company,
        estate=estate.id,
        name=estate.name,
        area=estate.area,
        households=estate.households,
        base=rules.base,
        merit=round(merit, 2),
        demerit=round(demerit, 2),
        score=score,
        colour=colour(rules, score),
        points=tuple(sorted(points, key=lambda p: (-abs(p.points), p.entry.entry))),
    )


def colour(rules: RatingRules, score: float) -> str:
    """The colour of a score."""
    return next((c.id for c in rules.colours[:-1] if score >= c.at_least), rules.colours[-1].id)


def entered(rules: RatingRules, entry: Entry) -> Rated:
    """A new entry by a person.

    Raises:
        MissingValue: no such category, or points out of its bounds.
    """
    category = next((c for c in rules.categories if c.id == entry.category), None)
    if category is None:
        known = ", ".join(c.id for c in rules.categories)
        raise MissingValue(f"category {entry.category[:40]!r} is none; one of {known}", "category")
    if not category.least <= entry.points <= category.most:
        raise MissingValue(f"points of {category.id} are {category.least:g} to {category.most:g}", "points")
    expires_us = entry.expires_us or entry.since_us + category.days * DAY_US
    return said(msgspec.structs.replace(entry, state="entered", expires_us=expires_us))


def follows(entry: Entry, state: State, who: str, note: str) -> Rated:
    """What becomes of an entry.

    Raises:
        IllegalTransition: not from its state; or a contest would be decided by who contests.
        MissingValue: without a reason.
    """
    if entry.state == "contested" and who == entry.who:
        raise IllegalTransition(f"{who} contests entry {entry.entry}; somebody else has to decide")
    if state not in FOLLOWS[entry.state]:
        may = ", ".join(FOLLOWS[entry.state]) or "nothing more"
        raise IllegalTransition(f"entry {entry.entry} is {entry.state}; it can become {may}, not {state}")
    if not note.strip():
        raise MissingValue("say why (note)", "note")
    return said(msgspec.structs.replace(entry, state=state, who=who, note=note))


def said(entry: Entry) -> Rated:
    """The event of an entry as it is."""
    return Rated(**{name: getattr(entry, name) for name in Entry.__struct_fields__})


# -- parts


def _fits(rule: Rule, estate: Estate, case: Case) -> bool:
    return (
        rule.scenario == case.scenario
        and case.category.startswith(rule.category)
        and (not rule.held or estate.company in (case.holder, *case.helpers))
        and all(holds(case, fact) for fact in rule.facts)
    )


def _entry(rule: Rule, estate: Estate, case: Case) -> Entry:
    return Entry(
        entry=entry_id(rule.id, estate.id, estate.company, case.case),
        state="entered",
        company=estate.company,
        estate=estate.id,
        category=rule.id,
        points=rule.points,
        since_us=case.opened_us,
        expires_us=case.opened_us + rule.days * DAY_US,
        cause=case.case,
    )


def _point(rules: RatingRules, estate: Estate, entry: Entry) -> Point:
    if entry.state == "withdrawn" or (entry.state == "contested" and not rules.contested_counts):
        return Point(entry=entry, points=0.0, why=f"{entry.state}: it does not count")
    if not _by_households(rules, entry.category) or not estate.households:
        why = "as it is" if estate.households else "as it is: the households of the estate are not known"
        return Point(entry=entry, points=entry.points, why=why)
    homes = max(estate.households, rules.small)
    points = entry.points * rules.households / homes
    why = f"{entry.points:g} x {rules.households:g} / {homes:g} households"
    return Point(entry=entry, points=round(points, 4), why=why)


def _by_households(rules: RatingRules, category: str) -> bool:
    kinds: tuple[Rule | Category, ...] = (*rules.rules, *rules.categories)
    return next((kind.by_households for kind in kinds if kind.id == category), False)
