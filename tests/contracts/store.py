"""The store's contract (`storage.store.Store`) as tests. A store's own test module derives from
`StoreContract`, named `Test...`, and provides the fixture `shelf`.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import pytest

from events.bus import Record
from events.events import Access, AlertRaised, AlertUpdated, Event
from storage.store import Store
from tests.contracts.examples import (
    CAMERA,
    EPOCH,
    SENSOR,
    alert,
    claim,
    crossing,
    event,
    face,
    face_gone,
    health,
    interval,
    judged,
    reading,
    view,
)

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

    def test_health_says_since_when_and_which_event_raised_it(self, shelf: Shelf) -> None:
        dark = msgspec.structs.replace(health("raised", "covered"), since_us=EPOCH - 8_000_000)
        first, again = event(dark, 0), event(health("raised", "covered"), 1)
        shelf.store.apply(LOG, records([first, again]))
        row = shelf.store.cameras_health()[0]
        assert (row.since_us, row.event) == (EPOCH - 8_000_000, first.id)
        mended = event(health("cleared", "covered"), 2)
        shelf.store.apply(LOG, records([mended], after=2))
        row = shelf.store.cameras_health()[0]
        assert (row.since_us, row.event) == (mended.time_us, first.id), "its pictures are still the raising's"
        once_more = event(dark, 3)
        shelf.store.apply(LOG, records([once_more], after=3))
        assert shelf.store.cameras_health()[0].event == once_more.id

    def test_a_note_does_not_hide_that_something_is_wrong(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([event(health("raised"), 0), event(health("note"), 1)]))
        assert [r.state for r in shelf.store.cameras_health()] == ["raised"]
        shelf.store.apply(LOG, records([event(health("cleared"), 2), event(health("note"), 3)], after=2))
        assert [r.state for r in shelf.store.cameras_health()] == ["note"]

    def test_an_alert_without_a_picture_says_where_and_of_what_it_is_made(self, shelf: Shelf) -> None:
        joint = AlertRaised(
            alert="j1",
            rule="open-and-occupied",
            kind="joint",
            severity="critical",
            label="",
            since_us=EPOCH,
            place=(121.4737012, 31.2304156),
            preset="gate",
            causes=("a1", "s1"),
        )
        shelf.store.apply(LOG, records([event(joint, 0)]))
        row = shelf.store.alert("j1")
        assert row is not None
        assert (row.box, row.place, row.preset, row.causes) == (None, joint.place, "gate", ("a1", "s1"))
        moved = AlertUpdated(alert="j1", rule="open-and-occupied", box=(0.0, 0.0, 1.0, 1.0), place=(1.0, 2.0))
        silent = AlertUpdated(alert="j1", rule="open-and-occupied")
        shelf.store.apply(LOG, records([event(moved, 1), event(silent, 2)], after=1))
        row = shelf.store.alert("j1")
        assert row is not None
        assert (row.box, row.place) == (moved.box, moved.place), "an update that does not know keeps them"

    def test_a_judgement_may_come_before_its_alert_and_the_last_one_counts(self, shelf: Shelf) -> None:
        raised = alert("a1", 5)[0]
        early = [judged("a1", "false", 0), judged("a1", "ignore", 2, "a tree"), judged("a1", "true", 1)]
        shelf.store.apply(LOG, records([*early, raised]))
        row = shelf.store.alert("a1")
        assert row is not None
        found = row.verdict, row.judged_by, row.judged_us, row.judged_note
        assert found == ("ignore", "wang", EPOCH + 2_000_000, "a tree")
        assert shelf.store.alerts() == [row]
        assert shelf.store.sizes().judged == {"true": 0, "false": 0, "ignore": 1}
        shelf.store.apply(LOG, records([alert("a2", 6)[0]], after=4))
        row = shelf.store.alert("a2")
        assert row is not None
        assert (row.verdict, row.judged_by, row.judged_us, row.judged_note) == (None, None, None, None)

    def test_views_are_the_last_by_epoch_and_number(self, shelf: Shelf) -> None:
        late = view("unknown", 7)
        sent = [view("moving", 0), view("settled", 1, "gate"), view("settled", 0, "road", epoch=EPOCH + 5)]
        shelf.store.apply(LOG, records([*sent, late]))
        assert [(v.source, v.state, v.preset) for v in shelf.store.views()] == [(CAMERA, "settled", "road")]

    def test_faces_and_what_is_kept_of_them(self, shelf: Shelf) -> None:
        captured = [face(1), face(2), face(3, sealed=False), face(4)]
        shelf.store.apply(LOG, records(captured))
        assert shelf.store.face_counts() == (4, 3)
        assert [f.capture for f in shelf.store.faces()] == ["f4", "f3", "f2", "f1"]
        assert [f.capture for f in shelf.store.faces("gate", EPOCH + 4_000_000, 2)] == ["f3", "f2"]
        assert shelf.store.faces("elsewhere") == []
        row = shelf.store.face("f1")
        assert row is not None
        assert (row.quality, row.picture, row.state) == (0.75, "faces/f1.jpg", "kept")
        gone = [face_gone("f1", "sealed", 5), face_gone("f2", "all", 6), face_gone("f2", "sealed", 7)]
        shelf.store.apply(LOG, records(gone, after=4))
        assert shelf.store.face_counts() == (3, 1)
        assert [f.state for f in shelf.store.faces()] == ["kept", "kept", "deleted", "unsealed"]

    def test_a_face_whose_deletion_came_first_stays_deleted(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([face_gone("f1", "all", 9), face_gone("f2", "sealed", 10)]))
        assert (shelf.store.faces(), shelf.store.face("f1")) == ([], None)
        assert shelf.store.face_counts() == (0, 0)
        shelf.store.apply(LOG, records([face(1), face(2)], after=2))
        assert [(f.capture, f.state) for f in shelf.store.faces()] == [("f2", "unsealed"), ("f1", "deleted")]
        assert shelf.store.face_counts() == (1, 0)

    def test_a_sensor_s_latest_value_is_that_of_the_latest_time(self, shelf: Shelf) -> None:
        late = reading(3, 9.0, second=1)
        shelf.store.apply(LOG, records([reading(0, 1.0), reading(2, 1.5), late]))
        shelf.store.apply(LOG, records([reading(4, 8.0, second=0), reading(5, 7.0, second=2)], after=3))
        (row,) = shelf.store.sensors()
        assert (row.source, row.quantity, row.unit, row.value) == (SENSOR, "level", "m", 1.5)
        assert (row.time_us, row.received_us) == (EPOCH + 2_000_000, EPOCH + 2_500_000)
        chart = shelf.store.readings("manhole-7", "level", EPOCH, EPOCH + 10_000_000, 10)
        assert [(r.time_us - EPOCH, r.mean) for r in chart] == [(0, 1.0), (1_000_000, 9.0), (2_000_000, 1.5)]
        assert shelf.store.readings("hole-7", "level", EPOCH, EPOCH + 10_000_000, 10) == []

    def test_a_chart_has_no_more_steps_than_asked_for(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([reading(n, float(n % 10)) for n in range(100)]))
        chart = shelf.store.readings(SENSOR, "level", EPOCH, EPOCH + 100_000_000, 10)
        assert [(r.low, r.high, r.count) for r in chart] == [(0.0, 9.0, 10)] * 10
        assert chart[0].mean == 4.5
        assert chart[-1].time_us == EPOCH + 99_000_000
        assert len(shelf.store.readings(SENSOR, "level", EPOCH, EPOCH + 99_000_001, 7)) == 7
        assert [r.count for r in shelf.store.readings(SENSOR, "level", EPOCH + 98_000_000, EPOCH * 2, 1)] == [
            2
        ]

    def test_counts_carry_the_preset(self, shelf: Shelf) -> None:
        toured = msgspec.structs.replace(interval(0, EPOCH, {"in.car": 1}).data, preset="road")
        shelf.store.apply(LOG, records([event(toured, 0), interval(1, EPOCH, {"in.car": 2})]))
        assert [(row.preset, row.counts) for row in shelf.store.counts()] == [
            ("road", {"in.car": 1}),
            ("", {"in.car": 2}),
        ]

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

    def test_pruning_keeps_what_is_held_and_the_latest_of_all(self, shelf: Shelf) -> None:
        sent = [
            *(reading(n, 1.0) for n in range(20)),
            face(1),
            face(2),
            face_gone("f1", "all", 3),
            face_gone("f9", "sealed", 4),
            view("settled", 5, "road"),
            *alert("a1"),
            judged("a1", "true", 6),
            judged("open", "false", 7),
            judged("never came", "false", 8),
            alert("open", 9)[0],
            crossing(99),
        ]
        shelf.store.apply(LOG, records(sent))
        shelf.store.prune(EPOCH + 10_000_000)
        assert len(shelf.store.readings(SENSOR, "level", 0, EPOCH * 2, 1 << 40)) == 10
        shelf.store.prune(EPOCH + 90_000_000)
        assert shelf.store.readings(SENSOR, "level", 0, EPOCH * 2, 1 << 40) == []
        assert [s.value for s in shelf.store.sensors()] == [1.0]
        assert [(f.capture, f.state) for f in shelf.store.faces()] == [("f2", "kept")]
        assert [v.preset for v in shelf.store.views()] == ["road"]
        assert [(a.alert, a.verdict) for a in shelf.store.alerts()] == [("open", "false")]
        for name in ("a1", "never came"):
            again = msgspec.structs.replace(alert("open", 200)[0].data, alert=name)
            shelf.store.apply(LOG, records([event(again, 200 + len(name))], after=200 + len(name)))
            row = shelf.store.alert(name)
            assert row is not None
            assert row.verdict is None, "its judgement went with it"

    def test_many_readings_are_pruned_in_one_call(self, shelf: Shelf) -> None:
        shelf.store.apply(LOG, records([reading(n, 1.0) for n in range(2500)]))
        shelf.store.prune(EPOCH + 2499_000_000)
        assert [r.count for r in shelf.store.readings(SENSOR, "level", 0, EPOCH * 2, 1)] == [1]

    def test_what_two_boxes_say_counts_once(self, shelf: Shelf) -> None:
        """From second 5 on it is b's camera, whatever a, cut off, goes on to say."""
        later = EPOCH + 5_000_000
        of_b = msgspec.structs.replace(crossing(0), epoch=later, time_us=later)
        shelf.store.apply(
            LOG, records([*(crossing(n) for n in range(8)), interval(8, EPOCH, {"in.person": 8})])
        )
        shelf.store.apply("b", records([of_b, claim("b", later, 2, later)]))
        assert [t.count for t in shelf.store.totals()] == [9], "whose the earlier epoch is, nobody knows yet"
        shelf.store.apply("a", records([claim("a", EPOCH, 1, EPOCH)]))
        assert [(t.count, t.last_us) for t in shelf.store.totals()] == [(6, later)]
        assert shelf.store.counts() == []
        assert shelf.store.apply(LOG, records([crossing(9)], after=9)) == 1, "kept"
        assert [t.count for t in shelf.store.totals()] == [6], "and not counted"
        assert (shelf.store.sizes().events, shelf.store.sizes().superseded) == (13, 5)

    def test_old_claims_are_pruned_but_the_last(self, shelf: Shelf) -> None:
        second = 1_000_000
        claims = [claim("ab"[n % 2], EPOCH + n * second, n, EPOCH + n * second) for n in range(6)]
        shelf.store.apply("claims", records(claims))
        shelf.store.prune(EPOCH + 5 * second)
        late = [msgspec.structs.replace(crossing(0), epoch=EPOCH + n * second) for n in range(6)]
        late = [msgspec.structs.replace(e, time_us=EPOCH + 9 * second) for e in late]
        shelf.store.apply(LOG, records(late))
        assert [t.count for t in shelf.store.totals()] == [1], "whose claim was pruned is later than nobody"

    def test_an_alert_of_a_box_that_lost_its_camera_is_handed_over(self, shelf: Shelf) -> None:
        raised, updated, cleared = alert("a1")
        doubled = event(msgspec.structs.replace(raised.data, alert="a2"), 7)
        shelf.store.apply(LOG, records([claim("a", EPOCH, 1, EPOCH), raised, doubled]))
        assert shelf.store.sizes().open_alerts == 2
        later = EPOCH + 1_000_000
        shelf.store.apply("b", records([claim("b", later, 2, later)]))
        (row,) = shelf.store.alerts()
        assert (row.alert, row.state, row.reason) == ("a1", "cleared", "handed-over")
        assert (row.cleared_us, row.until_us) == (later, later)
        late, its_end = event(msgspec.structs.replace(raised.data, alert="a0"), 0), cleared
        shelf.store.apply(LOG, records([updated, msgspec.structs.replace(late, sequence=3)], after=3))
        row = shelf.store.alert("a0")
        assert row is not None
        assert (row.state, row.reason) == ("cleared", "handed-over"), "it comes after the claim"
        shelf.store.apply(LOG, records([msgspec.structs.replace(its_end, sequence=4)], after=5))
        row = shelf.store.alert("a1")
        assert row is not None
        assert (row.reason, row.cleared_us, row.tracks) == ("left", cleared.time_us, (1, 2)), "its own word"

    def test_a_log_stands_where_it_is_told_and_what_is_here_is_passed_over(self, shelf: Shelf) -> None:
        sent = records([crossing(n) for n in range(3)])
        shelf.store.apply(LOG, sent)
        shelf.store.stand(LOG, 0)
        assert shelf.store.offset(LOG) == 0
        assert shelf.store.apply(LOG, sent) == 0
        shelf.store.stand(LOG, 9)
        shelf.store.stand("another", 4)
        shelf.restart()
        assert (shelf.store.offset(LOG), shelf.store.offset("another")) == (9, 4)
        assert [t.count for t in shelf.store.totals()] == [3]

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
