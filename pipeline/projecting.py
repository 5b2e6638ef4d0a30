"""A projector's own figures for Prometheus: how far behind it is, what it wrote, what it set aside."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

WRITE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, seconds."""


class ProjectorFigures(Collector):
    """Any thread adds to it; a scrape reads it.

    Args:
        lag: asked at a scrape: topic -> records that are not in the store yet. What it raises counts as not
            known, and the metric is absent.
    """

    def __init__(self, lag: Callable[[], Mapping[str, int]] = dict) -> None:
        self._lag = lag
        self._lock = threading.Lock()
        self._records: dict[str, int] = {}
        self._letters: dict[tuple[str, str], int] = {}
        self._buckets = [0] * (len(WRITE_S) + 1)
        self._write_s = 0.0
        self._newest_us: dict[str, int] = {}
        self._failures = 0
        self._held: dict[int, int] = {}
        """Thread -> partitions that it reads."""

    def wrote(self, topic: str, records: int, took_s: float, newest_us: int = 0) -> None:
        """A batch of a topic is in the store.

        Args:
            took_s: what the store's transaction took.
            newest_us: capture time of its newest event, microseconds since 1970.
        """
        place = sum(took_s > bound for bound in WRITE_S)
        with self._lock:
            self._records[topic] = self._records.get(topic, 0) + records
            self._buckets[place] += 1
            self._write_s += took_s
            self._newest_us[topic] = max(self._newest_us.get(topic, 0), newest_us)

    def dead_letter(self, topic: str, reason: str) -> None:
        """A record was set aside. `reason`: a word, not the text."""
        with self._lock:
            self._letters[topic, reason] = self._letters.get((topic, reason), 0) + 1

    def failed(self) -> None:
        """Bus or store failed, and is tried again."""
        with self._lock:
            self._failures += 1

    def holds(self, partitions: int) -> None:
        """So many partitions are read by the calling thread now."""
        with self._lock:
            self._held[threading.get_ident()] = partitions

    def collect(self) -> Iterator[Metric]:
        """What there is now."""
        with self._lock:
            records, letters, newest = dict(self._records), dict(self._letters), dict(self._newest_us)
            buckets, write_s, failures, held = (
                list(self._buckets),
                self._write_s,
                self._failures,
                sum(self._held.values()),
            )
        yield _by_topic(
            CounterMetricFamily("linli_projector_records", "Records brought in", labels=["topic"]), records
        )
        dead = CounterMetricFamily(
            "linli_projector_dead_letters", "Records set aside", labels=["topic", "reason"]
        )
        for (topic, reason), count in sorted(letters.items()):
            dead.add_metric([topic, reason], count)
        yield dead
        yield CounterMetricFamily("linli_projector_failures", "Times bus or store failed", failures)
        yield GaugeMetricFamily("linli_projector_partitions", "Partitions that are read", held)
        yield _by_topic(
            GaugeMetricFamily(
                "linli_projector_newest_event_timestamp_seconds",
                "Capture time of the newest event in the store",
                labels=["topic"],
            ),
            {topic: us / 1e6 for topic, us in newest.items() if us},
        )
        yield _histogram(buckets, write_s)
        yield from self._lags()

    def _lags(self) -> Iterator[Metric]:
        try:
            lags = self._lag()
        except Exception:  # noqa: BLE001 - brokers that are away: then it is not known
            return
        yield _by_topic(
            GaugeMetricFamily(
                "linli_projector_lag_events", "Records that are not in the store yet", labels=["topic"]
            ),
            lags,
        )


def _by_topic(family: Any, values: Mapping[str, float]) -> Metric:
    for topic, value in sorted(values.items()):
        family.add_metric([topic], value)
    assert isinstance(family, Metric)
    return family


def _histogram(buckets: list[int], total_s: float) -> Metric:
    counted, upto = [], 0
    for bound, count in zip((*map(str, WRITE_S), "+Inf"), buckets, strict=True):
        upto += count
        counted.append((bound, float(upto)))
    return HistogramMetricFamily(
        "linli_store_write_seconds", "Transactions of the store", buckets=counted, sum_value=total_s
    )
