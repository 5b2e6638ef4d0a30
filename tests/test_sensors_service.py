"""The sensors' hub and process: readings and alerts agree, whatever is killed; refusals are told once."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import running, sensors
from cli import settings as site_settings
from cli.main import main
from events.clock import ManualClock, SystemClock
from events.errors import ConfigError, StorageError
from events.events import AlertCleared, AlertRaised, Health, Reading, sensor_source
from events.ids import timed_id
from events.noted import Noted
from events.sensor_rules import SensorRule, Silence, Threshold
from events.sensors import SensorEngine
from ingest.deliveries import Delivery, key_of
from ingest.readings import Directory, Measured, Refusal
from ingest.sensorfile import Broker, Field, Sensor
from pipeline.arrivals import BATCHES, Arrivals
from pipeline.complaints import EVERY_US, Complaints
from pipeline.sensor_rules import SensorRules
from storage.journal import Journal
from tests.sensorworks import BOX, Publisher, Sink, Works, mosquitto, sensor, until

ROOT = Path(__file__).parents[1]
START = 1_700_000_000_000_000
SECOND = 1_000_000
HIGH = Threshold(name="high", quantity="level", above=1.5, clear_above=1.0, for_s=3)
QUIET = Silence(name="quiet", quantity="level", for_s=20)


def delivery(level: float, time_us: int, origin: Sink | None = None, **more: Any) -> Delivery:
    payload = json.dumps({"level": level, "t": time_us}).encode()
    settings: dict[str, Any] = {"arrived_us": time_us, "topic": "s/m1", "origin": origin or Sink()}
    return Delivery(payload=payload, **(settings | more))


# -- one hub


def test_readings_and_their_alerts_are_recorded_in_order_and_settled(tmp_path: Path) -> None:
    clock, sink = ManualClock(START), Sink()
    with Works(tmp_path, None, [sensor(rules=(HIGH,), place=(116.4, 39.9))], clock) as works:
        for n, level in enumerate([1.0, 2.0, 2.0, 2.0, 2.0, 0.5]):
            works.hub.offer(delivery(level, START + n * SECOND, sink))
        until(lambda: len(sink.done) == 6, "settled")
        assert works.levels() == [1.0, 2.0, 2.0, 2.0, 2.0, 0.5]
        raised, cleared = [event.data for event in works.events("alert")]
        assert isinstance(raised, AlertRaised)
        assert isinstance(cleared, AlertCleared)
        assert (raised.kind, raised.since_us, raised.place) == ("threshold", START + SECOND, (116.4, 39.9))
        assert cleared.alert == raised.alert
        families = [record.event.family for record in works.journal.read(0, 99)]
        assert families.index("alert") == 5, "it stands behind the reading that made it"


def test_the_same_reading_is_kept_once(tmp_path: Path) -> None:
    sink = Sink()
    with Works(tmp_path, None, [sensor()], ManualClock(START)) as works:
        for level, at in ((1, 0), (2, 1), (1, 0), (9, 1), (3, -2)):
            works.hub.offer(delivery(level, START + at * SECOND, sink, arrived_us=START + SECOND))
        until(lambda: len(sink.done) == 5, "settled")
        assert works.levels() == [1, 2, 3]
        assert sink.done[3].accepted == 1, "it is there"


def test_late_and_future_readings_are_refused_and_told(tmp_path: Path) -> None:
    sink = Sink()
    with Works(tmp_path, None, [sensor()], ManualClock(START)) as works:
        for at in (0, -300, -301, 6, -8 * 86_400):
            works.hub.offer(delivery(at % 7, START + at * SECOND, sink, arrived_us=START))
        until(lambda: len(sink.done) == 5, "settled")
        works.journal.flush()
        assert works.levels() == [0, 1]
        assert works.hub.status().refused == {"late": 1, "future": 1, "old": 1}
        notes = works.events("health")
        assert {note.source for note in notes} == {"/s/sensor/m1"}
        assert all("mend the sensor's clock" in note.data.message for note in notes)  # type: ignore[union-attr]


def test_nothing_is_settled_that_is_not_committed(tmp_path: Path) -> None:
    sink = Sink()
    with Works(tmp_path, None, [sensor()], ManualClock(START)) as works:
        real = works.journal.record
        tries: list[int] = []

        def full(*_: Any, **__: Any) -> None:
            tries.append(1)
            raise StorageError("the disk is full")

        works.journal.record = full  # type: ignore[method-assign]
        works.hub.offer(delivery(1, START, sink))
        until(lambda: len(tries) >= 2, "tried again")
        assert sink.done == []
        works.journal.record = real  # type: ignore[method-assign]
        until(lambda: sink.done, "settled")
        assert works.levels() == [1]


def test_a_message_that_cannot_be_worked_off_ends_neither_the_hub_nor_its_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    with Works(tmp_path, None, [sensor(), sensor("m2")], ManualClock(START)) as works:

        def fails(*_: Any, **__: Any) -> Any:
            raise RuntimeError("hunter2")

        works.hub._directory.maps["m2"].read = fails  # type: ignore[method-assign]
        works.hub.offer(delivery(1, START, sink))
        works.hub.offer(delivery(2, START + 1, sink, topic="s/m2"))
        works.hub.offer(delivery(3, START + 2, sink))
        until(lambda: len(sink.done) == 3, "settled, all of them", 5)
        works.journal.flush()
        assert works.hub.alive
        assert works.levels() == [1, 3]
        assert works.hub.status().refused == {"payload": 1}
        (refusal,) = sink.done[1].refused
        (note,) = works.events("health")
        assert refusal.why == "payload"
        assert "'s/m2' cannot be worked off (RuntimeError in" in note.data.message  # type: ignore[union-attr]
        assert "'s/m2' was passed over" in caplog.text
        assert "hunter2" not in caplog.text + refusal.text + str(note)


def test_refusals_of_one_message_are_told_up_to_a_bound_and_counted_beyond(tmp_path: Path) -> None:
    pack = json.dumps([{"n": "level", "u": "kg", "v": 1}] * 250)
    sink = Sink()
    with Works(
        tmp_path, None, [sensor(payload="senml", time_path="", time_unit="")], ManualClock(START)
    ) as w:
        w.hub.offer(Delivery(payload=pack.encode(), arrived_us=START, topic="s/m1", origin=sink))
        until(lambda: sink.done, "settled")
        assert (len(sink.done[0].refused), sink.done[0].refused_more) == (100, 150)
        assert w.hub.status().refused == {"unit": 250}


def test_silence_rests_only_while_the_sensors_own_broker_is_away() -> None:
    """That of `both`, whose topic is at two brokers, rests while one of them is."""
    topics = {"a": "a/1", "b": "b/1", "both": "c/1", "post": ""}
    some = [sensor(id, topic=topic, rules=(QUIET,)) for id, topic in topics.items()]
    rules = SensorRules("s", Directory(some), 300, {"A": ("a/#", "c/#"), "B": ("b/+", "c/1")})

    def silent(at: int, *away: str) -> list[str]:
        return [noted.source.rpartition("/")[2] for noted in rules.tick(START + at * SECOND, away)]

    rules.listen(START)
    rules.listen(START, ["A"], ["B"])
    assert silent(30, "B") == ["a", "post"]
    rules.listen(START + 40 * SECOND, ["B"])
    assert silent(55) == []
    assert silent(65) == ["b", "both"]


def test_two_connections_to_one_broker_have_two_names() -> None:
    urls = ("mqtt://h", "mqtt://h:1884", "mqtt://h:1883", "mqtt://h")
    names = sensors.broker_names([Broker(url=url) for url in urls])
    assert names == ["h:1883", "h:1884", "h:1883 #2", "h:1883 #3"]


def test_another_reason_why_a_broker_is_lost_is_told(tmp_path: Path) -> None:
    """First it is gone, then its certificate has expired: who mends it has to know the second."""
    broker = type("Broker", (), {"tls": False, "port": 1, "url": "mqtt://127.0.0.1:1"})()
    works = Works(tmp_path, broker, [sensor()], ManualClock(START), deliver=lambda _: None)
    try:
        for text in ("lost", "refused", "refused", "certificate"):
            works.hub.told("127.0.0.1:1", "raised", text)
        for _ in range(2):
            works.hub.told("127.0.0.1:1", "cleared", "delivers")
        works.journal.flush()
        said = [event.data for event in works.events("health")]
        messages = [data.message for data in said if isinstance(data, Health)]
        assert messages == ["lost", "refused", "certificate", "delivers"]
    finally:
        works.journal.close()


def test_silence_is_told_only_while_the_broker_is_connected(tmp_path: Path) -> None:
    clock = ManualClock(START)
    broker = type("Broker", (), {"tls": False, "port": 1, "url": "mqtt://127.0.0.1:1"})()
    works = Works(tmp_path, broker, [sensor(rules=(QUIET,))], clock, deliver=lambda _: None)
    works.hub.start()
    try:
        name = "127.0.0.1:1"

        def passes(seconds: int) -> None:
            for _ in range(seconds // 5):
                clock.advance(5)
                time.sleep(0.15)

        works.hub.told(name, "raised", "no broker")
        clock.advance(60)
        works.hub.offer(delivery(1, START + 60 * SECOND))
        until(lambda: works.levels() == [1], "journaled")
        passes(40)
        works.hub.told(name, "cleared", "delivers")
        assert works.events("alert") == [], "nobody listened"
        until(lambda: (clock.advance(2), works.events("alert"))[1], "silence is told")
    finally:
        works.hub.stop()
        works.journal.close()


# -- the rules after a kill


def record(journal: Journal, n: int, level: float, rules: SensorRules) -> None:
    time_us = START + n * SECOND
    data = Reading(quantity="level", value=level, unit="m", received_us=time_us)
    reading = Noted(sensor_source("s", "m1"), timed_id(time_us, "s", "m1", "level"), data, time_us)
    measured = Measured("level", level, "m", time_us, True)
    journal.record([reading, *rules.feed("m1", measured, time_us)])


def alerts(journal: Journal) -> list[tuple[str, str]]:
    return [(r.event.id, r.event.type) for r in journal.read(0, 99_999, ("alert",))]


@settings(max_examples=25, deadline=None)
@given(
    runs=st.lists(
        st.tuples(st.sampled_from([0.5, 1.2, 1.6, 3.0]), st.integers(1, 9)), min_size=5, max_size=10
    ),
    kills=st.sets(st.integers(0, 50), min_size=1, max_size=5),
    checkpoints=st.sets(st.integers(0, 50), max_size=3),
)
def test_rules_go_on_after_a_kill_as_if_there_had_been_none(
    runs: list[tuple[float, int]],
    kills: set[int],
    checkpoints: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    levels = [level for level, length in runs for _ in range(length)]
    folder = tmp_path_factory.mktemp("rules")
    directory = Directory([sensor(rules=(HIGH,))])
    engine = SensorEngine("s", "m1", (HIGH,))
    engine.listen(START)
    times = [START + n * SECOND for n in range(len(levels))]
    expected = [s.id for t, v in zip(times, levels, strict=True) for s in engine.feed("level", v, t, t)]
    clock = ManualClock(START)

    def start() -> tuple[Journal, SensorRules]:
        journal = Journal(folder / "journal.db", clock, synchronous="OFF", group_s=0.0)
        rules = SensorRules("s", directory, 300, {})
        journal.record(rules.restore(journal, START))
        journal.flush()
        return journal, rules

    journal, rules = start()
    journal.record([], states=rules.listen(START))
    for n, level in enumerate(levels):
        record(journal, n, level, rules)
        if n in checkpoints:
            journal.record([], states=rules.checkpoint(START + n * SECOND))
        if n in kills:
            journal.close()  # what was recorded is there; what the rules know is gone
            journal, rules = start()
    journal.flush()
    assert [id for id, _ in alerts(journal)] == expected
    journal.close()


def test_the_alert_of_a_sensor_that_is_gone_is_cleared(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Works(tmp_path, None, [sensor(rules=(HIGH,))], clock) as works:
        for n in range(5):
            works.hub.offer(delivery(2.0, START + n * SECOND))
        until(lambda: works.events("alert"), "raised")
    with Works(tmp_path, None, [sensor("m2")], clock) as works:
        until(lambda: len(works.events("alert")) == 2, "cleared")
        assert works.events("alert")[1].data.reason == "rule-removed"  # type: ignore[union-attr]
        until(lambda: not works.journal.states("sensors/engine/"), "forgotten")


# -- the process


SITE = """
[site]
id = "s"
data = "data"
[[camera]]
id = "gate"
url = "rtsp://127.0.0.1:1/x"
[[sensor]]
id = "m1"
topic = "s/m1"
payload = "json"
time_path = "t"
time_unit = "us"
[sensor.fields.level]
unit = "m"
sent = "cm"
high = 10
[[sensor.rules]]
kind = "threshold"
name = "high"
quantity = "level"
above = 1.5
"""


def site_file(folder: Path, more: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(SITE + more)
    return path


def test_nothing_is_lost_or_doubled_when_the_process_is_killed(tmp_path: Path) -> None:
    """The product's own process, killed again and again while a thousand readings come."""
    with mosquitto(tmp_path / "mosquitto") as broker:
        site = site_file(tmp_path, f'[[sensors.mqtt]]\nurl = "{broker.url}"\n')
        command = [sys.executable, "-P", "-m", "cli.main", "sensors", "run", str(site)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        begun = time.time_ns() // 1000
        sent: list[tuple[int, float]] = []
        journal = Journal(tmp_path / "data/journal.db", SystemClock())
        readings = lambda: [r.event for r in journal.read(0, 99_999, ("sensor",))]  # noqa: E731
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)
        try:
            status = tmp_path / "data/run/sensors.json"
            until(lambda: status.exists() and all(json.loads(status.read_bytes())["connected"].values()),
                  "connected", 40)  # fmt: skip
            with Publisher(broker) as to:
                for _ in range(3):
                    part = [(begun + len(sent) + n, float((len(sent) + n) % 400)) for n in range(300)]
                    sent += part
                    to.send_all([("s/m1", json.dumps({"level": v, "t": t})) for t, v in part])
                    process.kill()
                    process.wait()
                    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)
            until(lambda: len(readings()) >= len(sent), "all are there", 40)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert sorted((e.time_us, round(e.data.value * 100, 6)) for e in readings()) == sent  # type: ignore[union-attr]
        raised = [r.event for r in journal.read(0, 99_999, ("alert",)) if r.event.type.endswith("raised.v1")]
        assert len(raised) == 2, "levels from 151 to 399 cm, twice"
        journal.close()


def test_the_site_has_the_process_if_it_has_sensors(tmp_path: Path) -> None:
    loaded = site_settings.load(site_file(tmp_path))
    assert [child.name for child in running.children(loaded)] == [
        "worker-0",
        "sensors",
        "services",
        "console",
    ]
    bare = SITE[: SITE.index("[[sensor]]")]
    (tmp_path / "site.toml").write_text(bare)
    names = [child.name for child in running.children(site_settings.load(tmp_path / "site.toml"))]
    assert "sensors" not in names


def test_list_and_try(tmp_path: Path) -> None:
    site = str(site_file(tmp_path))
    listed = CliRunner().invoke(main, ["sensors", "list", site])
    assert listed.output.split("\t") == ["m1", "json", "s/m1", "level m", "high (threshold)\n"]
    shown = CliRunner().invoke(main, ["sensors", "try", site, "m1"], input='{"level":120,"t":1000000}')
    assert shown.exit_code == 0
    assert json.loads(shown.output) == {
        "quantity": "level",
        "value": 1.2,
        "unit": "m",
        "time": "1970-01-01T00:00:01.000000Z",
    }
    wrong = CliRunner().invoke(main, ["sensors", "try", site, "m1"], input='{"level":1200}')
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["refused"] == "range"
    nobody = CliRunner().invoke(main, ["sensors", "try", site, "m9"], input="1")
    assert nobody.exit_code == 2
    assert "linli sensors list" in nobody.output
    assert not (tmp_path / "data").exists(), "nothing is kept"


OPEN = '[sensors.http]\nport = 1\nhost = "0.0.0.0"\n'


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[sensors.http]\nport = 1\n", "nobody may hand in readings"),
        (OPEN + "loopback = true\n", "remove loopback"),
        (OPEN + '[[sensors.http.gateway]]\nwho = "g"\ntoken = "env:T"\n', "TLS"),
        ('[[sensors.http.gateway]]\nwho = "g"\ntoken = "env:SHORT"\n', "fewer than 16"),
        ('[[sensors.http.gateway]]\nwho = "g"\ntoken = "env:NONE"\n', "set the environment variable NONE"),
        ('[[sensors.mqtt]]\nurl = "mqtt://h"\ncredentials = "env:NONE"\n', "broker h:1883"),
    ],
)  # fmt: skip
def test_a_site_that_would_let_anybody_in_or_nobody_does_not_start(
    more: str, says: str, tmp_path: Path
) -> None:
    loaded = site_settings.load(site_file(tmp_path, more))
    with pytest.raises(ConfigError, match=says) as error:
        sensors.sensors(loaded, SystemClock(), {"T": "0123456789abcdef", "SHORT": "hunter2"})
    assert "hunter2" not in str(error.value)


# -- its parts


def test_complaints_are_told_once_and_then_by_count(tmp_path: Path) -> None:
    clock = ManualClock(START)
    journal = Journal(tmp_path / "journal.db", clock, group_s=0.0)
    complaints = Complaints("s", BOX, journal)

    def told() -> list[Health]:
        journal.flush()
        return [r.event.data for r in journal.read(0, 99, ("health",))]  # type: ignore[misc]

    for n in range(100):
        complaints.add(Refusal("range", f"{n} is too much", "level", "m1"), START + n)
    complaints.add(Refusal("unit", "no metre", "level", "m1"), START)
    complaints.add(Refusal("unknown", "who is it?"), START)
    assert [health.detail["count"] for health in told()] == [1, 1, 1]
    complaints.due(START + EVERY_US - 1)
    assert len(told()) == 3
    complaints.due(START + EVERY_US)
    assert len(told()) == 4
    assert told()[3].detail["count"] == 99
    assert "99 is too much" in told()[3].message
    complaints.due(START + 3 * EVERY_US)
    assert len(told()) == 4
    assert complaints.counts == {"range": 100, "unit": 1, "unknown": 1}
    journal.close()


def test_arrivals_are_remembered_over_a_restart_and_forgotten_in_the_end() -> None:
    kept: dict[str, bytes] = {}
    arrivals = Arrivals({})
    for n in range(BATCHES + 10):
        arrivals.add(b"k%d" % n, START + n)
        assert arrivals.find(b"k%d" % n) == START + n
        kept |= dict(arrivals.close_batch())
        assert arrivals.close_batch() == []
    assert len(kept) == BATCHES
    for again in (arrivals, Arrivals(kept)):
        assert [again.find(b"k%d" % n) for n in (9, 10, BATCHES + 9)] == [
            None,
            START + 10,
            START + BATCHES + 9,
        ]
    again = Arrivals(kept)
    again.add(b"new", START)
    ((name, _),) = again.close_batch()
    assert name == f"sensors/arrivals/{10 % BATCHES}"


def test_deliveries_are_told_apart() -> None:
    one = delivery(1, START, name=b"c 1")
    assert key_of(one) == key_of(delivery(1, START, name=b"c 1", again=True))
    for other in (
        delivery(1, START, name=b"c 2"),
        delivery(2, START, name=b"c 1"),
        delivery(1, START, name=b"c 1", topic="s/m2"),
    ):
        assert key_of(one) != key_of(other)


RULES: tuple[SensorRule, ...] = (HIGH, QUIET)


def test_rules_of_the_site_file_reach_the_engine() -> None:
    known = Directory([Sensor(id="a", fields={"level": Field(unit="m")}, rules=RULES)])
    assert known.maps["a"].units == {"level": "m"}
