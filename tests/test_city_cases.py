"""Cases by the packs' tables: every row of the table, and whatever people try in whatever order."""

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from city.cases import stepped
from city.clocks import HOUR_US
from city.packs import SHIPPED, Pack, Step, allowed, step
from city.rights import ROLES
from city.scenario import ALL, LEVELS, SYSTEM
from events.errors import IllegalTransition, MissingValue
from tests.packworks import (
    CHINA,
    DAY_US,
    MONDAY,
    PACKS,
    begun,
    ticked,
)

EVERYBODY = (*ROLES, SYSTEM)
VERDICTS = ("solved", "unsolved", "satisfied", "dissatisfied", "called-back")


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
