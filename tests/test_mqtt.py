"""MQTT with a real Mosquitto: what is acknowledged and when, TLS, passwords, restarts, kills."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.errors import ConfigError
from ingest import mqtt as mqtt_module
from ingest.credentials import Credentials
from ingest.deliveries import Delivery
from testbed.mosquitto import Mosquitto
from tests.sensorworks import Publisher, Works, mosquitto, sensor, until


@pytest.fixture(autouse=True)
def soon_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is never settled is not waited for."""
    monkeypatch.setattr(mqtt_module, "_STOP_S", 0.5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


def payload(level: float, time_us: int | None = None) -> str:
    return json.dumps({"level": level, "t": time_us if time_us is not None else time.time_ns() // 1000})


def in_order(count: int, start: int = 0) -> list[tuple[str, str]]:
    now = time.time_ns() // 1000
    return [("s/m1", payload((start + n) % 100, now + start + n)) for n in range(count)]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_messages_become_readings_in_order(version: str, broker: Mosquitto, tmp_path: Path) -> None:
    with Works(tmp_path, broker, [sensor()], version=version) as works, Publisher(broker) as to:
        to.send_all(in_order(300))
        until(lambda: len(works.events()) == 300, "all are journaled")
        assert works.levels() == [n % 100 for n in range(300)]
        assert works.told[-1][0] == "cleared"
        status = works.hub.status()
        assert (status.deliveries, status.readings, status.refused) == (300, 300, {})


@pytest.mark.parametrize(("version", "refused"), [("5", {}), ("3.1.1", {"payload": 1})])
def test_a_message_that_is_too_large_is_not_taken(
    version: str, refused: dict[str, int], broker: Mosquitto, tmp_path: Path
) -> None:
    now = time.time_ns() // 1000
    with Works(tmp_path, broker, [sensor()], version=version) as works, Publisher(broker) as to:
        to.send("s/m1", json.dumps({"level": 1, "t": now, "more": "x" * (2 << 20)}))
        to.send("s/m1", payload(2, now + 1))
        until(works.events, "the one behind it is taken")
        assert works.levels() == [2]
        assert works.hub.status().refused == refused
        works.journal.flush()
        notes = [event.data.message for event in works.events("health") if event.key == "m1"]  # type: ignore[union-attr]
        assert len(notes) == len(refused)
        assert all("bytes, which is too large; send less at once" in note for note in notes)


def test_what_is_not_committed_is_not_acknowledged_and_comes_again(broker: Mosquitto, tmp_path: Path) -> None:
    taken: list[Delivery] = []
    with Works(tmp_path / "a", broker, [sensor()], deliver=taken.append), Publisher(broker) as to:
        to.send_all(in_order(50))
        until(lambda: len(taken) == 50, "delivered")
    assert not any(delivery.again for delivery in taken)
    with Works(tmp_path / "b", broker, [sensor()]) as works:
        until(lambda: len(works.events()) == 50, "delivered again")
    taken.clear()
    with Works(tmp_path / "c", broker, [sensor()], deliver=taken.append):
        time.sleep(0.5)
    assert taken == [], "it was acknowledged"


def test_acknowledgements_do_not_outlive_their_connection(broker: Mosquitto, tmp_path: Path) -> None:
    """A number that was given on an earlier connection may mean another message now."""
    taken: list[Delivery] = []
    with Works(tmp_path, broker, [sensor()], deliver=taken.append) as works:
        assert works.subscriber is not None
        with Publisher(broker) as to:
            to.send_all(in_order(3))
        until(lambda: len(taken) == 3, "delivered")
        broker.stop()
        until(lambda: not works.subscriber.connected, "lost")  # type: ignore[union-attr]
        broker.start()
        until(lambda: len(taken) == 6, "delivered again")
        assert [delivery.again for delivery in taken] == [False] * 3 + [True] * 3
        works.subscriber.settled(taken[:3])  # of the connection before
        time.sleep(0.3)
        broker.stop()
        broker.start()
        until(lambda: len(taken) == 9, "they were not acknowledged")


def test_nothing_is_lost_while_the_box_is_away(broker: Mosquitto, tmp_path: Path) -> None:
    with Works(tmp_path, broker, [sensor()]) as works, Publisher(broker) as to:
        to.send_all(in_order(10))
        until(lambda: len(works.events()) == 10, "first")
    with Publisher(broker) as to:
        to.send_all(in_order(500, start=10))
    broker.stop()
    broker.start()
    with Works(tmp_path, broker, [sensor()], wait=False) as works:
        until(lambda: len(works.events()) == 510, "the rest")
        assert works.levels() == [n % 100 for n in range(510)]


def test_a_broker_that_is_killed_is_told_and_found_again(broker: Mosquitto, tmp_path: Path) -> None:
    with Works(tmp_path, broker, [sensor()]) as works:
        with Publisher(broker) as to:
            to.send_all(in_order(100))
            until(lambda: len(works.events()) == 100, "first")
        broker.kill()
        until(lambda: works.events("health"), "told")
        broker.start()
        until(lambda: works.told[-1][0] == "cleared", "told that it is back")
        with Publisher(broker) as to:
            to.send_all(in_order(100, start=100))
        until(lambda: len(works.events()) >= 200, "the rest")
        assert works.levels() == [n % 100 for n in range(200)]
        what = f"mqtt 127.0.0.1:{broker.port}"
        states = [e.data.state for e in works.events("health") if e.data.what == what]  # type: ignore[union-attr]
        assert [state for state in states if state != "note"] == ["raised", "cleared"]


def test_a_message_without_a_time_is_one_reading_however_often_it_comes(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """The journal has it, the acknowledgement was lost with the process: its arrival is known."""
    untimed = sensor(payload="number", time_path="", time_unit="")

    class Deaf(Works):
        """Its acknowledgements never go out."""

        def __enter__(self) -> "Works":
            assert self.subscriber is not None
            self.subscriber.settled = lambda _: None  # type: ignore[method-assign]
            return super().__enter__()

    with Deaf(tmp_path, broker, [untimed]) as works, Publisher(broker) as to:
        for level in (1, 2, 2):
            to.send("s/m1", str(level))
            time.sleep(0.2)
        until(lambda: len(works.events()) == 3, "journaled")
    with Works(tmp_path, broker, [untimed]) as works:
        until(lambda: works.hub.status().deliveries == 3, "delivered again")
        works.journal.flush()
        assert works.levels() == [1, 2, 2]
        assert works.journal.stats().repeats == 3


def test_a_retained_message_without_a_time_is_no_reading(broker: Mosquitto, tmp_path: Path) -> None:
    with Publisher(broker) as to:
        to.send("s/m1", "5", retain=True)
        to.send("s/m2", payload(7), retain=True)
    sensors = [sensor(payload="number", time_path="", time_unit=""), sensor("m2")]
    with Works(tmp_path, broker, sensors) as works:
        until(lambda: works.hub.status().deliveries == 2, "delivered")
        until(lambda: works.levels() == [7], "the one with a time")
        assert works.hub.status().refused == {"time": 1}


def test_bad_payloads_do_not_stop_the_flow(broker: Mosquitto, tmp_path: Path) -> None:
    bad: list[tuple[str, Any]] = [
        ("s/m1", b"\xff\x00"),
        ("s/m1", "[" * 50_000),
        ("s/m1", '{"level": "password=hunter2"}'),
        ("s/nobody", "1"),
        ("s/m1", payload(1e9)),
    ]
    with Works(tmp_path, broker, [sensor()]) as works, Publisher(broker) as to:
        for _ in range(20):
            to.send_all(bad)
        to.send("s/m1", payload(3))
        until(lambda: works.levels() == [3], "the good one")
        assert works.hub.status().refused == {"payload": 40, "value": 20, "unknown": 20, "range": 20}
        notes = [event.data for event in works.events("health")]
        assert sum(note.state == "note" for note in notes) == 4, "one of each kind"  # type: ignore[union-attr]
        assert "hunter2" not in repr(notes)
        assert any("add it, with `topic`" in note.message for note in notes)  # type: ignore[union-attr]


# -- who may, and TLS


def test_passwords(tmp_path: Path) -> None:
    users = {"linli": "p w@/%", "gate": "secret"}
    with mosquitto(tmp_path / "m", users=users) as broker:
        wrong = Credentials("linli", "secret-of-nobody")
        with Works(tmp_path / "a", broker, [sensor()], credentials=wrong, wait=False) as works:
            until(lambda: works.told, "refused")
            assert works.told[0][0] == "raised"
            assert "mend `credentials`" in works.told[0][1]
            assert "secret" not in works.told[0][1]
            assert not works.subscriber.connected  # type: ignore[union-attr]
        right = Credentials("linli", users["linli"])
        with Works(tmp_path / "b", broker, [sensor()], credentials=right) as works:
            with Publisher(broker, user="gate", password="secret") as to:
                to.send("s/m1", payload(2))
            until(lambda: works.levels() == [2], "journaled")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_wrong_password_is_told_under_each_version(version: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path / "m", users={"linli": "right"}) as broker:
        wrong = Credentials("linli", "wrong")
        with Works(tmp_path, broker, [sensor()], credentials=wrong, version=version, wait=False) as works:
            until(lambda: works.told, "refused")
            assert "mend `credentials`" in works.told[0][1]


def test_tls(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "m", tls=True) as broker:
        with Works(tmp_path / "a", broker, [sensor()], ca=str(broker.folder / "ca.pem")) as works:
            with Publisher(broker) as to:
                to.send_all(in_order(300))
            until(lambda: len(works.events()) == 300, "journaled")
        for folder, ca in (("b", str(broker.folder / "other.pem")), ("c", None)):
            with Works(tmp_path / folder, broker, [sensor()], ca=ca, wait=False) as works:
                until(lambda w=works: w.told, "refused")
                assert works.told[0][0] == "raised"
                assert "its certificate is not trusted" in works.told[0][1]
                assert not works.subscriber.connected  # type: ignore[union-attr]
        with pytest.raises(ConfigError, match="cannot read the certificate"):
            Works(tmp_path / "d", broker, [sensor()], ca=str(tmp_path / "none.pem"))


def test_a_session_that_the_broker_lost_is_told(tmp_path: Path) -> None:
    broker = mosquitto(tmp_path / "m", settings="persistence false")
    with broker, Works(tmp_path, broker, [sensor()]) as works:
        broker.stop()
        broker.start()
        until(lambda: any("has lost our session" in text for _, text in works.told), "told")


def test_a_second_client_with_our_id_is_told(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        Works(tmp_path / "a", broker, [sensor()]) as works,
        Works(tmp_path / "b", broker, [sensor()]) as others,
    ):
        hint = "Give each box its own `client`"
        until(lambda: any(hint in text for _, text in [*works.told, *others.told]), "told")
