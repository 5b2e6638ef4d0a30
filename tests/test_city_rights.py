"""Who may do what, where: the whole table, role by action by place."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.features import Feature
from city.jurisdictions import Jurisdictions
from city.rights import ACTIONS, MAY, OWN, ROLES, SYSTEM, WHOLE, Actor, decide, reach, system, within

CITY, TOWN, COMMUNITY, GRID = "370481", "370481001", "370481001001", "370481001001-G03"
ELSEWHERE = "370481002003-G01"

# Written out here once more, by hand: what a role may do at all. A change in city/rights.py has to be made
# here, too.
READ = "map.read case.read statistics.read rating.read"
EXPECTED = {
    "viewer": READ,
    "operator": f"{READ} case.open case.step",
    "grid worker": f"{READ} case.open case.step case.words map.write person.read person.open",
    "handler": "map.read case.read rating.read case.step rating.contest",
    "clerk": f"{READ} case.open case.step case.words person.read person.open person.write",
    "dispatcher": f"{READ} case.open case.step case.words",
    "checker": f"{READ} case.open case.step case.words",
    "supervisor": f"{READ} case.open case.step case.words case.export rating.enter rating.decide person.read",
    "auditor": f"{READ} audit.read case.words case.export person.read",
    "administrator": f"{READ} map.write calendar.write case.export rating.enter rating.decide audit.read "
    "person.read person.open person.write person.erase person.export administer",
    "channel": "case.open case.read case.step map.read",
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_its_row_says_and_nothing_else(role: str) -> None:
    for action in ACTIONS:
        actor = Actor("w", role, WHOLE, "org")
        allowed = decide(actor, action, COMMUNITY, orgs=("org",)).allowed
        assert allowed == (action in EXPECTED[role].split()), (role, action)


def test_nobody_may_what_is_not_in_the_table() -> None:
    for role, action in product(
        (*ROLES, "", "root", SYSTEM), ("", "case", "case.delete", "*", "picture.plain")
    ):
        decision = decide(Actor("w", role, WHOLE, "o"), action, COMMUNITY, orgs=("o",))
        assert not decision.allowed
        assert "w" in decision.why


PLACES = (
    # place of the grant; whether it covers city, town, community, grid, elsewhere, unplaced, nowhere
    (WHOLE, (True, True, True, True, True, True, True)),
    (CITY, (True, True, True, True, True, False, True)),
    (TOWN, (False, True, True, True, False, False, True)),
    (COMMUNITY, (False, False, True, True, False, False, True)),
    (GRID, (False, False, False, True, False, False, True)),
    ("", (False,) * 7),
)


@pytest.mark.parametrize(("grant", "expected"), PLACES)
@pytest.mark.parametrize("role", [r for r in ROLES if "case.read" in EXPECTED[r].split()])
def test_a_jurisdiction_covers_what_begins_with_it(grant: str, expected: tuple[bool, ...], role: str) -> None:
    for place, allowed in zip((CITY, TOWN, COMMUNITY, GRID, ELSEWHERE, "", WHOLE), expected, strict=True):
        decision = decide(Actor("w", role, grant, "o"), "case.read", place, orgs=("o",))
        assert decision.allowed == allowed, (grant, place)


@pytest.mark.parametrize("role", sorted(OWN))
def test_some_roles_have_their_own_organisations_cases_alone(role: str) -> None:
    mine = Actor("w", role, CITY, "water")
    for action in ("case.read", "case.step"):
        assert decide(mine, action, GRID, orgs=("roads", "water")).allowed
        for orgs in ((), ("roads",), ("",)):
            assert not decide(mine, action, GRID, orgs=orgs).allowed
        assert not decide(Actor("w", role, CITY, ""), action, GRID, orgs=("", "water")).allowed


@pytest.mark.parametrize(
    ("place", "levels"),
    [
        (WHOLE, "grid community town city"),
        (CITY, "grid community town city"),
        (TOWN, "grid community town"),
        (COMMUNITY, "grid community"),
        (GRID, "grid community"),
    ],
)
def test_what_went_up_is_not_moved_from_below(place: str, levels: str) -> None:
    for role, level in product(("grid worker", "clerk", "dispatcher"), ("grid", "community", "town", "city")):
        actor = Actor("w", role, place, "unit")
        assert decide(actor, "case.step", GRID, level=level).allowed == (level in levels.split())
        assert decide(actor, "case.step", GRID, level=level, orgs=("unit",)).allowed  # it holds it
        assert decide(actor, "case.read", GRID, level=level).allowed


codes = st.text(alphabet="0123456789-G*", max_size=16)


@given(st.sampled_from((*ROLES, SYSTEM, "")), st.sampled_from(ACTIONS), codes, codes)
def test_what_is_allowed_lies_within_the_reach(role: str, action: str, grant: str, place: str) -> None:
    actor = Actor("w", role, grant, "o")
    prefix = reach(actor, action)
    allowed = decide(actor, action, place, orgs=("o",)).allowed
    if prefix is None:
        assert not allowed
    elif place != WHOLE:
        assert allowed == (place.startswith(prefix) and (grant == WHOLE or place != ""))
    assert not (allowed and action not in MAY[role])


@given(codes, codes)
def test_nothing_covers_what_it_is_not_the_beginning_of(grant: str, place: str) -> None:
    if within(grant, place) and WHOLE not in (grant, place):
        assert grant
        assert place.startswith(grant)


def test_what_acts_by_itself_reaches_everything_and_no_person() -> None:
    timer = system("timers")
    assert decide(timer, "case.step", "", level="city").allowed
    assert not any(decide(timer, action, GRID).allowed for action in ACTIONS if action.startswith("person."))


def test_no_grid_begins_as_another_one_does() -> None:
    """Or who has the right to grid G1 would have it to G10."""
    inside = Feature(id=f"{COMMUNITY}G1S", what="jurisdiction", level="dedicated", parent=f"{COMMUNITY}G1")
    codes = ("G1", "G2", "G10", "G11")
    grids = [
        Feature(id=f"{COMMUNITY}{code}", what="jurisdiction", level="grid", parent=COMMUNITY)
        for code in codes
    ]
    community = Feature(id=COMMUNITY, what="jurisdiction", level="community")
    flaws = {flaw.code: flaw.other for flaw in Jurisdictions([community, *grids, inside]).flaws()}
    assert flaws == {f"{COMMUNITY}G10": f"{COMMUNITY}G1"}  # without it, G11 is the next one
    assert not [*Jurisdictions([community, *grids[:2], inside]).flaws()]
