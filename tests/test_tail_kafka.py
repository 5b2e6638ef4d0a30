"""`linli tail` over a real Kafka, as a person types it."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaProducer

from cli.main import main
from events import codec
from events.binding import message
from events.events import Event
from events.media import rfc3339
from events.topics import topics
from storage.brokers import Brokers
from storage.kafkatopics import apply
from testbed.happenings import Street
from testbed.kafka import Kafka
from tests.relayworks import EPOCH, until
from tests.servers import apache, started


class City:
    """A site without cameras at a broker."""

    def __init__(self, kafka: Kafka, prefix: str, folder: Path) -> None:
        self.brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
        self.site = folder / "site.toml"
        self.site.write_text(
            f'[site]\nid = "city"\n[bus]\nbootstrap = ["{kafka.bootstrap}"]\nprefix = "{prefix}"\n'
            '[store]\nurl = "postgresql://localhost/linli"\n'
        )
        assert not apply(self.brokers, topics(prefix), 1)

    def send(self, events: list[Event]) -> None:
        producer = KafkaProducer(bootstrap_servers=self.brokers.bootstrap, acks="all")
        for event in events:
            m = message(codec.encode(event))
            producer.send(f"{self.brokers.prefix}.{m.family}", m.value, m.key, m.headers)
        producer.flush(30)
        producer.close()

    def garbage(self, family: str) -> None:
        producer = KafkaProducer(bootstrap_servers=self.brokers.bootstrap, acks="all")
        producer.send(f"{self.brokers.prefix}.{family}", b"who reads this", b"key").get(20)
        producer.close()

    def tail(self, *more: str) -> tuple[int, list[Event], str]:
        ended = CliRunner().invoke(main, ["tail", str(self.site), *more])
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return (
            ended.exit_code,
            [codec.decode(line.encode()) for line in ended.stdout.splitlines()],
            ended.stderr,
        )


@pytest.fixture
def city(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> City:
    return City(kafka, topic_prefix.rstrip("."), tmp_path)


def happened(camera: str, count: int, seed: int = 1) -> list[Event]:
    return Street("town", camera, EPOCH, seed).events(count)


def in_order(found: list[Event], sent: list[Event]) -> bool:
    """Each once, and those of a camera and family in order."""
    assert {e.id for e in found} == {e.id for e in sent}
    assert len(found) == len(sent)
    for camera, family in {(e.key, e.family) for e in sent}:
        assert [e for e in found if (e.key, e.family) == (camera, family)] == [
            e for e in sent if (e.key, e.family) == (camera, family)
        ]
    return True


def test_what_is_there_is_printed_by_type_camera_and_time(city: City) -> None:
    before = happened("gate", 30) + happened("yard", 30)
    city.send(before)
    code, found, err = city.tail()
    assert (code, err) == (0, "")
    assert in_order(found, before)
    _, alerts, _ = city.tail("--type", "alert", "--type", "count", "--camera", "yard")
    assert in_order(alerts, [e for e in before if e.family in ("alert", "count") and e.key == "yard"])
    time.sleep(0.05)
    cut = rfc3339(int(time.time() * 1e6))  # when the broker took it, not when it happened
    time.sleep(0.05)
    after = happened("lane", 20, 2)
    city.send(after)
    assert in_order(city.tail("--since", cut)[1], after)
    assert city.tail("--since", "2100-01-01T00:00:00Z")[1] == []


def test_a_group_goes_on_where_it_left_off_and_is_set_to_a_time(city: City) -> None:
    began = rfc3339(int(time.time() * 1e6) - 1_000_000)
    first, second = happened("gate", 20), happened("yard", 20)
    city.send(first)
    assert in_order(city.tail("--group", "office")[1], first)
    city.send(second)
    assert in_order(city.tail("--group", "office")[1], second)
    assert city.tail("--group", "office")[1] == []
    assert in_order(city.tail("--group", "office", "--since", began)[1], first + second)


def test_what_is_no_event_is_named_and_passed_over(city: City) -> None:
    city.garbage("alert")
    sent = happened("gate", 20)
    city.send(sent)
    for more in ((), ("--group", "office")):
        code, found, err = city.tail(*more)
        assert code == 0
        assert in_order(found, sent)
        assert re.fullmatch(
            rf"{city.brokers.prefix}\.alert/\d+ at 0: no header ce_specversion: [^\n]*\n", err
        )


def test_what_cannot_be_done_is_said(city: City) -> None:
    for more, text in (
        (("--since", "12"), "'12' is not a time"),
        (("--group", "projector"), "the group projector is Linli's own"),
        (("--forget", "office"), "Kafka keeps nothing back for a consumer"),
        (("--bus", "journal", "--since", "2026-01-31T08:00:00Z"), "a time is for --bus kafka"),
    ):
        code, found, err = city.tail(*more)
        assert (code, found) == (2, [])
        assert text in err
    city.site.write_text(city.site.read_text().replace(city.brokers.prefix, f"{city.brokers.prefix}.other"))
    code, _, err = city.tail("--type", "alert")
    assert code == 2
    assert f"the topic {city.brokers.prefix}.other.alert is not there" in err
    assert "linli topics apply" in err


def test_a_site_with_cameras_reads_its_journal_unless_told_otherwise(city: City) -> None:
    city.site.write_text(city.site.read_text() + '[[camera]]\nid = "gate"\nurl = "rtsp://127.0.0.1/x"\n')
    sent = happened("far", 5)
    city.send(sent)
    assert city.tail() == (0, [], "")
    assert in_order(city.tail("--bus", "kafka")[1], sent)


class Following:
    """`linli tail --follow` as a process of its own."""

    def __init__(self, city: City, folder: Path, *more: str) -> None:
        folder.mkdir()
        self.out, self.err = folder / "out", folder / "err"
        command = [sys.executable, "-P", "-m", "cli.main", "tail", str(city.site), "--follow", *more]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def events(self) -> list[Event]:
        return [codec.decode(line) for line in self.out.read_bytes().split(b"\n")[:-1]]

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0


def test_brokers_that_are_away_are_said_once_and_waited_for(topic_prefix: str, tmp_path: Path) -> None:
    with apache(started(Kafka(tmp_path / "own"))) as own:
        city = City(own, topic_prefix.rstrip("."), tmp_path)
        first, second = happened("gate", 20), happened("yard", 20)
        both = [
            Following(city, tmp_path / "alone"),
            Following(city, tmp_path / "group", "--group", "office"),
        ]
        try:
            city.send(first)
            until(lambda: all(len(one.events()) >= len(first) for one in both))
            own.kill()
            until(lambda: all("waiting for them" in one.err.read_text() for one in both))
            time.sleep(2)
            own.start()
            city.send(second)
            until(lambda: all(len(one.events()) >= len(first + second) for one in both))
            for one in both:
                assert in_order(one.events(), first + second)
                said = one.err.read_text().splitlines()
                assert len(said) == 2, said
                assert said[0].endswith("; waiting for them")
                assert said[1] == "Kafka's brokers answer again"
                one.end()
        finally:
            for one in both:
                one.process.kill()
                one.process.wait(10)


def test_without_brokers_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.kafkabus.CONNECTED_MS", 1000)
    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nid = "city"\n[bus]\nbootstrap = ["127.0.0.1:1"]\n[store]\nurl = "postgresql://localhost/linli"\n'
    )
    ended = CliRunner().invoke(main, ["tail", str(site)])
    assert ended.exit_code == 2
    assert "127.0.0.1:1 cannot be reached: Connection refused" in ended.stderr
    assert ended.stdout == ""
