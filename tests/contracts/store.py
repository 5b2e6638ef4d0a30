"""The store's contract (`storage.store.Store`) as tests. A store's own test module derives from
`StoreContract`, named `Test...`, and provides the fixture `shelf`.
"""

from collections.abc import Sequence
from typing import Protocol

import pytest

from events.bus import Record
from events.events import Access, Event
from storage.store import Store
from tests.contracts.examples import CAMERA, EPOCH, alert, crossing, event, health, interval

LOG = "log"


class Shelf(Protocol):
    """What the suite needs of a store: the store, and a restart."""

    store: Store

    def restart(self) -> None:
        """Close the store and open it again; `store` is new."""


def records(events: Sequence[Event], after: int = 0) -> list[Record]:
    return [Record(after + n, e) for n, e in enumerate(events, 1)]


class StoreContract:
    @pytest.fixture
    def shelf(self) -> Shelf:
        raise NotImplementedError

    def test_an_event_counts_once_however_often_it_comes(self, shelf: Shelf) -> None:
        batch = records([crossing(0), crossing(1)])
        assert shelf.store.apply(LOG, batch) == 2
        assert shelf.store.apply(LOG, batch) == 0, "the same records again"
        moved = records([crossing(0), crossing(1), crossing(2)], after=50)
        assert shelf.store.apply(LOG, moved) == 1, "repeated by the producer, under new offsets"
        assert shelf.store.apply("another log", records([crossing(1)])) == 0
        assert [t.count for t in shelf.store.totals()] == [3]
        assert shelf.store.offset(LOG) == 53
        assert shelf.store.offset("another log") == 1

    def test_offset_and_changes_outlive_a_restart(self, shelf: Shelf) -> None:
        assert shelf.store.offset(LOG) == 0
        shelf.store.apply(LOG, records([crossing(0)], after=6))
        shelf.restart()
        assert shelf.store.offset(LOG) == 7
        assert [t.count for t in shelf.store.totals()] == [1]

    def test_a_batch_that_fails_changes_nothing(self, shelf: Shelf) -> None:
        bad = event(health(None), 0)  # type: ignore[arg-type]
        with pytest.raises(Exception, match=r"health|null|NULL|state"):
            shelf.store.apply(LOG, records([crossing(0), bad]))
        assert shelf.store.offset(LOG) == 0
        assert shelf.store.totals() == []
        assert shelf.store.events() == []
        assert shelf.store.apply(LOG, records([crossing(0)])) == 1

    def test_totals_by_rule_direction_and_class(self, shelf: Shelf) -> None:
        other = CAMERA + "2"
        sent = [
            crossing(0),
            crossing(1, direction="out"),
            crossing(2, label="car"),
            crossing(3),
            crossing(0, source=other),
        ]
        shelf.store.apply(LOG, records(sent))
        found = {(t.source, t.direction, t.label): t.count for t in shelf.store.totals()}
        assert found == {
            (CAMERA, "in", "person"): 2,
            (CAMERA, "out", "person"): 1,
            (CAMERA, "in", "car"): 1,
            (other, "in", "person"): 1,
        }
        assert [t.source for t in shelf.store.totals("gate2")] == [other]
        assert [t.source for t in shelf.store.totals(other)] == [other]
        assert shelf.store.totals("ate2") == [], "a part of an id is not the id"

    def test_counts_by_interval(self, shelf: Shelf) -> None:
        minute = 60_000_000
        shelf.store.apply(
            LOG,
            records(
                [
                    interval(0, EPOCH, {"in.person": 2, "max.person": 3}),
                    interval(0, EPOCH, {"in.person": 1, "in.car": 4, "max.person": 2}, epoch=EPOCH + 5),
                    interval(1, EPOCH + minute, {"in.person": 7}, epoch=EPOCH + 5),
                ]
            ),
        )
        first, second = shelf.store.counts()
        assert first.counts == {"in.person": 3, "in.car": 4, "max.person": 3}, "cut in two by a new epoch"
        assert first.observed_s == 60.0
        assert second.counts == {"in.person": 7}
        assert shelf.store.counts(from_us=EPOCH + 1) == [second]
        assert shelf.store.counts(to_us=EPOCH + minute) == [first]
        assert shelf.store.counts("nobody") == []

    def test_an_alert_s_life(self, shelf: Shelf) -> None:
        raised, updated, cleared = alert("a1")
        shelf.store.apply(LOG, records([raised]))
        row = shelf.store.alert("a1")
        assert row is not None
        assert (row.state, row.kind, row.severity, row.since_us) == ("open", "intrusion", "major", EPOCH)
        assert row.detail == {"dwell_s": 2.5}
        shelf.store.apply(LOG, records([updated], after=1))
        row = shelf.store.alert("a1")
        assert row is not None
        assert (row.box, row.tracks, row.detail) == ((0.1, 0.2, 0.5, 0.6), (1, 2), {"dwell_s": 2.5})
        assert shelf.store.alerts(open_only=True) == [row]
        shelf.store.apply(LOG, records([cleared], after=2))
        row = shelf.store.alert("a1")
        assert row is not None
        assert (row.state, row.reason, row.until_us) == ("cleared", "left", EPOCH + 1_500_000)
        assert row.cleared_us == cleared.time_us
        assert shelf.store.alerts(open_only=True) == []
        assert shelf.store.alerts() == [row]
        assert shelf.store.alert("a2") is None

    def test_a_cleared_alert_stays_cleared(self, shelf: Shelf) -> None:
        raised, updated, cleared = alert("a1")
        late = event(updated.data, 9)
        again = event(raised.data, 10)
        shelf.store.apply(LOG, records([raised, cleared, late, again]))
        row = shelf.store.alert("a1")
        assert row is not None
        assert (row.state, row.tracks) == ("cleared", (1,))

    def test_alerts_come_in_pages_the_last_first(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([e for n in range(5) for e in alert(f"a{n}", 3 * n)]))
        page = shelf.store.alerts(limit=2)
        assert [a.alert for a in page] == ["a4", "a3"]
        rest = shelf.store.alerts(before_us=page[-1].raised_us)
        assert [a.alert for a in rest] == ["a2", "a1", "a0"]
        assert shelf.store.alerts(camera="nobody") == []
        assert shelf.store.sizes().alerts == 5
        assert shelf.store.sizes().open_alerts == 0

    def test_health_is_the_last_state(self, shelf: Shelf) -> None:
        sent = [health("raised"), health("raised"), health("raised", "clock"), health("cleared")]
        shelf.store.apply(LOG, records([event(h, n) for n, h in enumerate(sent)]))
        rows = {row.what: row for row in shelf.store.cameras_health("gate")}
        assert rows["connection"].state == "cleared"
        assert rows["clock"].state == "raised"
        assert rows["connection"].since_us == EPOCH + 3_000_000
        again = event(health("cleared"), 4)
        shelf.store.apply(LOG, records([again], after=4))
        row = next(r for r in shelf.store.cameras_health() if r.what == "connection")
        assert (row.since_us, row.seen_us) == (EPOCH + 3_000_000, again.time_us)

    def test_a_note_does_not_hide_that_something_is_wrong(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([event(health("raised"), 0), event(health("note"), 1)]))
        assert [r.state for r in shelf.store.cameras_health()] == ["raised"]
        shelf.store.apply(LOG, records([event(health("cleared"), 2), event(health("note"), 3)], after=2))
        assert [r.state for r in shelf.store.cameras_health()] == ["note"]

    def test_the_auditor_sees_every_event_and_every_look(self, shelf: Shelf) -> None:
        look = Access(who="wang", what="clip", object="a1", plain=True, purpose="case 12", allowed=False)
        sent = [crossing(0), *alert("a1"), event(health("note"), 0), event(look, 0)]
        shelf.store.apply(LOG, records(sent))
        seen = shelf.store.events(limit=4)
        seen += shelf.store.events(after=seen[-1].offset)
        assert [r.event for r in seen] == sent
        row = shelf.store.access()[0]
        assert (row.who, row.object, row.plain, row.allowed) == ("wang", "a1", True, False)
        assert shelf.store.sizes().events == len(sent)

    def test_what_is_old_goes_and_what_is_open_stays(self, shelf: Shelf) -> None:
        minute = 60_000_000
        old_look, new_look = (
            Access(who=who, what="clip", object="a1", plain=True, purpose="", allowed=True) for who in "ab"
        )
        sent = [
            *(e for n in range(3) for e in alert(f"a{n}", 3 * n)),  # at 0 to 8 s
            alert("open", 9)[0],
            event(old_look, 0),
            event(new_look, 600),
            interval(0, EPOCH, {"in.person": 2}),
            interval(600, EPOCH + 9 * minute, {"in.person": 3}),
            crossing(1),
            event(health("raised"), 0),
            crossing(599),
        ]
        shelf.store.apply(LOG, records(sent))
        assert shelf.store.prune(EPOCH) == 0, "nothing is older"
        assert shelf.store.prune(EPOCH + 6_000_000) > 0
        assert {row.alert for row in shelf.store.alerts()} == {"a2", "open"}, "cleared at 8 s"
        shelf.store.prune(EPOCH + 2 * minute)
        shelf.restart()
        assert [row.alert for row in shelf.store.alerts()] == ["open"]
        assert [row.who for row in shelf.store.access()] == ["b"]
        assert [row.counts for row in shelf.store.counts()] == [{"in.person": 3}]
        assert [row.state for row in shelf.store.cameras_health()] == ["raised"]
        assert [t.count for t in shelf.store.totals()] == [2]
        assert [r.event for r in shelf.store.events()] == [sent[11], sent[13], sent[16]]
        assert shelf.store.offset(LOG) == len(sent)

    def test_what_was_pruned_does_not_count_again(self, shelf: Shelf) -> None:
        sent = [crossing(n) for n in range(5)]
        shelf.store.apply(LOG, records(sent))
        assert shelf.store.prune(EPOCH + 3_000_000) == 3
        assert shelf.store.prune(EPOCH + 3_000_000) == 0
        assert shelf.store.apply(LOG, records([*sent, crossing(5)], after=50)) == 1
        assert [t.count for t in shelf.store.totals()] == [6]
        assert shelf.store.apply(LOG, records([crossing(0, source=CAMERA + "2")], after=90)) == 1

    def test_the_store_s_own_numbers_are_not_given_twice(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([crossing(n) for n in range(5)]))
        last = shelf.store.events()[-1].offset
        assert shelf.store.prune(EPOCH + 1_000_000_000) == 4
        shelf.store.apply(LOG, records([crossing(9)], after=9))
        assert [r.event for r in shelf.store.events(after=last)] == [crossing(9)]
        assert shelf.store.prune(EPOCH + 1_000_000_000) == 1

    def test_much_is_pruned_in_one_call(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([crossing(n) for n in range(2500)]))
        assert shelf.store.prune(EPOCH + 10_000_000_000) == 2499
