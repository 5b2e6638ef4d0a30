"""The relay against a real Kafka on the same machine: its rate and cost beside bare clients, and an outage.

    python -m benchmarks.relay --json [--events 60000] [--outage 3600]

First the same events are sent by the relay (from a journal on disk), by kafka-python alone and by
confluent-kafka alone, in turns; each in a process of its own, whose CPU time is counted. Then a journal with
as many events as come in an outage at 200 a second is drained while more keep coming; the lag of those, from
being made to being committed, is compared with the lag while nothing is drained. At the end the topics are
read: complete, and in order.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import Missing, add_json_flag, run, say
from events import binding
from events.clock import SystemClock
from events.events import Event, Reading
from events.ids import event_id
from events.topics import FAMILIES, topics
from storage.journal import Journal
from testbed.happenings import Street
from testbed.kafka import Kafka
from testbed.lives import Life
from testbed.process import ServerMissing

RATE = 200
"""Events a second that come in an outage."""

CAMERAS, SENSORS = 60, 20
EPOCH = 1_700_000_000_000_000
ROUNDS = 3


def events(count: int, seed: str) -> list[Event]:
    """Of all cameras and sensors in turn: three of a street for each reading."""
    streets = [Street("site", f"cam{n}-{seed}", EPOCH, seed) for n in range(CAMERAS)]
    each = -(-count * 3 // 4 // CAMERAS)
    of_streets = [street.events(each) for street in streets]
    found: list[Event] = []
    for turn in range(each):
        for n in range(CAMERAS):
            found.append(of_streets[n][turn])
            if n % 3 == 2:
                found.append(_reading(f"/site/sensor/s{n // 3}-{seed}", turn))
    return found[:count]


def _reading(source: str, sequence: int) -> Event:
    return Event(
        id=event_id(source, "sensor", EPOCH, sequence),
        source=source,
        time_us=EPOCH + sequence * 1_000_000,
        epoch=EPOCH,
        sequence=sequence,
        data=Reading(
            quantity="level", value=sequence / 7, unit="m", received_us=EPOCH + sequence * 1_000_000
        ),
    )


def spool(path: Path, count: int, seed: str) -> None:
    """A journal with so many events."""
    journal = Journal(path, SystemClock())
    step = 20_000
    for first in range(0, count, step):
        some = events(min(step, count - first), f"{seed}{first}")
        for n in range(0, len(some), 1000):
            journal.append(some[n : n + 1000])
    journal.flush()
    journal.close()


def make_topics(bootstrap: str, prefix: str) -> dict[str, str]:
    """Family -> topic."""
    from storage import kafkatopics
    from storage.brokers import Brokers

    wanted = [topic for topic in topics(prefix) if topic.what in FAMILIES]
    kafkatopics.apply(Brokers(bootstrap=(bootstrap,), prefix=prefix), wanted, 1)
    return {topic.what: topic.name for topic in wanted}


# --- who sends


def by_relay(bootstrap: str, names: Mapping[str, str], path: Path, answer: Path) -> Callable[..., None]:
    """The journal's events through the relay, until all have arrived."""

    def work(stop: threading.Event) -> None:
        from pipeline.relay import Relay, RelaySettings
        from storage.brokers import Brokers
        from storage.kafkaproducer import KafkaSender

        brokers = Brokers(bootstrap=(bootstrap,), prefix="bench.linli")
        journal = Journal(path, SystemClock())
        settings = RelaySettings(topics=names, source="/site/box/bench")
        relay = Relay(
            journal, settings, lambda n: KafkaSender(brokers, n), SystemClock(), answer.with_suffix(".run")
        )
        began, cpu = time.monotonic(), time.process_time()
        last = journal.last_offset()
        relay.start()
        while journal.committed("relay") < last and not stop.is_set():
            time.sleep(0.02)
        tell(answer, last, began, cpu)
        stop.wait(0)
        relay.stop()
        journal.close()

    return work


def by_kafka_python(
    bootstrap: str, names: Mapping[str, str], path: Path, answer: Path
) -> Callable[..., None]:
    """The same records by the bare client that the relay uses, with the same settings."""

    def work(_: threading.Event) -> None:
        from kafka import KafkaProducer

        records = messages(path)
        began, cpu = time.monotonic(), time.process_time()
        producer = KafkaProducer(
            bootstrap_servers=[bootstrap], acks="all", enable_idempotence=True, linger_ms=10,
            batch_size=192 << 10, compression_type="lz4",
        )  # fmt: skip
        for family, key, value, headers in records:
            producer.send(names[family], value, key, headers)
        producer.flush()
        tell(answer, len(records), began, cpu)
        producer.close()

    return work


def by_confluent(bootstrap: str, names: Mapping[str, str], path: Path, answer: Path) -> Callable[..., None]:
    """The same records by librdkafka."""

    def work(_: threading.Event) -> None:
        from confluent_kafka import Producer

        records = messages(path)
        began, cpu = time.monotonic(), time.process_time()
        producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 10,
             "batch.size": 192 << 10, "compression.type": "lz4", "partitioner": "murmur2_random",
             "queue.buffering.max.messages": 10_000_000}
        )  # fmt: skip
        for family, key, value, headers in records:
            producer.produce(names[family], value, key, headers=headers)
            producer.poll(0)
        producer.flush()
        tell(answer, len(records), began, cpu)

    return work


def messages(path: Path) -> list[binding.Message]:
    """The journal's events as records, made before the clock runs."""
    journal = Journal(path, SystemClock())
    rows, after = [], 0
    while after < journal.last_offset():
        some, after = journal.raw(after, 5000)
        rows += some
    journal.close()
    return [binding.message(row.body) for row in rows]


def tell(answer: Path, count: int, began: float, cpu: float) -> None:
    took, used = time.monotonic() - began, time.process_time() - cpu
    answer.write_text(json.dumps({"rate": count / took, "cpu_us": used / count * 1e6}))


# --- the outage


def feed(path: Path, answer: Path, seed: str) -> Callable[..., None]:
    """200 events a second into the journal, as a worker does; tells the lag of their commits."""

    def work(stop: threading.Event) -> None:
        journal = Journal(path, SystemClock())
        some = iter(events(RATE * 900, seed))
        while not stop.wait(0.05):
            journal.append([next(some) for _ in range(RATE // 20)], decoded_at=time.monotonic())
        journal.flush()
        lag, stats = journal.lag_ms(), journal.stats()
        journal.close()
        figures = {"p50": lag.p50, "p99": lag.p99, "max": lag.max, "events": stats.events}
        answer.write_text(json.dumps(figures))

    return work


def outage(bootstrap: str, folder: Path, seconds: int) -> dict[str, Any]:
    """What drains how fast, and what that does to those who write."""
    path = folder / "outage.db"
    count = seconds * RATE
    began = time.monotonic()
    spool(path, count, "o")
    say(f"spooled {count} events in {time.monotonic() - began:.0f} s: {path.stat().st_size >> 20} MiB")
    quiet = lag_during(path, folder / "quiet.json", "q", lambda: time.sleep(30))
    names = make_topics(bootstrap, "outage.linli")
    answer = folder / "drained.json"
    last = count + quiet["events"]

    def drain() -> None:
        life = Life(by_relay(bootstrap, names, path, answer))
        life.wait(3000)

    busy = lag_during(path, folder / "busy.json", "b", drain)
    drained = json.loads(answer.read_text())
    rest = folder / "rest.json"  # what came while it drained
    Life(by_relay(bootstrap, names, path, rest)).wait(600)
    say("reading the topics")
    order = folder / "order.json"
    Life(lambda _: order.write_text(json.dumps(compare(bootstrap, names, path)))).wait(1500)
    return {
        "waiting": last,
        "drained_per_s": round(drained["rate"]),
        "times_the_arrival": round(drained["rate"] / RATE, 1),
        "drain_cpu_us": round(drained["cpu_us"], 1),
        "commit_lag_ms_without": {k: round(v, 1) for k, v in quiet.items() if k != "events"},
        "commit_lag_ms_while_draining": {k: round(v, 1) for k, v in busy.items() if k != "events"},
        **json.loads(order.read_text()),
    }


def lag_during(path: Path, answer: Path, seed: str, what: Callable[[], None]) -> dict[str, float]:
    feeding = Life(feed(path, answer, seed))
    time.sleep(5)
    what()
    feeding.stop(120)
    found: dict[str, float] = json.loads(answer.read_text())
    return found


def compare(bootstrap: str, names: Mapping[str, str], path: Path) -> dict[str, int]:
    """First appearances in order, and none missing."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "compare", "enable.auto.commit": False})
    known = consumer.list_topics(timeout=20).topics
    parts = [TopicPartition(n, p, 0) for n in names.values() for p in known[n].partitions]
    ends = sum(consumer.get_watermark_offsets(part, timeout=20)[1] for part in parts)
    consumer.assign(parts)
    following: dict[tuple[bytes, str, bytes], int] = {}
    seen = repeats = wrong = 0
    while seen < ends:
        for record in consumer.consume(5000, timeout=20):
            headers = dict(record.headers())
            key = headers["ce_source"], record.topic(), headers["ce_linliepoch"]
            sequence, due = int(headers["ce_sequence"]), following.get(key, 0)
            seen += 1
            wrong += sequence > due
            repeats += sequence < due
            following[key] = max(due, sequence + 1)
    consumer.close()
    journal = Journal(path, SystemClock())
    wanted = journal.last_offset()
    journal.close()
    return {
        "records": seen,
        "repeats": repeats,
        "out_of_order": wrong,
        "missing": wanted - sum(following.values()),
    }


# --- all together


def measure(count: int, seconds: int) -> dict[str, Any]:
    """The figures."""
    try:
        import confluent_kafka  # noqa: F401 - here, so that no fork has to

        import pipeline.relay  # noqa: F401
    except ImportError as error:
        raise Missing(f"{error.name} is not installed: pip install '.[city,bench]'") from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Kafka(folder / "kafka")
        broker.heap_mb = 1024
        try:
            broker.start()
        except ServerMissing as error:
            raise Missing(str(error)) from None
        try:
            found = rates(broker, folder, count)
            found |= outage(broker.bootstrap, folder, seconds) if seconds else {}
        finally:
            broker.remove()
    reached = found["relay"]["rate"] >= 10_000
    if seconds:
        orderly = not found["out_of_order"] and not found["missing"]
        reached = reached and orderly and found["times_the_arrival"] >= 20
    return {"broker": "Apache Kafka" if not broker.stand_in else "stand-in", **found, "reached": reached}


def rates(broker: Kafka, folder: Path, count: int) -> dict[str, Any]:
    """Median of some rounds, the three in turns."""
    spool(folder / "first.db", count, "r")
    size = [
        len(m.value) + len(m.key) + sum(len(n) + len(v) for n, v in m.headers)
        for m in messages(folder / "first.db")
    ]
    ways = {"relay": by_relay, "kafka_python": by_kafka_python, "confluent": by_confluent}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):  # the first warms the broker's virtual machine
        names = make_topics(broker.bootstrap, f"turn{turn}.linli")
        for name, way in ways.items():
            path, answer = folder / f"{name}{turn}.db", folder / f"{name}{turn}.json"
            path.write_bytes((folder / "first.db").read_bytes())
            used = broker_cpu_s(broker)
            Life(way(broker.bootstrap, names, path, answer)).wait(300)
            one = json.loads(answer.read_text()) | {"broker_us": (broker_cpu_s(broker) - used) / count * 1e6}
            path.unlink()
            say(f"{name}: {one['rate']:.0f} events/s, {one['cpu_us']:.1f} us each")
            if turn:
                found[name].append(one)
    middle = {
        name: {what: round(statistics.median(one[what] for one in many), 1) for what in many[0]}
        for name, many in found.items()
    }
    return {
        "events": count,
        "bytes_an_event": round(statistics.mean(size)),
        **middle,
        "relay_to_kafka_python_cpu": round(middle["relay"]["cpu_us"] / middle["kafka_python"]["cpu_us"], 2),
        "kafka_python_to_confluent_cpu": round(
            middle["kafka_python"]["cpu_us"] / middle["confluent"]["cpu_us"], 1
        ),
    }


def broker_cpu_s(broker: Kafka) -> float:
    fields = Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_json_flag(parser)
    parser.add_argument("--events", type=int, default=60_000, help="events of each round")
    parser.add_argument("--outage", type=int, default=3600, metavar="SECONDS", help="0: none")
    given = parser.parse_args()
    goal = (
        "the relay sends at least 10,000 events/s with the broker beside it; an hour of outage at 200 events "
        "a second drains at 20 times that or more, complete and in order"
    )
    return run(lambda: measure(given.events, given.outage), goal, given.json)


if __name__ == "__main__":
    sys.exit(main())
