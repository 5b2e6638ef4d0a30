"""The contract of the city's store as tests. A database's own test class derives from `CityStoreContract`,
named `Test...`, and provides the fixture `where`.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from city.cases import Case, opened, stepped
from events.bus import Record
from events.civic import CaseOpened, CaseStepped
from events.errors import EventRefused
from events.events import AlertRaised, Event, Health
from storage.city.casequery import CaseQuery, StepRow
from storage.city.engine import writing
from storage.city.store import CityStore
from storage.objects import FolderObjects
from testbed.city_content import content, differences
from testbed.lives import Life as Process
from testbed.lives import die
from tests.contracts.city_examples import (
    AREA,
    DAY_US,
    EPOCH,
    HOUR_US,
    PLACE,
    Life,
    clock,
    whole_life,
)

LOG = "log"
Where = Path | str
Opened = Callable[[], CityStore]


def records(events: Sequence[Event], after: int = 0) -> list[Record]:
    return [Record(after + n, e) for n, e in enumerate(events, 1)]


def folded(events: Sequence[Event]) -> dict[str, Case]:
    """The cases that the events make, one after the other."""
    cases: dict[str, Case] = {}
    for e in events:
        if isinstance(e.data, CaseOpened):
            cases[e.key] = opened(e.key, e.time_us, e.data)
        elif isinstance(e.data, CaseStepped):
            cases[e.key] = stepped(cases[e.key], e.sequence, e.time_us, e.data)
    return cases


def some_lives(count: int = 12) -> list[Event]:
    """Cases of several towns and days, all going on at once."""
    dice = random.Random(3)
    lives = [
        list(whole_life(f"c{n:02d}", EPOCH + n * DAY_US, area=f"370481{n % 3:03d}001")) for n in range(count)
    ]
    lives = [life[: dice.randint(1, len(life))] for life in lives]
    return sorted((e for life in lives for e in life), key=lambda e: (e.time_us, e.id))


def alerts(count: int) -> list[Event]:
    data = AlertRaised(
        alert="a",
        rule="yard",
        kind="intrusion",
        severity="major",
        label="person",
        since_us=EPOCH,
        place=PLACE,
    )
    return [
        Event(
            id=f"alert{n}", source="/town/camera/gate", time_us=EPOCH + n, epoch=EPOCH, sequence=n, data=data
        )
        for n in range(count)
    ]


class CityStoreContract:
    @pytest.fixture
    def where(self) -> Where:
        raise NotImplementedError

    @pytest.fixture
    def make(self, where: Where, tmp_path: Path) -> Iterator[Opened]:
        """Opens the store; all are closed at the end."""
        made: list[CityStore] = []

        def make() -> CityStore:
            made.append(open_store(where, tmp_path))
            return made[-1]

        yield make
        for store in made:
            store.close()

    @pytest.fixture
    def store(self, make: Opened) -> CityStore:
        return make()

    # -- exactly once, in order, all or nothing

    def test_an_event_counts_once_however_often_it_comes(self, store: CityStore) -> None:
        sent = list(whole_life("c1"))
        assert store.apply(LOG, records(sent)) == 6
        assert store.apply(LOG, records(sent)) == 0, "passed over by their offsets"
        assert store.apply(LOG, records(sent, after=10)) == 6, "looked at: repeated under other offsets"
        assert store.apply("another log", records(sent)) == 6
        assert store.cases.case("c1") == folded(sent)["c1"]
        assert [row.opened for row in store.cases.closure("matter", "2025-11-01", "2025-12-31", "town")] == [
            1
        ]
        assert len(store.cases.steps("c1")) == 6
        assert (store.offset(LOG), store.offset("another log"), store.offset("none")) == (16, 6, 0)

    def test_what_others_are_for_is_passed_over(self, store: CityStore) -> None:
        health = Event(
            id="h", source="/town/box/1", time_us=EPOCH, epoch=1, sequence=0,
            data=Health(what="disk", state="raised", message="full"),
        )  # fmt: skip
        assert store.apply(LOG, records([health])) == 0
        assert store.offset(LOG) == 1
        assert store.apply(LOG, []) == 0

    def test_offset_and_changes_outlive_a_restart(self, store: CityStore, make: Opened) -> None:
        sent = list(whole_life("c1"))
        store.apply(LOG, records(sent[:3], after=6))
        store.close()
        again = make()
        assert again.offset(LOG) == 9
        again.apply(LOG, records(sent, after=6))
        assert again.cases.case("c1") == folded(sent)["c1"]

    @pytest.mark.parametrize("size", [1, 7, 1000])
    def test_batches_of_any_size_give_the_same(self, store: CityStore, where: Where, size: int) -> None:
        sent = some_lives()
        mixed = [e for pair in zip(sent, alerts(len(sent)), strict=True) for e in pair]
        sent_in = records(mixed)
        for n in range(0, len(sent_in), size):
            store.apply(LOG, sent_in[max(n - 2, 0) : n + size])
        cases = folded(sent)
        assert store.cases.cases(list(cases)) == cases
        for id_ in cases:
            own = [e for e in sent if e.key == id_]
            kept = store.cases.steps(id_)
            assert [(step.version, step.time_us, step.data) for step in kept] == [
                (e.sequence, e.time_us, e.data) for e in own
            ]
        found = store.cases.page(CaseQuery(), limit=100).cases
        assert list(found) == sorted(cases.values(), key=lambda c: (-c.opened_us, c.case))

    def test_an_event_that_does_not_follow_is_refused_by_name_and_changes_nothing(
        self, store: CityStore
    ) -> None:
        good, life = list(whole_life("c1")), Life("c2")
        first, bad = life.open(), life.step("accept", state="accepted")
        bad = msgspec.structs.replace(bad, sequence=2)
        good = [first, *good]
        with pytest.raises(EventRefused, match=r"step 2 from 'reported' does not follow step 0") as refused:
            store.apply(LOG, records([*good, bad]))
        assert (refused.value.log, refused.value.offset) == (LOG, 8)
        assert (store.offset(LOG), store.cases.case("c1")) == (0, None)
        assert store.apply(LOG, records(good)) == 7
        other = Life("c1")
        other.version, other.holds["state"] = 6, "handled"
        with pytest.raises(EventRefused, match="does not follow"):
            store.apply(LOG, records([other.step("verify", state="verified")], after=7))
        store.stand(LOG, 8)
        assert store.offset(LOG) == 8

    @pytest.mark.parametrize("by", ["events", "batch"])
    def test_steps_wait_for_a_case_that_comes_by_another_log(self, store: CityStore, by: str) -> None:
        first, *steps = whole_life("c1")
        other = Life("c2")
        other.open()
        store.apply(LOG, records([other.step("note"), *steps[:2]]))
        store.apply(LOG, records([*steps[1:3]], after=5))
        assert (store.cases.case("c1"), store.cases.steps("c1"), store.cases.waiting()) == (None, [], 4)
        if by == "events":
            store.apply("imports", records([first]))
        else:
            with writing(store.cases._engine) as connection:
                store.cases.bulk(connection, [folded([first])["c1"]])
        assert store.cases.case("c1") == folded([first, *steps[:3]])["c1"]
        store.apply(LOG, records(steps, after=9))
        assert store.cases.case("c1") == folded([first, *steps])["c1"]
        assert [step.version for step in store.cases.steps("c1")][-5:] == [1, 2, 3, 4, 5]
        assert store.cases.waiting() == 1, "of the case that never came"
        rows = store.cases.closure("matter", "2025-11-01", "2025-12-31", "town")
        assert [(row.opened, row.closed) for row in rows] == [(1, 1)]

    def test_values_that_no_database_holds_are_refused_and_the_rest_is_applied(
        self, store: CityStore
    ) -> None:
        far = Life("c2", at_us=1 << 70)
        sent = [*whole_life("c1"), far.open()]
        with pytest.raises(EventRefused, match="c2") as refused:
            store.apply(LOG, records(sent))
        assert refused.value.offset == 7
        assert store.apply(LOG, records(sent[:-1])) == 6

    def test_characters_that_a_database_may_not_hold(self, store: CityStore) -> None:
        odd = "tab\t, new\nline, \\N, \\., nul\0, \"quotes', 滕州 \U0001f600"
        life = Life("c1", title=odd, holder=odd, channel=odd)
        sent = [life.open(), life.step("note", note=odd, helpers=(odd, "b"), marks=(odd,))]
        store.apply(LOG, records(sent))
        assert store.cases.case("c1") == folded(sent)["c1"]
        assert store.cases.steps("c1")[1].data == sent[1].data

    def test_killed_at_any_place_it_goes_on_and_ends_the_same(self, where: Where, tmp_path: Path) -> None:
        sent, dice = records(some_lives(30)), random.Random(11)
        for _ in range(4):
            places = dice.randint(3, 25)

            def life(_: Any, places: int = places) -> None:
                store = open_store(where, tmp_path)
                store.cases._engine.dialect.do_execute = _dying(store, places)  # type: ignore[method-assign]
                _project(store, sent)

            killed = Process(life)
            with pytest.raises(RuntimeError, match="-9"):
                killed.wait()
        store = open_store(where, tmp_path)
        _project(store, sent)
        cases = folded([r.event for r in sent])
        assert store.cases.cases(list(cases)) == cases
        rows = store.cases.closure("matter", "2025-11-01", "2026-12-31", "town")
        assert sum(row.opened for row in rows) == len(cases)
        store.close()

    def test_two_projectors_on_one_log_at_once(self, make: Opened, where: Where) -> None:
        sent = records(some_lives(40))
        stores = [make() for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            done = sum(pool.map(lambda store: _project(store, sent), stores))
        assert done == len(sent), "none was passed over by all, none applied by two"
        one = stores[0]
        cases = folded([r.event for r in sent])
        assert one.cases.cases(list(cases)) == cases
        rows = one.cases.closure("matter", "2025-11-01", "2026-12-31", "scenario")
        assert [row.opened for row in rows] == [len(cases)]

    def test_two_projectors_on_two_logs_at_once(self, make: Opened) -> None:
        by_case = [
            [e for e in some_lives(40) if (int(e.key[1:]) + half) % 2 == 0] for half in (0, 1)
        ]  # as Kafka would share them
        stores = [make(), make()]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda n: _project(stores[n], records(by_case[n]), f"log{n}"), (0, 1)))
        cases = folded([*by_case[0], *by_case[1]])
        assert stores[0].cases.cases(list(cases)) == cases
        rows = stores[0].cases.closure("matter", "2025-11-01", "2026-12-31", "scenario")
        assert [row.opened for row in rows] == [len(cases)]

    def test_whoever_reads_is_not_in_the_way(self, make: Opened) -> None:
        store, other = make(), make()
        with store.cases._engine.connect() as reading, reading.begin():
            reading.exec_driver_sql("SELECT count(*) FROM cases")
            other.apply(LOG, records(list(whole_life("c1"))))
            assert reading.exec_driver_sql("SELECT count(*) FROM cases").scalar() in (0, 1)
        assert store.cases.case("c1") is not None

    # -- what is asked of cases

    def test_my_overdue_matters(self, store: CityStore) -> None:
        sent = []
        for n in range(7):
            life = Life(f"c{n}", EPOCH + n, area=AREA if n % 2 else "370481002001")
            sent += [
                life.open(),
                life.step(
                    "dispatch",
                    state="dispatched",
                    holder="water" if n < 5 else "roads",
                    helpers=("roads",) if n == 0 else (),
                    deadlines=(clock(at_us=EPOCH, hours=10 - n),),
                ),
            ]
        store.apply(LOG, records(sent))
        late = CaseQuery(holder="water", overdue_at_us=EPOCH + 9 * HOUR_US, order="due")
        first = store.cases.page(late, limit=2)
        rest = store.cases.page(late, first.after, limit=2)
        assert [c.case for c in (*first.cases, *rest.cases)] == ["c4", "c3", "c2"], "c1 is due, not over"
        assert rest.after == ""
        assert [c.case for c in store.cases.page(CaseQuery(holder="roads")).cases] == ["c6", "c5", "c0"]
        assert store.cases.count(CaseQuery(holder="roads", open=True)) == 3
        town = CaseQuery(area=AREA[:9], overdue_at_us=EPOCH + 9 * HOUR_US)
        assert [c.case for c in store.cases.page(town).cases] == ["c5", "c3"]
        assert [(r.level, r.overdue, r.open) for r in store.cases.overdue(EPOCH + 9 * HOUR_US)] == [
            ("grid", 5, 7)
        ]
        assert [(r.overdue, r.open) for r in store.cases.overdue(EPOCH + 9 * HOUR_US, AREA)] == [(2, 3)]

    def test_parked_and_closed_cases_are_not_overdue(self, store: CityStore) -> None:
        life = Life("c1")
        sent = [life.open(), life.step("dispatch", holder="water", deadlines=(clock(),))]
        parked = life.step("park", deadlines=(clock(stopped_us=life.at_us, left=5.0),), marks=("parked",))
        done = life.step("close", final=True, state="closed")
        late = CaseQuery(holder="water", overdue_at_us=EPOCH + 9 * DAY_US)
        store.apply(LOG, records(sent))
        assert store.cases.count(late) == 1
        store.apply(LOG, records([parked], after=2))
        assert store.cases.count(late) == 0
        assert store.cases.count(CaseQuery(holder="water", open=True)) == 1
        store.apply(LOG, records([done], after=3))
        assert store.cases.count(CaseQuery(holder="water", open=True)) == 0
        assert store.cases.count(CaseQuery(holder="water", open=False)) == 1
        assert [c.case for c in store.cases.findings("parked-then-closed").cases] == ["c1"]

    def test_what_timers_have_to_tell(self, store: CityStore) -> None:
        early, late = Life("c1"), Life("c2")
        warned = clock(hours=10.0, warn_us=EPOCH + HOUR_US)
        store.apply(LOG, records([early.open(), early.step("dispatch", deadlines=(warned,)), late.open()]))
        assert store.cases.due(EPOCH + HOUR_US - 1) == []
        assert [c.case for c in store.cases.due(EPOCH + HOUR_US)] == ["c1"]
        told = early.step("warn", deadlines=(clock(hours=10.0, warn_us=EPOCH + HOUR_US, told=("warned",)),))
        store.apply(LOG, records([told], after=3))
        assert store.cases.due(EPOCH + 2 * HOUR_US) == []
        assert [c.case for c in store.cases.due(EPOCH + 10 * HOUR_US)] == ["c1"]

    def test_near_places_and_boxes(self, store: CityStore) -> None:
        lon, lat = PLACE
        places = [PLACE, (lon + 0.0005, lat), (lon, lat + 0.002), (lon + 1, lat), None]
        sent = [Life(f"c{n}", EPOCH + n, place=place).open() for n, place in enumerate(places)]
        sent.append(Life("other", category="0101").open())
        store.apply(LOG, records(sent))
        near = store.cases.near("0203", PLACE, 100, EPOCH)
        assert [c.case for c in near] == ["c0", "c1"]
        assert [c.case for c in store.cases.near("0203", PLACE, 300, EPOCH + 1)] == ["c1", "c2"]
        box = (lon - 0.001, lat - 0.001, lon + 0.001, lat + 0.0025)
        assert {c.case for c in store.cases.page(CaseQuery(bbox=box)).cases} == {"c0", "c1", "c2", "other"}
        wide = (lon - 1, lat - 1, lon + 2, lat + 1)
        assert store.cases.count(CaseQuery(bbox=wide, category="0203")) == 4

    def test_filters_and_pages(self, store: CityStore) -> None:
        sent = some_lives(30)
        store.apply(LOG, records(sent))
        cases = folded(sent).values()
        asked: list[tuple[CaseQuery, Callable[[Case], bool]]] = [
            (CaseQuery(open=True), lambda c: not c.final),
            (CaseQuery(open=False), lambda c: c.final),
            (CaseQuery(state="accepted"), lambda c: c.state == "accepted"),
            (CaseQuery(area="370481001", open=True), lambda c: c.area[:9] == "370481001" and not c.final),
            (CaseQuery(area="370481"), lambda c: True),
            (CaseQuery(area="370482"), lambda c: False),
            (CaseQuery(holder="cleaning", open=False), lambda c: c.holder == "cleaning" and c.final),
            (CaseQuery(since_us=EPOCH + 5 * DAY_US, until_us=EPOCH + 9 * DAY_US),
             lambda c: EPOCH + 5 * DAY_US <= c.opened_us < EPOCH + 9 * DAY_US),
            (CaseQuery(scenario="matter", category="0203", level="grid"), lambda c: True),
            (CaseQuery(scenario="appeal"), lambda c: False),
        ]  # fmt: skip
        for query, wanted in asked:
            expected = sorted((c for c in cases if wanted(c)), key=lambda c: (-c.opened_us, c.case))
            found: list[Case] = []
            after = ""
            while True:
                page = store.cases.page(query, after, limit=4)
                found += page.cases
                if not (after := page.after):
                    break
            assert found == expected, query
            assert store.cases.count(query) == len(expected)
            assert store.cases.count(query, most=3) == min(3, len(expected))
        with pytest.raises(ValueError, match="no page's"):
            store.cases.page(CaseQuery(), after="x")

    def test_each_figure_opens_its_cases(self, store: CityStore) -> None:
        sent = some_lives(40)
        store.apply(LOG, records(sent))
        days = ("2025-11-25", "2026-01-02")
        for by in ("town", "category", "scenario", "day", "month", "community"):
            for area in ("", "370481", "370481001", "370481001001"):
                for row in store.cases.closure("matter", *days, by, area):
                    for figure in ("opened", "closed", "on_time", "called_back", "solved", "satisfied"):
                        page = store.cases.behind(figure, "matter", *days, by, row.key, area)
                        assert len(page.cases) == getattr(row, figure), (by, area, row, figure)

    def test_recurring_places(self, store: CityStore) -> None:
        sent = [Life(f"c{n}", EPOCH + n * DAY_US).open() for n in range(4)]
        sent += [Life("d", EPOCH, place=(PLACE[0] + 0.1, PLACE[1])).open(), Life("e", place=None).open()]
        store.apply(LOG, records(sent))
        (row,) = store.cases.recurring("matter", "2025-11-24", 2)
        assert (row.count, row.category, row.area, row.last_us) == (4, "0203", AREA, EPOCH + 3 * DAY_US)
        assert abs(row.place[0] - PLACE[0]) <= 0.0005
        assert abs(row.place[1] - PLACE[1]) <= 0.0005
        assert store.cases.recurring("matter", "2025-12-24", 2) == []
        assert store.cases.recurring("matter", "2025-11-24", 2, area="370481002") == []

    def test_the_auditors_lists(self, store: CityStore) -> None:
        again, own, fine = Life("again"), Life("own"), Life("fine")
        sent = [again.open(), own.open(), fine.open()]
        sent += [
            again.step("dispatch", deadlines=(clock(),)),
            again.step("transfer", deadlines=(clock(at_us=EPOCH + 1),)),
        ]
        sent += [own.step("handle", who="zhao"), own.step("verify", who="zhao")]
        sent += [fine.step("handle", who="zhao"), fine.step("verify", who="sun", final=True)]
        store.apply(LOG, records(sent))
        assert [c.case for c in store.cases.findings("re-clocked").cases] == ["again"]
        assert [c.case for c in store.cases.findings("self-checked").cases] == ["own"]
        assert [c.case for c in store.cases.findings("self-checked", area="370482").cases] == []
        assert [c.case for c in store.cases.findings("parked-then-closed").cases] == []

    def test_many_at_once_are_as_if_they_had_come_one_by_one(
        self, store: CityStore, where: Where, make: Opened
    ) -> None:
        sent = some_lives(30)
        cases = folded(sent)
        steps = [(e.key, StepRow(e.sequence, e.time_us, e.data)) for e in sent]  # type: ignore[arg-type]
        store.apply(LOG, records(sent))
        expected = content(where, "case")
        with writing(store.cases._engine) as connection:
            for table in reversed(store.cases.tables()):
                connection.execute(table.delete())
        with writing(store.cases._engine) as connection:
            assert store.cases.bulk(connection, cases.values(), steps) == len(cases)
            assert store.cases.bulk(connection, cases.values(), steps) == 0, "they are here"
        assert differences(content(where, "case"), expected) == []


def open_store(where: Where, folder: Path) -> CityStore:
    """The store there, with objects in the folder."""
    return CityStore(where, FolderObjects(folder / "objects"), None)  # type: ignore[arg-type]


def _project(store: CityStore, sent: Sequence[Record], log: str = LOG) -> int:
    """All of a log, as a projector would; answers what `apply` answered."""
    done = 0
    for n in range(0, len(sent), 9):
        done += store.apply(log, sent[n : n + 9])
    return done


def _dying(store: CityStore, places: int) -> Callable[..., None]:
    """The dialect's execution of statements, which kills the process at the n-th."""
    usual, left = store.cases._engine.dialect.do_execute, [places]

    def execute(*args: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] <= 0:
            die()
        usual(*args, **more)

    return execute
