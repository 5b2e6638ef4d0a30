"""A thousand boxes against one broker: what gives way first?

Each simulated box is a producer of its own (own connections, idempotent, acks=all) with ten cameras that say
what a street says (`testbed/happenings.py`), as the relay writes it, lz4. There is no video. The producers
are librdkafka's, which cost a tenth of a relay's processor, so that broker and not load is what is measured;
they share the machine's cores with it, and the answer says how much each used. The rate is doubled until less
than 95 % of what is offered is acknowledged in its time, or the slowest hundredth waits for over a second.

    python -m benchmarks.scale --json [--boxes 1000] [--cameras 10] [--seconds 8]
"""

import argparse
import time
from collections import deque
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.common import Missing, add_json_flag, run, say
from events import codec, topics
from events.binding import Message, message
from storage.brokers import Brokers
from storage.kafkatopics import apply
from testbed.happenings import Street
from testbed.kafka import Kafka
from testbed.process import ServerMissing

GOAL = "1,000 boxes with 10 cameras each at two events a second a box: all acknowledged, p99 below 1 s"
PREFIX = "scale.linli"
RATES = (500, 1000, 2000, 4000, 8000, 16000, 32000, 64000)
NEEDED = 2000
PER_CAMERA = 40
LINGER_MS = 50
LEAST_SHARE = 0.95
SLOWEST_S = 1.0
GRACE_S = 0.5
WARM_S = 10.0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--cameras", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=8.0)
    args = parser.parse_args()
    return run(partial(measure, args.boxes, args.cameras, args.seconds), GOAL, args.json)


def measure(boxes: int, cameras: int, seconds: float) -> dict[str, Any]:
    """The steps up to the one at which it gives way."""
    with TemporaryDirectory(prefix="linli-bench-") as folder:
        kafka = Kafka(Path(folder))
        try:
            kafka.start()
        except ServerMissing as error:
            raise Missing(str(error)) from None
        try:
            return _measure(kafka, boxes, cameras, seconds)
        finally:
            kafka.remove()


def _measure(kafka: Kafka, boxes: int, cameras: int, seconds: float) -> dict[str, Any]:
    _make_topics(kafka.bootstrap)
    broker = psutil.Process(kafka.pid)
    say(f"{boxes} boxes connect")
    fleet = Fleet(kafka.bootstrap, boxes, cameras)
    fleet.connect()
    fleet.send(NEEDED, WARM_S)  # a cold JVM interprets
    steps = []
    for rate in RATES:
        before, own, t = broker.cpu_times(), time.process_time(), time.monotonic()
        sent, acked, waits = fleet.send(rate, seconds)
        took = time.monotonic() - t
        after = broker.cpu_times()
        spent = after.user + after.system - before.user - before.system
        waits.sort()
        step = {
            "offered_per_s": rate,
            "sent_per_s": round(sent / seconds),
            "acknowledged_per_s": round(acked / seconds),
            "ack_ms_p50": round(waits[len(waits) // 2] * 1000, 1) if waits else None,
            "ack_ms_p99": round(waits[int(len(waits) * 0.99)] * 1000, 1) if waits else None,
            "broker_cores": round(spent / took, 2),
            "load_cores": round((time.process_time() - own) / took, 2),
            "broker_us_per_event": round(spent / max(acked, 1) * 1e6, 1),
        }
        steps.append(step)
        say(str(step))
        fleet.settle()
        if acked < LEAST_SHARE * rate * seconds or (waits and waits[int(len(waits) * 0.99)] > SLOWEST_S):
            break
    held = [s for s in steps if s["acknowledged_per_s"] >= LEAST_SHARE * s["offered_per_s"]]
    held = [s for s in held if (s["ack_ms_p99"] or 0) <= SLOWEST_S * 1000]
    best = max((s["offered_per_s"] for s in held), default=0)
    return {
        "boxes": boxes,
        "cameras": boxes * cameras,
        "events_per_s": best,
        "first_to_give_way": _gave_way(steps[-1], best),
        "broker_memory_mb": broker.memory_info().rss >> 20,
        "steps": steps,
        "lost": fleet.sent - fleet.acked,
        "reached": best >= NEEDED and fleet.sent == fleet.acked,
    }


def _gave_way(last: dict[str, Any], best: int) -> str:
    if last["offered_per_s"] == best:
        return "nothing up to the largest rate"
    cores = psutil.cpu_count() or 1
    if last["load_cores"] > 0.85:
        return "the load: one thread of it is full; the broker used " + f"{last['broker_cores']} cores"
    if last["broker_cores"] + last["load_cores"] > 0.85 * cores:
        which = "broker" if last["broker_cores"] >= last["load_cores"] else "load"
        return f"the processor: {cores} cores are full, most of it the {which}'s"
    return "the way to the acknowledgement (disk or requests), with processor left"


def _make_topics(bootstrap: str) -> None:
    wanted = [topic for topic in topics.topics(PREFIX) if topic.what in topics.FAMILIES]
    if left := apply(Brokers(bootstrap=(bootstrap,), prefix=PREFIX), wanted, replication=1):
        raise Missing(str(left[0]))


class Fleet:
    """Boxes as producers. Each gives its cameras' events in order, again from the beginning at the end."""

    def __init__(self, bootstrap: str, boxes: int, cameras: int) -> None:
        try:
            from confluent_kafka import Producer
        except ImportError:
            raise Missing("confluent-kafka is not installed: make .venv/bench.done") from None
        settings = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": LINGER_MS,
            "partitioner": "murmur2_random",
            "queue.buffering.max.kbytes": 8192,
            "socket.keepalive.enable": True,
            "log_level": 0,
        }
        self._boxes = [Producer(settings) for _ in range(boxes)]
        self._messages = [_said(f"box-{n}", cameras) for n in range(boxes)]
        self._at = [0] * boxes
        self._waits: deque[float] = deque()
        self.sent = self.acked = 0

    def connect(self) -> None:
        """One event of each box, acknowledged."""
        for n in range(len(self._boxes)):
            self._one(n)
        self.settle(120.0)

    def send(self, rate: int, seconds: float) -> tuple[int, int, list[float]]:
        """Offer `rate` events a second; answers how many were sent and acknowledged in the time, and how long
        each acknowledgement took, seconds."""
        self._waits.clear()
        sent, acked = self.sent, self.acked
        start = time.monotonic()
        given = box = 0
        while (gone := time.monotonic() - start) < seconds:
            while given < rate * gone:
                self._one(box)
                box = (box + 1) % len(self._boxes)
                given += 1
                if not given % 512:
                    break
            self._poll()
            if given >= rate * (time.monotonic() - start):
                time.sleep(0.01)
        while time.monotonic() - start < seconds + GRACE_S:  # what is on its way comes in
            self._poll()
            time.sleep(0.01)
        return self.sent - sent, self.acked - acked, list(self._waits)

    def settle(self, timeout_s: float = 60.0) -> None:
        """Until all that was sent is acknowledged."""
        until = time.monotonic() + timeout_s
        while self.acked < self.sent and time.monotonic() < until:
            self._poll()
            time.sleep(0.005)

    def _one(self, n: int) -> None:
        said = self._messages[n]
        m = said[self._at[n] % len(said)]
        self._at[n] += 1
        self._boxes[n].produce(
            f"{PREFIX}.{m.family}",
            value=m.value,
            key=m.key,
            headers=m.headers,
            on_delivery=partial(self._delivered, time.monotonic()),
        )
        self.sent += 1

    def _delivered(self, since: float, error: object, _: object) -> None:
        if error is None:
            self.acked += 1
            self._waits.append(time.monotonic() - since)

    def _poll(self) -> None:
        for box in self._boxes:
            box.poll(0)


def _said(site: str, cameras: int) -> list[Message]:
    """The cameras' events, taking turns."""
    streets = [Street(site, f"c{n}", 1_700_000_000_000_000).events(PER_CAMERA) for n in range(cameras)]
    return [message(codec.encode(event)) for turn in zip(*streets, strict=True) for event in turn]


if __name__ == "__main__":
    raise SystemExit(main())
