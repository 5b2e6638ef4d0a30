"""Events that open and move cases: each once, whatever comes twice and whoever is killed."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from city import packs as scenarios
from city.features import Feature
from city.rights import Actor
from cli.citysection import CitySection
from desk.triggers import STALE_S
from events.bus import Record, before
from events.clock import SystemClock
from events.events import Event, Health, Judged
from events.noted import Noted
from pipeline.casework import TriggerService
from storage.journal import Journal
from testbed.lives import Life
from tests.flowworks import CAMERA, GRID, INSIDE, MONDAY, OUTSIDE, Works, cleared, judged, raised, said
from tests.siteworks import until

OPERATOR = Actor("li", "operator", "*")


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    works.grounded()
    yield works
    works.close()


def happens(works: Works, *events: Event) -> None:
    """As a box's worker journals them."""
    works.journal.append(events)
    works.journal.flush()


def serve(works: Works) -> None:
    """The service takes all that is on the bus."""
    service = TriggerService(works.bus, works.triggers())
    service.start()
    until(lambda: works.journal.committed("triggers") >= _last(works), 20, "the triggers are behind")
    service.stop()
    assert not service.alive
    assert service.problem == ""


def _last(works: Works) -> int:
    records = works.journal.read(0, 100_000, works.triggers().families)
    return records[-1].offset if records else 0


# -- opening


def test_an_alert_opens_a_case_where_it_is(works: Works) -> None:
    triggers = works.triggers()
    assert triggers.take(said(raised("a1", severity="critical"), 0)) == 1
    case = works.case(triggers.case_of("video", "a1"))
    assert (case.scenario, case.state, case.cause) == ("video", "raised", "a1")
    assert (case.area, case.place, case.severity) == (GRID, INSIDE, "critical")
    assert (case.title, case.category, case.channel) == ("intrusion: yard", "intrusion", "camera")
    assert case.occurred_us == MONDAY
    assert [d.name for d in case.deadlines if d.runs] == ["acknowledge"]
    works.show()
    assert works.store.cases.case(case.case) == case


def test_the_same_alert_again_changes_nothing(works: Works) -> None:
    triggers = works.triggers()
    assert triggers.take(said(raised("a1"), 0)) == 1
    works.clock.advance(5)
    assert triggers.take(said(raised("a1"), 0)) == 0
    assert works.triggers().take(said(raised("a1"), 0)) == 0
    assert len(works.events("case")) == 1


POINT = {"type": "Point", "coordinates": list(INSIDE)}
VIEW = {"type": "Polygon", "coordinates": [[[117.1, 35.1], [117.2, 35.1], [117.2, 35.15], [117.1, 35.1]]]}


@pytest.mark.parametrize("what", ["camera", "sensor"])
@pytest.mark.parametrize("geometry", [POINT, {"type": "GeometryCollection", "geometries": [POINT, VIEW]}])
def test_an_alert_without_a_place_is_where_its_camera_or_sensor_is(
    works: Works, what: str, geometry: dict[str, Any]
) -> None:
    works.placed(Feature(id="gate", what=what, parent=GRID, geometry=geometry))
    works.show()
    triggers = works.triggers()
    triggers.take(said(raised("a1", place=None), 0, source=f"/town/{what}/gate"))
    case = works.case(triggers.case_of("video", "a1"))
    assert (case.place, case.area) == (INSIDE, GRID)


@pytest.mark.parametrize("place", [None, OUTSIDE])
def test_an_alert_that_lies_nowhere_here_is_a_case_that_has_to_be_placed(
    works: Works, place: tuple[float, float] | None
) -> None:
    triggers = works.triggers()
    assert triggers.take(said(raised("a1", place=place), 0)) == 1
    case = works.case(triggers.case_of("video", "a1"))
    assert (case.area, case.place) == ("", place)


def test_what_is_not_wanted_or_stale_opens_nothing(works: Works) -> None:
    triggers = works.triggers()
    assert triggers.take(said(raised("a1", severity="info"), 0)) == 0
    works.clock.advance(STALE_S + 1)
    assert triggers.take(said(raised("a2"), 1)) == 0
    assert works.events("case") == []


# -- moving


def test_what_becomes_of_the_alert_is_written_on_its_case_once(works: Works) -> None:
    triggers = works.triggers()
    triggers.take(said(raised("a1"), 0))
    id = triggers.case_of("video", "a1")
    assert triggers.take(said(cleared("unknown"), 1)) == 0
    assert triggers.take(said(cleared("a1"), 2)) == 1
    assert triggers.take(said(cleared("a1"), 2)) == 0
    assert works.actions(id) == ["clear"]
    assert works.case(id).marks == ("cleared",)


def test_a_judgement_on_the_page_judges_the_case_and_is_not_said_twice(works: Works) -> None:
    happens(works, said(raised("a1"), 0), said(judged("a1", "false"), 0))
    serve(works)
    id = works.triggers().case_of("video", "a1")
    case = works.case(id)
    assert (case.state, case.marks, case.last_by) == ("judged", ("false",), "wang")
    assert len(works.events("judgement")) == 1
    happens(works, said(judged("a1", "true", "zhao"), 1))  # said again: the last one counts
    serve(works)
    assert works.actions(id) == ["judge", "judge"]
    assert works.case(id).marks == ("true",)
    assert len(works.events("judgement")) == 2


@pytest.mark.parametrize(("mark", "verdict"), [("true", "true"), ("false", "false"), ("unwanted", "ignore")])
def test_a_judgement_on_the_case_comes_back_to_the_rules_and_not_to_the_case(
    works: Works, mark: str, verdict: str
) -> None:
    happens(works, said(raised("a1"), 0))
    serve(works)
    id = works.triggers().case_of("video", "a1")
    works.step(id, "judge", OPERATOR, marks=(mark,))
    (event,) = works.events("judgement")
    assert event.source == CAMERA  # where the rules of the camera read it
    assert event.data == Judged(alert="a1", rule="yard", verdict=verdict, who="li")  # type: ignore[arg-type]
    serve(works)
    assert works.actions(id) == ["judge"]
    assert len(works.events("judgement")) == 1


def test_what_a_closed_case_does_not_take_moves_nothing(works: Works) -> None:
    triggers = works.triggers()
    triggers.take(said(raised("a1"), 0))
    id = triggers.case_of("video", "a1")
    works.step(id, "judge", OPERATOR, marks=("false",))
    works.step(id, "close", OPERATOR)
    assert triggers.take(said(judged("a1"), 9)) == 0
    assert triggers.take(said(cleared("a1"), 9)) == 0
    assert works.case(id).state == "closed"


# -- a scenario by configuration alone

OURS = """
id = "video"
title = "What our cameras see"
initial = "seen"
opening = { roles = ["system"], level = "town" }
states.seen = { title = "Seen" }
states.done = { title = "Done", final = true }
layer = { id = "ours", title = "Ours" }

[[actions]]
name = "finish"
title = "Over"
from = ["seen"]
to = "done"
roles = ["system"]
mark = ["over"]

[[triggers]]
event = "linli.alert.raised.v1"
where = { kind = ["crowd"] }
title = "{label}s at {rule}"
category = "square.{kind}"

[[triggers]]
event = "linli.alert.cleared.v1"
then = "finish"
"""
DISKS = """
id = "disks"
title = "Boxes that need somebody"
initial = "open"
opening = { roles = ["system"], level = "city" }
states.open = { title = "Open" }
states.mended = { title = "Mended", final = true }
layer = { id = "disks", title = "Boxes" }

[[actions]]
name = "mended"
title = "Mended"
from = ["open"]
to = "mended"
roles = ["system"]

[[triggers]]
event = "linli.health.changed.v1"
where = { state = ["raised"], what = ["disk"] }
cause = "what"
title = "{message}"
category = "box.{what}"

[[triggers]]
event = "linli.health.changed.v1"
where = { state = ["cleared"] }
then = "mended"
cause = "what"
"""


def test_a_scenario_is_replaced_and_another_added_by_configuration_alone(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OURS)
    (tmp_path / "disks.toml").write_text(DISKS)
    section = msgspec.toml.decode('packs = ["ours.toml", "matter", "appeal", "disks.toml"]', type=CitySection)
    works = Works(tmp_path, packs=scenarios.chosen(section.packs, tmp_path))
    happens(
        works,
        said(raised("a1", kind="crowd", label="person", rule="square"), 0),
        said(raised("a2"), 1),
        said(cleared("a1"), 2),
        said(Health(what="disk", state="raised", message="the disk is full"), 0),
    )
    serve(works)
    works.show()
    case_of = works.triggers().case_of
    crowd = works.store.cases.case(case_of("video", "a1"))
    assert crowd is not None
    assert (crowd.state, crowd.final, crowd.marks) == ("done", True, ("over",))
    assert (crowd.title, crowd.category, crowd.level) == ("persons at square", "square.crowd", "town")
    assert works.steps(case_of("video", "a2")) == []
    disk = works.store.cases.case(case_of("disks", "disk"))
    assert disk is not None
    assert (disk.state, disk.title, disk.category) == ("open", "the disk is full", "box.disk")
    works.close()


# -- faults


def test_while_the_store_cannot_be_read_an_alert_waits(works: Works, tmp_path: Path) -> None:
    store = sqlite3.connect(tmp_path / "city.db")
    store.execute("ALTER TABLE city_layers RENAME TO away")
    happens(works, *(said(raised(f"a{n}"), n) for n in range(3)))
    service = TriggerService(works.bus, works.triggers())
    service.start()
    until(lambda: service.problem != "", 20, "nothing was said")
    assert works.events("case") == []
    store.execute("ALTER TABLE away RENAME TO city_layers")
    store.close()
    until(lambda: len(works.events("case")) == 3, 20, "the alerts did not come again")
    service.stop()
    assert service.problem == ""


def test_of_several_logs_each_is_read_again_from_its_first_record() -> None:
    event = said(raised("a1"), 0)
    records = [Record(5, event, "a"), Record(9, event, "b"), Record(6, event, "a")]
    assert before(records) == {"a": 4, "b": 8}


class Picky:
    """Cannot take one of the events."""

    families = ("alert",)

    def __init__(self) -> None:
        self.took: list[str] = []

    def take(self, event: Event) -> int:
        if event.sequence == 1:
            raise ValueError("not this one")
        self.took.append(event.subject)
        return 1


def test_an_event_that_nobody_can_take_does_not_keep_the_others(works: Works) -> None:
    happens(works, *(said(raised(f"a{n}"), n) for n in range(3)))
    picky = Picky()
    service = TriggerService(works.bus, picky, "picky")
    service.start()
    until(lambda: len(picky.took) == 2, 20, "the others wait")
    service.stop()
    assert picky.took == ["a0", "a2"]
    assert works.journal.committed("picky") == works.journal.last_offset()


ALERTS = 120


def test_whenever_it_is_killed_each_alert_is_one_case_with_each_step_once(tmp_path: Path) -> None:
    """Killed ten times with two of them at work, over a journal that another process fills."""
    folder = tmp_path

    def work(stop: threading.Event) -> None:
        works = Works(folder)
        services = [TriggerService(works.bus, works.triggers()) for _ in range(2)]
        for service in services:
            service.start()
        stop.wait()

    journal = Journal(folder / "journal.db", SystemClock(), group_s=0.0)
    for n in range(ALERTS):
        story = (raised(f"a{n}"), judged(f"a{n}"), cleared(f"a{n}"))
        journal.record([Noted(CAMERA, f"{n}-{i}", data, MONDAY) for i, data in enumerate(story)])
    journal.close()

    def progress() -> int:
        with sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM events WHERE family = 'case'").fetchone()[0])

    for _ in range(10):
        before = progress()
        life = Life(work)
        until(lambda: progress() >= min(before + 7, 3 * ALERTS), 30, "nothing happens")  # noqa: B023
        life.kill()
    works = Works(folder)
    serve(works)
    opened = Counter(type(event.data).__name__ for event in works.events("case"))
    assert opened == {"CaseOpened": ALERTS, "CaseStepped": 2 * ALERTS}
    for n in range(ALERTS):
        assert works.actions(works.triggers().case_of("video", f"a{n}")) == ["judge", "clear"]
    works.show()
    works.close()
