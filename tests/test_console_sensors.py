"""The sensors' latest values, their charts and what is pushed of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.latest import REFRESH_S, Latest, News
from events.clock import ManualClock
from events.events import Reading, sensor_source
from storage.store import SqliteStore
from tests.console_stage import LOCKED, Stage
from tests.contracts.examples import EPOCH, SENSOR, reading
from tests.contracts.store import LOG, records
from tests.test_console_api import problem, pushed

SECOND = 1_000_000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


def measured(stage: Stage, value: float, time_us: int, sensor: str = "pump", quantity: str = "level") -> None:
    data = Reading(quantity=quantity, value=value, unit="m", received_us=time_us + SECOND)
    stage.happens(data, time_us=time_us, source=sensor_source("demo", sensor))


def test_the_latest_values_and_a_chart(stage: Stage) -> None:
    now = stage.clock.wall_us()
    for n in range(60):
        measured(stage, float(n), now - (60 - n) * SECOND)
    measured(stage, 21.5, now - SECOND, quantity="temperature")
    measured(stage, 5.0, now, sensor="not-of-this-site")
    stage.settled()
    with stage.client() as client:
        found = {s["id"]: s for s in client.get("/api/sensors").json()["sensors"]}
        assert list(found) == ["manhole-7", "pump"]
        assert (found["manhole-7"]["component"], found["manhole-7"]["values"]) == ("manhole/7", [])
        assert [(v["quantity"], v["value"]) for v in found["pump"]["values"]] == [
            ("level", 59.0),
            ("temperature", 21.5),
        ]
        chart = client.get("/api/sensors/pump/readings?limit=60").json()
        level, temperature = chart["series"]
        assert (level["quantity"], level["unit"]) == ("level", "m")
        assert sum(step["count"] for step in level["readings"]) == 60
        assert [step["mean"] for step in temperature["readings"]] == [21.5]
        part = f"?quantity=level&from={now - 30 * SECOND}&to={now}&limit=3"
        (level,) = client.get(f"/api/sensors/pump/readings{part}").json()["series"]
        assert [(s["low"], s["high"], s["count"]) for s in level["readings"]] == [
            (30.0, 39.0, 10),
            (40.0, 49.0, 10),
            (50.0, 59.0, 10),
        ]
        assert client.get("/api/sensors/manhole-7/readings").json()["series"] == []
        metrics = client.get("/metrics").text
    (line,) = [line for line in metrics.splitlines() if 'quantity="level"' in line]
    assert line.startswith('linli_sensor_age_seconds{quantity="level",sensor="pump"}')
    assert 1 <= float(line.split()[-1]) < 20


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("/api/sensors/none/readings", 404, "id"),
        ("/api/sensors/..%2fsite/readings", 404, None),
        ("/api/sensors/pump/readings?quantity=mood", 404, "quantity"),
        ("/api/sensors/pump/readings?limit=501", 400, "limit"),
        ("/api/sensors/pump/readings?from=5&to=5", 400, "to"),
        ("/api/sensors/pump/readings?from=0&to=4000000000000000", 400, "to"),
        ("/api/sensors/pump/readings?from=-1", 400, "from"),
    ],
)
def test_a_bad_question_is_named(stage: Stage, path: str, status: int, parameter: str | None) -> None:
    with stage.client() as client:
        problem(client.get(path), status, parameter)


def test_a_stranger_learns_nothing_of_sensors(tmp_path: Path) -> None:
    with Stage(tmp_path, LOCKED) as stage, stage.client() as client:
        for path in ("/api/sensors", "/api/sensors/pump/readings", "/api/sensors/none/readings"):
            problem(client.get(path), 401)


def test_values_are_pushed_in_lists_and_the_journal_goes_on_beside(stage: Stage) -> None:
    measured(stage, 1.0, EPOCH)
    stage.settled()
    with stage.client() as client, client.stream("GET", "/events") as stream:
        ((offset, family, first),) = pushed(stream, 1)
    rows: Any = first
    assert (offset, family) == (stage.journal.last_offset(), "sensor")
    assert [(row["sensor"], row["value"]) for row in rows] == [("pump", 1.0)]


def test_a_watcher_is_told_at_most_once_a_second_and_only_what_is_new(tmp_path: Path) -> None:
    store, clock = SqliteStore(tmp_path / "store.db"), ManualClock()
    latest = Latest(store, clock)
    watcher, other = News(latest, "site"), News(latest, "elsewhere")
    store.apply(LOG, records([reading(0, 1.0), reading(0, 5.0, sensor=SENSOR + "b")]))
    assert watcher.poll().count(b'"sensor"') == 2
    assert other.poll() == b"", "not of its site"
    store.apply(LOG, records([reading(n, float(n)) for n in range(1, 9)], after=2))
    assert watcher.poll() == b""
    clock.advance(REFRESH_S)
    told = watcher.poll()
    assert told.count(b'"sensor"') == 1
    assert b'"value":8.0' in told
    clock.advance(REFRESH_S)
    assert watcher.poll() == b""
    store.close()
