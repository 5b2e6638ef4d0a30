"""From Kafka into the store: how many events a second, and what each costs, the broker on the same machine.

    python -m benchmarks.projector --json [--events 150000]

Topics are filled first. Then `linli serve`'s projector brings them into PostGIS, and another time into
SQLite: one thread, each event checked, typed, written once, counted, with its offset in the same transaction.
Beside it, in the same run, bare clients read the same topics and do nothing with what they read: kafka-python
as the projector uses it, and confluent-kafka. Time is taken from the first batch on, for the group takes
seconds to come together. CPU is that of the whole process; the database's and the broker's are told apart.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.common import Missing, add_json_flag, run, say
from benchmarks.relay import events, make_topics
from events import codec
from events.binding import message
from events.clock import SystemClock
from testbed.kafka import Kafka
from testbed.postgis import PostGIS
from testbed.process import ServerMissing

GOAL = "at least 10,000 events a second into PostGIS, one projector, the broker on the same two cores"
PREFIX = "bench.linli"
RATE = 10_000
STEP = 20_000


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--events", type=int, default=150_000)
    args = parser.parse_args()
    return run(partial(measure, args.events), GOAL, args.json)


def measure(count: int) -> dict[str, Any]:
    """Fill the topics, read them in four ways."""
    with TemporaryDirectory(prefix="linli-bench-") as folder:
        kafka, postgis = Kafka(Path(folder) / "kafka"), PostGIS()
        try:
            kafka.start()
            postgis.start()
            return _measure(count, kafka, postgis, Path(folder))
        except ServerMissing as error:
            raise Missing(str(error)) from None
        finally:
            kafka.kill()
            postgis.remove()


def _measure(count: int, kafka: Kafka, postgis: PostGIS, folder: Path) -> dict[str, Any]:
    from storage.migrating import migrate
    from storage.pglink import Address

    names = make_topics(kafka.bootstrap, PREFIX)
    _fill(kafka.bootstrap, names, count)
    dsn = postgis.new_database()
    migrate(Address(dsn))
    watched = {"broker": kafka.pid, "database": postgis.pid}
    ways: dict[str, Callable[[], tuple[int, float]]] = {
        "confluent-kafka, bare": lambda: _confluent(kafka.bootstrap, list(names.values()), count),
        "kafka-python, bare": lambda: _bare(kafka.bootstrap, list(names.values()), count),
        "into PostGIS": lambda: _project(kafka.bootstrap, dsn, "one", count),
        "into SQLite": lambda: _project(kafka.bootstrap, folder / "store.db", "two", count),
    }
    found = {name: _timed(name, way, watched) for name, way in ways.items()}
    rate = found["into PostGIS"]["events_per_s"]
    return {
        "events": count,
        "ways": found,
        "events_per_s": rate,
        "reached": rate >= RATE,
    }


def _timed(
    name: str, way: Callable[[], tuple[int, float]], watched: dict[str, int | None]
) -> dict[str, float]:
    before = {who: _cpu(pid) for who, pid in watched.items()}
    own = time.process_time()
    count, rate = way()
    own = time.process_time() - own
    found = {
        "events_per_s": round(rate),
        "own_us": round(own / count * 1e6, 1),
        **{f"{who}_us": round((_cpu(pid) - before[who]) / count * 1e6, 1) for who, pid in watched.items()},
    }
    say(f"{name}: {found}")
    return found


def _cpu(pid: int | None) -> float:
    """Seconds of a process and all that come from it, those that have ended included."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    times = process.cpu_times()
    return total + times.children_user + times.children_system


def _fill(bootstrap: str, names: dict[str, str], count: int) -> None:
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True,
         "compression.type": "lz4", "linger.ms": 50, "queue.buffering.max.messages": 200_000}
    )  # fmt: skip
    for first in range(0, count, STEP):
        for event in events(min(STEP, count - first), str(first)):
            m = message(codec.encode(event))
            producer.produce(names[m.family], value=m.value, key=m.key, headers=m.headers)
        producer.flush()


def _project(bootstrap: str, where: Path | str, group: str, count: int) -> tuple[int, float]:
    """Events, and how many a second after the first batch."""
    from pipeline.projecting import ProjectorFigures
    from pipeline.projector import Projector
    from storage.brokers import Brokers
    from storage.kafkabus import KafkaBus
    from storage.opening import open_store

    class Counted(ProjectorFigures):
        done = 0

        def wrote(self, topic: str, records: int, took_s: float, newest_us: int = 0) -> None:
            super().wrote(topic, records, took_s, newest_us)
            self.done += records

    figures, clock, store = Counted(), SystemClock(), open_store(where)
    brokers = Brokers(bootstrap=(bootstrap,), prefix=PREFIX)
    projector = Projector(KafkaBus(brokers, clock), store, clock, group=group, figures=figures)
    projector.start()
    rate = _Rate()
    while figures.done < count and projector.alive:
        rate.at(figures.done)
        time.sleep(0.01)
    rate.at(figures.done)
    projector.stop()
    store.close()
    return figures.done, rate.per_s


class _Rate:
    """From the first batch on."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self.per_s = 0.0

    def at(self, count: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, count) if count else None
        elif now > self._first[0]:
            self.per_s = (count - self._first[1]) / (now - self._first[0])


def _bare(bootstrap: str, names: Sequence[str], count: int) -> tuple[int, float]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=[bootstrap],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=2 << 20,
        metrics_enabled=False,
    )
    parts = [TopicPartition(n, p) for n in names for p in consumer.partitions_for_topic(n)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    got, rate = 0, _Rate()
    while got < count:
        got += sum(len(raws) for raws in consumer.poll(500, max_records=4000).values())
        rate.at(got)
    consumer.close()
    return got, rate.per_s


def _confluent(bootstrap: str, names: Sequence[str], count: int) -> tuple[int, float]:
    from confluent_kafka import Consumer

    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bare", "auto.offset.reset": "earliest",
         "enable.auto.commit": False}
    )  # fmt: skip
    consumer.subscribe(list(names))
    got, rate = 0, _Rate()
    while got < count:
        for raw in consumer.consume(4000, 0.5):
            if raw.error() is None:
                raw.headers(), raw.key(), raw.value()
                got += 1
        rate.at(got)
    consumer.close()
    return got, rate.per_s


if __name__ == "__main__":
    raise SystemExit(main())
