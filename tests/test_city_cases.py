"""Cases by the packs' tables: every row of the table, and whatever people try in whatever order."""

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from city import calendars
from city.cases import Case, opened, stepped
from city.clocks import HOUR_US
from city.escalation import next_step
from city.packs import SHIPPED, Opening, Pack, Step, allowed, open_case, shipped, step
from city.rights import ROLES
from city.scenario import ALL, LEVELS, SYSTEM
from events.civic import CaseOpened, CaseStepped
from events.errors import IllegalTransition, MissingValue

PACKS = shipped()
CHINA = calendars.shipped()
MONDAY = 1_772_416_800_000_000
"""2026-03-02 10:00 in Shanghai."""
DAY_US = 24 * HOUR_US
EVERYBODY = (*ROLES, SYSTEM)
VERDICTS = ("solved", "unsolved", "satisfied", "dissatisfied", "called-back")


def begun(pack: Pack, now_us: int = MONDAY, **more: Any) -> Case:
    """A case of the pack, opened by the first role that may."""
    request = Opening(
        **({"category": "0203", "role": pack.opening.roles[0], "who": "reporter", "area": "370481001"} | more)
    )
    data = open_case(pack, request, now_us, CHINA)
    return opened("case-1", now_us, msgspec.json.decode(msgspec.json.encode(data), type=CaseOpened))


def after(pack: Pack, case: Case, now_us: int = MONDAY, **more: Any) -> Case:
    """The case after a step, as it comes out of the journal."""
    data = step(pack, case, Step(**more), now_us, CHINA)
    read = msgspec.json.decode(msgspec.json.encode(data), type=CaseStepped)
    return stepped(case, case.version + 1, now_us, read)


def along(pack: Pack, case: Case, *steps: str, now_us: int = MONDAY) -> Case:
    """The case after steps like `dispatch dispatcher holder=a`; who takes one is called like the role."""
    for text in steps:
        action, role, *values = text.split(" ")
        said: dict[str, Any] = dict(value.split("=") for value in values)
        if "marks" in said:
            said["marks"] = tuple(said["marks"].split(","))
        if "helpers" in said:
            said["helpers"] = tuple(said["helpers"].split(","))
        role = {"worker": "grid worker"}.get(role, role)
        case = after(pack, case, now_us, **({"action": action, "role": role, "who": role} | said))
    return case


def clock(case: Case, name: str) -> Any:
    return next(d for d in case.deadlines if d.name == name)


# -- every row


def full(pack: Pack, name: str, **more: Any) -> Step:
    """A step that brings all that its action asks for, and nothing else."""
    row = pack.action(name)
    assert row is not None
    values: dict[str, Any] = {
        "note": "because",
        "approver": "the head",
        "other": "case-2",
        "holder": "org-2",
        "helpers": ("org-3",),
        "level": "city",
        "area": "370481001002",
        "place": (117.1, 35.0),
        "category": "0301",
        "amount": 2.0,
        "marks": row.choose[0][:1] if row.choose else (),
        "sealed": "objects/x",
    }
    brought = {need: values[need] for need in row.needs if need != "due"}
    if "due" in row.needs:
        brought["due_us"] = MONDAY + DAY_US
    return Step(**({"action": name, "who": "somebody"} | brought | more))


@pytest.mark.parametrize("id", sorted(PACKS))
def test_the_table_is_what_the_file_says(id: str) -> None:
    """Every state x action x role, against the file as another reader reads it."""
    pack = PACKS[id]
    file = tomllib.loads((SHIPPED / f"{id}.toml").read_text())
    rows = {row["name"]: row for row in file["actions"]}
    tried = taken = 0
    for state in file["states"]:
        case = msgspec.structs.replace(
            begun(pack, detail={"kind": "wish", "back": pack.initial}),
            state=state,
            level="community",
            channel="upstream",
            marks=("extension-asked", "true"),
        )
        for name, row in rows.items():
            if row.get("where", {}).get("kind") == ["council"]:
                case = msgspec.structs.replace(case, detail=case.detail | {"kind": "council"})
            told = {"clock": case.deadlines[0].name} if row.get("tells") else {}
            for role in EVERYBODY:
                request = full(pack, name, role=role, detail=told)
                may = state in row["from"] and role in row["roles"]
                if row.get("level") == "down":
                    request = msgspec.structs.replace(request, level="")
                tried += 1
                try:
                    data = step(pack, case, request, MONDAY, CHINA)
                except IllegalTransition:
                    assert not may, (state, name, role)
                    continue
                taken += 1
                assert may, (state, name, role)
                to = {"=": state, "<": pack.initial}.get(row["to"], row["to"])
                assert (data.was, data.state, data.action, data.role) == (state, to, name, role)
                assert data.final == file["states"][to].get("final", False)
                assert name in [a.name for a in allowed(pack, case, role)]
    assert taken > 40
    assert tried > 5 * taken


@pytest.mark.parametrize("id", sorted(PACKS))
def test_what_a_row_asks_for_is_missed_and_what_it_does_not_is_refused(id: str) -> None:
    pack = PACKS[id]
    for action in pack.actions:
        case = msgspec.structs.replace(
            begun(pack, detail={"kind": "wish", "back": pack.initial}),
            state=action.from_[0],
            level="community",
            channel="upstream",
            marks=action.when,
        )
        if "council" in action.where.get("kind", ()):
            case = msgspec.structs.replace(case, detail=case.detail | {"kind": "council"})
        told = {"clock": case.deadlines[0].name} if action.tells else {}
        request = full(pack, action.name, role=action.roles[0], detail=told)
        step(pack, case, request, MONDAY, CHINA)
        for need in action.needs:
            field = "due_us" if need == "due" else need
            empty: Any = {"place": None, "amount": 0.0, "due_us": 0, "marks": (), "helpers": ()}.get(
                field, ""
            )
            with pytest.raises(MissingValue) as caught:
                step(pack, case, msgspec.structs.replace(request, **{field: empty}), MONDAY, CHINA)
            assert caught.value.field == need
            assert action.name in str(caught.value)
        if "approver" not in action.needs:
            with pytest.raises(MissingValue, match="leave it out"):
                step(pack, case, msgspec.structs.replace(request, approver="x"), MONDAY, CHINA)


# -- how matters really move

MATTER, VIDEO, APPEAL = PACKS["matter"], PACKS["video"], PACKS["appeal"]


def test_a_matter_the_plain_way() -> None:
    case = along(
        MATTER,
        begun(MATTER),
        "accept clerk",
        "dispatch dispatcher holder=sanitation",
        "sign handler",
        "handle handler note=swept",
        "verify checker",
        "close clerk",
        "call-back checker marks=solved,dissatisfied",
    )
    assert (case.state, case.final, case.holder, case.handled_by) == ("closed", True, "sanitation", "handler")
    assert case.marks == ("called-back", "dissatisfied", "solved")
    assert not any(d.runs for d in case.deadlines)
    assert case.attention_us == 0


def test_who_checks_is_not_who_handled() -> None:
    case = along(MATTER, begun(MATTER), "accept worker", "dispatch worker holder=grid", "sign worker")
    case = along(MATTER, case, "handle worker note=swept")
    with pytest.raises(IllegalTransition, match="somebody else"):
        along(MATTER, case, "verify worker")
    with pytest.raises(IllegalTransition, match="somebody else"):
        along(MATTER, along(MATTER, case, "verify checker"), "close worker")
    names = [a.name for a in allowed(MATTER, case, "grid worker", who="grid worker")]
    assert "verify" not in names
    assert "verify" in [a.name for a in allowed(MATTER, case, "grid worker", who="another")]


@pytest.mark.parametrize("action", ["park", "extend", "return-request"])
def test_what_needs_an_approver_needs_another_person(action: str) -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    role = "handler" if action == "return-request" else "supervisor"
    amount = " amount=2" if action == "extend" else ""
    with pytest.raises(IllegalTransition, match="approver"):
        after(MATTER, case, **_named(f"{action} {role} note=x approver={role}{amount}"))
    done = after(MATTER, case, **_named(f"{action} {role} note=x approver=mayor{amount}"))
    assert done.version == case.version + 1


def _named(text: str) -> dict[str, Any]:
    action, role, *values = text.split(" ")
    said: dict[str, Any] = dict(value.split("=") for value in values)
    if "amount" in said:
        said["amount"] = float(said["amount"])
    return {"action": action, "role": role, "who": role} | said


def test_parking_stops_the_clocks_and_goes_back_to_where_it_was() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    due = clock(case, "handle").due_us
    case = along(MATTER, case, "park supervisor note=winter approver=mayor", now_us=MONDAY + HOUR_US)
    assert (case.state, case.marks, clock(case, "handle").left) == ("parked", ("parked",), 5.0)
    assert not any(d.runs for d in case.deadlines)
    case = along(MATTER, case, "unpark supervisor", now_us=MONDAY + 7 * DAY_US)
    assert (case.state, case.marks) == ("handling", ())
    assert clock(case, "handle").due_us == due + 7 * DAY_US


def test_supervising_what_is_parked_does_not_lose_the_way_back() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    case = along(MATTER, case, "park supervisor note=x approver=mayor", "supervise supervisor note=hurry")
    assert along(MATTER, case, "unpark supervisor").state == "handling"


def test_an_order_that_came_back_has_its_handling_time_again() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads")
    case = along(MATTER, case, "return-request handler note=no approver=head", "return-grant dispatcher")
    assert not clock(case, "handle").runs
    later = MONDAY + 7 * DAY_US
    case = along(MATTER, case, "dispatch dispatcher holder=water", now_us=later)
    assert (clock(case, "handle").started_us, clock(case, "handle").runs) == (later, True)


def test_what_is_public_goes_by_the_packs_categories() -> None:
    rule = msgspec.structs.replace(MATTER.opening, public=("02", "0501"))
    pack = msgspec.structs.replace(MATTER, opening=rule)
    codes = ("0203", "0501", "0502")
    opened = [open_case(pack, Opening(category=c, role="clerk"), MONDAY, CHINA).public for c in codes]
    assert opened == [True, True, False]
    hidden = Opening(category="0203", role="clerk", public=False)
    assert not open_case(pack, hidden, MONDAY, CHINA).public


def test_an_extension_is_bounded_and_whole() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    ask = {"action": "extend", "role": "supervisor", "who": "s", "note": "rain", "approver": "mayor"}
    for amount in (0.5, 11.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MissingValue, match="amount"):
            after(MATTER, case, **ask, amount=amount)
    longer = after(MATTER, case, **ask, amount=5.0)
    assert clock(longer, "handle").due_us == clock(case, "handle").due_us + 7 * DAY_US
    assert longer.detail["amount"] == 5.0
    longer = after(MATTER, longer, **ask, amount=3.0)
    with pytest.raises(MissingValue, match="at most 2"):
        after(MATTER, longer, **ask, amount=3.0)
    assert after(MATTER, longer, **ask, amount=2.0).detail["extended"] == 10.0


def test_up_and_down_the_four_levels() -> None:
    case = along(MATTER, begun(MATTER), "accept worker")
    levels = [case.level]
    for role in ("worker", "dispatcher", "dispatcher"):
        case = along(MATTER, case, f"raise {role} note=not-ours")
        levels.append(case.level)
    assert levels == list(LEVELS)
    assert (case.state, case.holder) == ("accepted", "")
    with pytest.raises(IllegalTransition, match="no level above 'city'"):
        along(MATTER, case, "raise dispatcher note=up")
    case = along(MATTER, case, "lower dispatcher note=yours level=community")
    assert case.level == "community"
    with pytest.raises(IllegalTransition, match="goes down"):
        along(MATTER, case, "lower dispatcher note=yours level=town")


def test_joint_handling_keeps_its_helpers_until_it_goes_elsewhere() -> None:
    case = along(
        MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads helpers=water,power"
    )
    case = along(MATTER, case, "sign handler", "assist handler note=dug")
    assert (case.holder, case.helpers) == ("roads", ("water", "power"))
    case = along(MATTER, case, "return-request handler note=no approver=head", "return-grant dispatcher")
    assert (case.state, case.holder, case.helpers) == ("accepted", "", ())


def test_the_platforms_deadline_wins_and_parking_does_not_stop_it() -> None:
    due = MONDAY + DAY_US
    case = begun(MATTER, channel="upstream", due_us=due, role="system")
    case = along(MATTER, case, "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    assert clock(case, "handle").due_us == clock(case, "total").due_us == due
    case = along(MATTER, case, "park supervisor note=x approver=mayor")
    assert clock(case, "upstream").runs
    assert case.due_us == due
    case = after(
        MATTER, case, action="upstream-deadline", role="system", who="up", due_us=MONDAY + 3 * DAY_US
    )
    case = along(MATTER, case, "unpark supervisor", now_us=MONDAY + 2 * DAY_US)
    assert clock(case, "handle").due_us == MONDAY + 3 * DAY_US


def test_more_time_from_the_platform_gives_our_clocks_their_own_time_again() -> None:
    due = MONDAY + DAY_US
    case = begun(MATTER, channel="upstream", due_us=due, role="system")
    case = along(MATTER, case, "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    own = clock(along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads"), "handle")
    case, _ = ticked(MATTER, case, due)
    assert "overdue" in clock(case, "handle").told
    case = after(
        MATTER, case, due, action="upstream-deadline", role="system", who="up", due_us=due + 30 * DAY_US
    )
    assert (clock(case, "handle").due_us, clock(case, "handle").told) == (own.due_us, ())
    sooner = after(
        MATTER, case, due, action="upstream-deadline", role="system", who="up", due_us=due + HOUR_US
    )
    assert clock(sooner, "handle").due_us == due + HOUR_US


def test_the_platform_takes_back_refuses_and_wants_it_again() -> None:
    case = along(
        MATTER, begun(MATTER, channel="upstream", due_us=MONDAY + DAY_US, role="system"), "accept clerk"
    )
    asked = along(MATTER, case, "upstream-return dispatcher note=not-here approver=mayor")
    assert along(MATTER, asked, "upstream-return-granted system").state == "returned"
    case = along(MATTER, asked, "upstream-return-refused system")
    assert case.state == "accepted"
    case = along(MATTER, case, "dispatch dispatcher holder=roads", "sign handler", "handle handler note=x")
    case = along(MATTER, case, "verify checker", "close clerk")
    again = after(
        MATTER, case, action="upstream-redo", role="system", who="up", note="no", due_us=MONDAY + 9 * DAY_US
    )
    assert (again.state, again.final, again.closed_us) == ("handling", False, 0)
    assert clock(again, "upstream").due_us == MONDAY + 9 * DAY_US
    own = along(MATTER, begun(MATTER), "accept clerk")
    with pytest.raises(IllegalTransition, match="channel is upstream"):
        along(MATTER, own, "upstream-return dispatcher note=x approver=mayor")


def test_an_alert_is_judged_again_and_becomes_a_matter_only_if_it_is_true() -> None:
    case = begun(VIDEO, role="system")
    case = along(VIDEO, case, "acknowledge operator", "judge operator marks=false")
    with pytest.raises(IllegalTransition, match="only once it is true"):
        along(VIDEO, case, "become-matter operator other=case-2")
    case = along(VIDEO, case, "judge supervisor marks=true")
    assert case.marks == ("true",)
    case = along(VIDEO, case, "become-matter operator other=case-2")
    assert (case.state, case.final, case.other) == ("turned", True, "case-2")
    with pytest.raises(MissingValue, match="other case"):
        along(VIDEO, begun(VIDEO, role="system"), "judge operator marks=duplicate")
    with pytest.raises(IllegalTransition, match="itself"):
        along(VIDEO, begun(VIDEO, role="system"), "judge operator marks=duplicate other=case-1")


def test_a_duplicate_appeal_is_linked_and_called_back_like_the_first() -> None:
    case = along(APPEAL, begun(APPEAL), "place clerk", "link clerk other=case-2")
    assert (case.state, case.final, case.other) == ("linked", False, "case-2")
    case = along(APPEAL, case, "matter-closed system", "call-back checker marks=solved", "close clerk")
    assert (case.state, case.marks) == ("closed", ("called-back", "duplicate", "solved"))
    assert not any("delete" in action.name for action in APPEAL.actions)


def test_wishes_are_claimed_and_councils_resolve() -> None:
    wish = along(APPEAL, begun(APPEAL, detail={"kind": "wish"}), "place clerk")
    assert along(APPEAL, wish, "claim handler holder=team-7").holder == "team-7"
    with pytest.raises(IllegalTransition, match="kind is council"):
        along(APPEAL, wish, "resolve clerk note=yes")
    council = along(APPEAL, begun(APPEAL, detail={"kind": "council"}), "resolve clerk note=agreed")
    assert along(APPEAL, council, "become-matter clerk other=case-2").state == "in-work"


def test_an_appeal_without_a_place_is_not_placed() -> None:
    case = begun(APPEAL, area="")
    with pytest.raises(IllegalTransition, match="lies nowhere"):
        along(APPEAL, case, "place clerk")
    assert along(APPEAL, case, "place clerk area=370481001").area == "370481001"


@pytest.mark.parametrize(
    ("severity", "kind", "amount"),
    [("critical", "hours", 2), ("major", "hours", 24), ("minor", "working-days", 5)],
)
def test_deadlines_go_by_the_table(severity: Any, kind: str, amount: float) -> None:
    case = along(MATTER, begun(MATTER, severity=severity), "accept clerk", "dispatch dispatcher holder=roads")
    handle = clock(case, "handle")
    assert (handle.kind, handle.amount) == (kind, amount)
    assert bool(clock(case, "sign").warn_us) == (severity != "critical")  # its row says: no warning


def test_a_deadline_in_a_year_that_nobody_has_published_says_so() -> None:
    december = MONDAY + 301 * DAY_US  # 28 December 2026
    case = along(MATTER, begun(MATTER, december), "accept clerk", now_us=december)
    assert case.detail["unpublished"] == 2027


# -- what is due by itself


def ticked(pack: Pack, case: Case, now_us: int) -> tuple[Case, list[str]]:
    """The case after all that the timer has to do now."""
    taken: list[str] = []
    while (due := next_step(pack, case, now_us)) is not None:
        assert len(taken) < 20, taken
        case = stepped(case, case.version + 1, now_us, step(pack, case, due, now_us, CHINA))
        taken.append(due.action)
    return case, taken


def test_an_order_that_nobody_signs_for_is_warned_of_and_goes_up() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads")
    assert ticked(MATTER, case, MONDAY + HOUR_US)[1] == []
    case, taken = ticked(MATTER, case, clock(case, "sign").warn_us)
    assert (taken, case.state) == (["warn"], "dispatched")
    assert case.attention_us == clock(case, "sign").due_us
    case, taken = ticked(MATTER, case, clock(case, "sign").due_us)
    assert (taken, case.level, case.holder) == (["escalate"], "community", "roads")
    assert {"escalated", "overdue", "warned"} <= set(case.marks)


def test_at_the_highest_level_it_is_overdue_and_stays() -> None:
    case = along(MATTER, begun(MATTER, level="city"), "accept clerk", "dispatch dispatcher holder=roads")
    case, taken = ticked(MATTER, case, clock(case, "sign").due_us)
    assert (taken, case.level) == (["overdue"], "city")


def test_three_redos_go_up_whatever_the_time() -> None:
    case = along(MATTER, begun(MATTER), "accept clerk", "dispatch dispatcher holder=roads", "sign handler")
    for turn in (1, 2, 3):
        case = along(MATTER, case, "handle handler note=done", "redo checker note=not-done")
        case, taken = ticked(MATTER, case, MONDAY)
        assert taken == (["escalate-count"] if turn == 3 else [])
    assert case.level == "community"
    for turn in (4, 5, 6):
        case = along(MATTER, case, "handle handler note=done", "redo checker note=not-done")
        case, taken = ticked(MATTER, case, MONDAY)
        assert taken == (["escalate-count"] if turn == 6 else [])


def test_three_transfers_without_a_lead_go_up() -> None:
    case = along(MATTER, begun(MATTER, level="city"), "accept clerk", "dispatch dispatcher holder=a")
    case = along(MATTER, case, "transfer dispatcher holder=b note=x", "transfer dispatcher holder=c note=x")
    case = along(MATTER, case, "return-request handler note=x approver=head", "return-grant dispatcher")
    case, taken = ticked(MATTER, case, MONDAY)
    assert (taken, "supervised" in case.marks) == (["escalate-top"], True)


# -- whatever people try


class Cases(RuleBasedStateMachine):
    """People of all roles do anything; time passes; the timer runs. After each: what a case must be."""

    @initialize(
        id=st.sampled_from(sorted(PACKS)), upstream=st.booleans(), kind=st.sampled_from(["help", "wish"])
    )
    def begin(self, id: str, upstream: bool, kind: str) -> None:
        self.pack = PACKS[id]
        self.now = MONDAY
        more: dict[str, Any] = {"channel": "upstream", "due_us": MONDAY + 3 * DAY_US} if upstream else {}
        self.case = begun(self.pack, detail={"kind": kind}, **more)
        self.handled_by = ""

    @rule(
        data=st.data(),
        role=st.sampled_from(EVERYBODY),
        who=st.sampled_from(["a", "b"]),
        whole=st.booleans(),
        near=st.booleans(),
    )
    def attempt(self, data: st.DataObject, role: str, who: str, whole: bool, near: bool) -> None:
        names = [a.name for a in self.pack.actions if not near or self.case.state in a.from_]
        row = self.pack.action(data.draw(st.sampled_from(names or [self.pack.actions[0].name])))
        assert row is not None
        if near:
            role = data.draw(st.sampled_from(row.roles))
        told = {"clock": data.draw(st.sampled_from(sorted(self.pack.clocks)))} if row.tells else {}
        request = full(self.pack, row.name, role=role, who=who, detail=told)
        if not whole:
            request = data.draw(
                st.builds(Step, action=st.just(row.name), role=st.just(role), who=st.just(who))
            )
        before = msgspec.json.encode(self.case)
        try:
            done = step(self.pack, self.case, request, self.now, CHINA)
        except (IllegalTransition, MissingValue):
            assert msgspec.json.encode(self.case) == before
            return
        assert role in row.roles
        assert self.case.state in row.from_
        if "not-handler" in row.guards:
            assert who != self.handled_by
        if row.handles:
            self.handled_by = who
        self.case = stepped(self.case, self.case.version + 1, self.now, done)

    @rule(hours=st.sampled_from([1, 7, 24, 100, 1000]))
    def pass_time(self, hours: int) -> None:
        self.now += hours * HOUR_US

    @precondition(lambda self: not self.case.final)
    @rule()
    def tick(self) -> None:
        before = self.case.state
        self.case, _ = ticked(self.pack, self.case, self.now)
        assert self.case.state == before
        attention = self.case.attention_us
        assert attention == 0 or attention > self.now  # nothing is left unsaid, and nothing is said twice

    @invariant()
    def holds(self) -> None:
        case, state = self.case, self.pack.states[self.case.state]
        assert case.final == state.final
        assert (case.closed_us > 0) == case.final
        assert case.level in LEVELS
        assert case.handled_by == self.handled_by
        names = [d.name for d in case.deadlines]
        assert len(names) == len(set(names))
        running = [d for d in case.deadlines if d.runs]
        above = [d.due_us for d in running if self.pack.clocks[d.name].outranks]
        if case.final:
            assert not running
        assert all(d.due_us <= min(above, default=d.due_us) for d in running)
        if state.aside:
            assert not self.pack.states[str(case.detail["back"])].final
        stopping = any(ALL in a.stop and a.to == case.state for a in self.pack.actions)
        assert not stopping or all(self.pack.clocks[d.name].outranks for d in running)
        for group in (VERDICTS[:2], VERDICTS[2:4], ("true", "false", "duplicate", "exercise", "unwanted")):
            assert len(set(group) & set(case.marks)) <= 1


TestCases = Cases.TestCase
TestCases.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
