"""`linli serve` on a real Kafka: into the store once and in order; what is no event is set aside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from events import codec
from events.binding import message
from events.clock import SystemClock
from events.events import Event
from events.topics import DLQ, FAMILIES, topic_name
from storage.brokers import Brokers
from storage.deadletters import DeadLetters
from storage.journal import Journal
from storage.kafka import arguments
from storage.opening import open_store
from storage.store import Store
from testbed.agreement import agree
from testbed.happenings import Street
from testbed.kafka import Kafka
from tests.relayworks import make_topics

EPOCH = 1_700_000_000_000_000
ALL = (*FAMILIES, DLQ)


class Site:
    """A command centre: a site file, the brokers' topics, and what feeds them."""

    def __init__(self, folder: Path, kafka: Kafka, prefix: str, url: str) -> None:
        self.path = folder / "centre.toml"
        self.brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
        make_topics(arguments(self.brokers), prefix, ALL)
        self.path.write_text(
            f'[site]\nid = "centre"\ndata = "data"\n[bus]\nbootstrap = ["{kafka.bootstrap}"]\n'
            f'prefix = "{prefix}"\n[store]\nurl = "{url}"\n[serve]\nport = 0\nprojectors = 2\n'
            "[recording]\nkeep_days = 36500\n"  # the events are of 2023
        )
        assert self.linli("store", "migrate").returncode == 0
        self.url = url
        self.journal = Journal(folder / "journal.db", SystemClock())
        self._producer: Any = KafkaProducer(**arguments(self.brokers), acks="all", enable_idempotence=True)
        self._running: list[subprocess.Popen[str]] = []

    def send(self, events: list[Event]) -> None:
        """Journaled here, and on the topics."""
        self.journal.append(events)
        for event in events:
            self.send_raw(event.family, *message(codec.encode(event))[1:])
        self._producer.flush(30)
        self.journal.flush()

    def send_raw(self, family: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        self._producer.send(topic_name(self.brokers.prefix, family), value, key, headers)

    def serve(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "cli.main", "serve", str(self.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._running.append(process)
        return process

    def linli(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """`linli A B SITE C...` for a command of two words."""
        whole = [sys.executable, "-m", "cli.main", *command[:2], str(self.path), *command[2:]]
        return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=120)

    def store(self) -> Store:
        return open_store(self.url)

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()
        self._producer.close(timeout=5)
        self.journal.close()


@pytest.fixture
def site(tmp_path: Path, kafka: Kafka, topic_prefix: str, database: str) -> Iterator[Site]:
    opened = Site(tmp_path, kafka, topic_prefix.rstrip("."), database)
    yield opened
    opened.close()


def until(what: Callable[[], object], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.1)


def stored(store: Store, count: int) -> None:
    until(lambda: store.sizes().events >= count)


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_all_comes_into_the_store_in_order_and_its_figures_are_told(site: Site) -> None:
    events = [e for n in range(4) for e in Street("town", f"c{n}", EPOCH + n).events(300)]
    site.send(events[:600])
    process = site.serve()
    assert process.stderr is not None
    url = process.stderr.readline().split()[1].removesuffix("/metrics")
    site.send(events[600:])
    store = site.store()
    stored(store, 1200)
    until(lambda: asked(f"{url}/readyz")[0] == 200)
    assert asked(f"{url}/healthz")[0] == 200
    figures = asked(f"{url}/metrics")[1]
    assert f'linli_projector_records_total{{topic="{site.brokers.prefix}.count"}}' in figures
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out.splitlines()[-1]) == {"records": 1200.0, "dead_letters": 0.0}
    found = agree([site.journal], store)
    print(found)
    assert found.whole
    store.close()


def test_what_is_no_event_is_set_aside_and_blocks_nothing(site: Site) -> None:
    event, late = Street("town", "c", EPOCH).events(2)
    key, value, headers = message(codec.encode(event))[1:]
    future = [(n, b"linli.count.crossing.v9" if n == "ce_type" else v) for n, v in headers]
    site.send_raw("count", key, value, future)
    site.send_raw("count", key, b"\xff garbage", headers)
    site.send_raw("count", b"x", b"not an event", [])
    site.send([event, late])
    site.serve()
    store = site.store()
    stored(store, 2)
    until(lambda: len(site.linli("dlq", "list", "--json").stdout.splitlines()) == 3)
    rows = [json.loads(line) for line in site.linli("dlq", "list", "--json").stdout.splitlines()]
    assert sorted(row["error"] for row in rows) == ["MalformedEvent", "MalformedEvent", "UnknownEvent"]
    (newer,) = (row for row in rows if row["error"] == "UnknownEvent")
    assert newer["type"] == "linli.count.crossing.v9"
    assert "newer" in newer["reason"]
    assert newer["id"].startswith(f"{site.brokers.prefix}.count/")
    assert agree([site.journal], store).whole
    shown = subprocess.run(
        [sys.executable, "-m", "cli.main", "dlq", "show", str(site.path), newer["id"]],
        capture_output=True,
        check=True,
    )
    assert shown.stdout == value + b"\n"
    assert b"ce_type: linli.count.crossing.v9" in shown.stderr
    store.close()


def test_a_letter_that_is_sent_again_counts_once_and_is_not_listed(site: Site) -> None:
    """As after an upgrade: what was refused can be read now."""
    event = Street("town", "c", EPOCH).events(1)[0]
    site.journal.append([event])
    site.journal.flush()
    raw = message(codec.encode(event))
    letters = DeadLetters(site.brokers, SystemClock(), "test")

    class Raw:
        topic, partition, offset = topic_name(site.brokers.prefix, "count"), 0, 7
        key, value, headers = raw.key, raw.value, raw.headers

    letters.keep(Raw, ValueError("a newer Linli wrote it"))  # type: ignore[arg-type]
    letters.keep(Raw, ValueError("a newer Linli wrote it"))  # type: ignore[arg-type]
    letters.close()
    assert len(site.linli("dlq", "list", "--json").stdout.splitlines()) == 1, "known by where it was"
    done = site.linli("dlq", "retry", "--all")
    assert "1 sent again" in done.stdout, done.stderr
    assert site.linli("dlq", "list", "--json").stdout == ""
    site.serve()
    store = site.store()
    stored(store, 1)
    assert agree([site.journal], store).whole
    store.close()
    done = site.linli("dlq", "retry", "--id", "nothing/0/0")
    assert done.returncode == 2
    assert "there is no dead letter 'nothing/0/0'" in done.stderr


def test_projectors_that_are_killed_and_join_lose_and_double_nothing(site: Site) -> None:
    """Two processes share the partitions; one is killed, another comes, while events flow."""
    streets = [Street("town", f"c{n}", EPOCH + n) for n in range(6)]
    first, second = site.serve(), site.serve()
    sent = 0
    for turn in range(24):
        site.send([e for street in streets for e in street.events(10)])
        sent += 60
        if turn == 8:
            os.kill(first.pid, signal.SIGKILL)
        if turn == 14:
            site.serve()
        if turn == 18:
            second.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    store = site.store()
    stored(store, sent)
    found = agree([site.journal], store)
    print("one projector killed, one ended, one joined:", found)
    assert found.whole
    assert second.wait(60) == 0
    store.close()


def test_a_store_that_is_away_is_waited_for(
    tmp_path: Path, kafka: Kafka, topic_prefix: str, postgis: Any
) -> None:
    dsn = postgis.new_database()
    site = Site(tmp_path, kafka, topic_prefix.rstrip("."), dsn)
    try:
        site.send(Street("town", "c", EPOCH).events(50))
        site.serve()
        store = site.store()
        stored(store, 50)
        store.close()
        postgis.kill()
        site.send(Street("town", "d", EPOCH).events(50))
        time.sleep(2)
        postgis.start()
        store = site.store()
        stored(store, 100)
        found = agree([site.journal], store)
        print("the database killed and started again:", found)
        assert found.whole
        store.close()
    finally:
        site.close()
