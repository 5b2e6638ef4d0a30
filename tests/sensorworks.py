"""What the tests of sensors share: a real Mosquitto, sensors, a hub over a journal, and waiting."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from events.clock import Clock, SystemClock
from events.events import Event
from ingest.deliveries import Delivery
from ingest.mqtt import Subscriber
from ingest.readings import Directory
from ingest.sensorfile import Broker, Field, Sensor
from pipeline.sensors import SensorHub
from storage.journal import Journal
from testbed.mosquitto import Mosquitto, MosquittoMissing

BOX = "/s/box/b"


def mosquitto(folder: Path, **settings: Any) -> Mosquitto:
    """A broker, not started; the test is skipped where Mosquitto is absent."""
    try:
        return Mosquitto(folder, **settings)
    except MosquittoMissing as error:
        if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"no broker: {error}")


def until(happened: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait for something; answers it."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


def sensor(id: str = "m1", **changes: Any) -> Sensor:
    """One that sends JSON with a time in seconds and a level in metres."""
    settings: dict[str, Any] = {
        "topic": f"s/{id}",
        "payload": "json",
        "time_path": "t",
        "time_unit": "us",
        "fields": {"level": Field(unit="m", low=-100, high=100)},
    }
    return Sensor(id=id, **(settings | changes))


class Sink:
    """An origin that remembers what was settled."""

    def __init__(self) -> None:
        self.done: list[Delivery] = []

    def settled(self, deliveries: Sequence[Delivery]) -> None:
        self.done += deliveries


class Works:
    """A journal, a hub, and a subscriber to a broker; a context manager. `wait`: until it is connected."""

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto | None,
        sensors: Sequence[Sensor],
        clock: Clock | None = None,
        wait: bool = True,
        **more: Any,
    ) -> None:
        self.clock = clock or SystemClock()
        self.journal = Journal(folder / "journal.db", self.clock, group_s=0.01)
        self.wait = wait
        names = [f"{'localhost' if broker.tls else '127.0.0.1'}:{broker.port}"] if broker else []
        self.hub = SensorHub(
            "s", BOX, Directory(sensors), self.journal, self.clock, brokers=dict.fromkeys(names, ())
        )
        self.told: list[tuple[str, str]] = []
        self.subscriber: Subscriber | None = None
        if broker is not None:
            version = more.pop("version", "5")
            ca = more.get("ca")
            self.subscriber = Subscriber(
                Broker(url=broker.url, version=version, ca=ca or "")
                if ca
                else Broker(url=broker.url, version=version),
                client="linli-s-b",
                topics=more.pop("topics", ["s/#"]),
                deliver=more.pop("deliver", self.hub.offer),
                told=self._told,
                clock=self.clock,
                waiting=self.hub.waiting,
                **more,
            )

    def _told(self, state: str, text: str) -> None:
        self.told.append((state, text))
        assert self.subscriber is not None
        self.hub.told(self.subscriber.name, state, text)

    def __enter__(self) -> "Works":
        self.hub.start()
        if self.subscriber is not None:
            self.subscriber.start()
            if self.wait:
                until(lambda: self.subscriber and self.subscriber.connected, "connected")
        return self

    def __exit__(self, *_: object) -> None:
        if self.subscriber is not None:
            self.subscriber.stop()
        self.hub.stop()
        self.journal.close()

    def events(self, family: str = "sensor") -> list[Event]:
        return [record.event for record in self.journal.read(0, 1_000_000, (family,))]

    def levels(self) -> list[float]:
        return [event.data.value for event in self.events()]  # type: ignore[union-attr]


class Publisher:
    """A paho client that publishes at QoS 1; a context manager."""

    def __init__(self, broker: Mosquitto, **login: str) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.max_inflight_messages_set(200)
        if login:
            self.client.username_pw_set(login["user"], login["password"])
        if broker.tls:
            self.client.tls_set(str(broker.folder / "ca.pem"))
        self.client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        self.client.connect("localhost" if broker.tls else "127.0.0.1", broker.port)
        self.client.loop_start()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, topic: str, payload: str | bytes, **more: Any) -> None:
        """Returns when the broker has it."""
        info = self.client.publish(topic, payload, qos=more.pop("qos", 1), **more)
        info.wait_for_publish(20)
        assert info.is_published()

    def send_all(self, messages: Sequence[tuple[str, str]]) -> None:
        infos = [self.client.publish(topic, payload, qos=1) for topic, payload in messages]
        for info in infos:
            info.wait_for_publish(30)
            assert info.is_published()
