"""A box's figures for Prometheus: what its processes write of themselves into the run folder; its journal.

Workers, relay, shipper, the box's part in the group and the sensors' process each keep a small status file,
new every other second. They are read when somebody asks, by whatever process serves /metrics, so that no
process needs a port of its own. The files of a process that has ended are shown until it writes again or for
`STALE_S`; `linli_status_age_seconds` says how old they are.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from events.clock import Clock
from events.errors import StorageError
from pipeline.cluster_status import ClusterStatus
from pipeline.sensors import SensorStatus
from pipeline.shipping_status import ShippingStatus
from pipeline.worker import CameraStatus, WorkerStatus
from storage.journal import Journal

log = logging.getLogger(__name__)

STALE_S = 3600.0
"""What is older says nothing of the present."""

S = TypeVar("S", bound=msgspec.Struct)


class Figure(NamedTuple):
    """One metric, read from a status."""

    name: str
    """With its unit; a counter's `_total` is added."""
    kind: Literal["gauge", "counter"]
    about: str
    of: Callable[[Any], float | dict[str, float]]
    """A figure, or several by `label`."""
    label: str = ""


def gauge(name: str, about: str, of: Callable[[Any], float | dict[str, float]], label: str = "") -> Figure:
    return Figure(name, "gauge", about, of, label)


def counter(name: str, about: str, of: Callable[[Any], float | dict[str, float]], label: str = "") -> Figure:
    return Figure(name, "counter", about, of, label)


CAMERA = (
    gauge("linli_camera_connected", "1 while all its streams are read", lambda s: float(s.connected)),
    gauge("linli_camera_awake", "1 while it is looked at closely", lambda s: float(s.state == "awake")),
    gauge(
        "linli_camera_shedding",
        "1 while the box is too slow for it",
        lambda s: float(s.shedding),
    ),
    gauge("linli_camera_behind_seconds", "What is analysed is so old", lambda s: s.behind_s),
    gauge("linli_camera_blind_seconds", "Something may happen unseen for so long", lambda s: s.blind_s),
    counter("linli_camera_packets", "Packets read", lambda s: s.packets),
    counter("linli_camera_decoded_frames", "Pictures decoded", lambda s: s.decoded),
    counter("linli_camera_inferred_frames", "Pictures that the model looked at", lambda s: s.inferred),
    counter("linli_camera_refused_frames", "Looks refused, for the box was too slow", lambda s: s.refused),
    counter("linli_camera_skipped_packets", "Packets passed over, for the same", lambda s: s.skipped),
    counter("linli_camera_wakes", "Times it woke", lambda s: s.wakes),
    counter("linli_camera_stream_seconds", "Video read, by its own time", lambda s: s.stream_s),
    counter("linli_camera_segments", "Footage segments written", lambda s: s.segments),
    counter("linli_camera_segment_bytes", "Footage written", lambda s: s.segment_bytes),
)
"""Of each camera."""

WORKER = (
    counter("linli_worker_events", "Events journalled", lambda s: s.events),
    counter("linli_worker_conflicts", "Events refused that had another's id", lambda s: s.conflicts),
    gauge("linli_worker_healthy", "1 while it can write the journal", lambda s: float(not s.problem)),
    gauge("linli_worker_load_ratio", "How busy its analysis is; 1: it cannot do more", lambda s: s.load),
    gauge("linli_worker_stuck_seconds", "Its analysis has not moved for so long", lambda s: s.stuck_s),
    gauge(
        "linli_worker_commit_lag_p99_seconds",
        "From a picture's decoding to its events' commit, 99th percentile",
        lambda s: s.lag_ms_p99 / 1000,
    ),
    gauge(
        "linli_worker_wake_p99_seconds",
        "From a picture's capture to its decoding, 99th percentile",
        lambda s: s.wake_ms_p99 / 1000,
    ),
    counter("linli_worker_cpu_seconds", "Processor time", lambda s: s.cpu_ms / 1000),
    counter(
        "linli_worker_stage_seconds",
        "Processor time by stage",
        lambda s: {stage: ms / 1000 for stage, ms in s.stage_ms.items()},
        "stage",
    ),
)
"""Of each worker process."""

RELAY = (
    gauge("linli_relay_connected", "1 while brokers take events", lambda s: float(s.connected)),
    gauge("linli_relay_lag_events", "Events that have not arrived, at most", lambda s: s.lag_events),
    gauge("linli_relay_lag_seconds", "Age of the oldest event that has not arrived", lambda s: s.lag_s),
    gauge("linli_relay_in_flight_events", "Events under way", lambda s: s.in_flight),
    counter("linli_relay_sent_events", "Events sent", lambda s: s.sent),
    counter("linli_relay_acknowledged_events", "Events that have arrived", lambda s: s.acknowledged),
    counter("linli_relay_repeated_events", "Events sent again after a failure", lambda s: s.repeats),
    counter("linli_relay_sent_bytes", "Sent, before compression", lambda s: s.bytes),
    counter("linli_relay_sessions", "Producers opened", lambda s: s.sessions),
    counter("linli_relay_dead_letters", "Events that the brokers never take", lambda s: s.letters),
    counter("linli_relay_given_up_events", "Events lost to the journal's bound", lambda s: s.given_up),
    gauge("linli_relay_resting_families", "Families whose topic is in trouble", lambda s: len(s.resting)),
    gauge("linli_relay_clock_offset_seconds", "The brokers' clock less this box's", lambda s: s.clock_s),
)
"""Of the relay to Kafka."""

SPOOL = (
    gauge("linli_spool_waiting_objects", "Objects that wait to be copied", lambda s: s.waiting),
    gauge("linli_spool_waiting_bytes", "Their size", lambda s: s.waiting_bytes),
    gauge("linli_spool_oldest_seconds", "Age of the oldest of them", lambda s: s.oldest_s),
    gauge(
        "linli_shipping_healthy",
        "1 while the store takes what is sent",
        lambda s: float(not s.problem),
    ),
    gauge("linli_shipping_paused", "1 while the hour allows nothing", lambda s: float(s.state == "paused")),
    counter("linli_shipping_sent_objects", "Objects copied", lambda s: s.sent),
    counter("linli_shipping_sent_bytes", "Bytes that left, broken ones included", lambda s: s.sent_bytes),
    counter("linli_shipping_failures", "Copies that failed and were tried again", lambda s: s.failures),
    counter("linli_shipping_lost_objects", "Objects that went uncopied, over all time", lambda s: s.lost),
    counter("linli_shipping_lost_bytes", "Their size", lambda s: s.lost_bytes),
)
"""Of what is copied to an object store."""

CLUSTER = (
    gauge("linli_cluster_member", "1 while it is among the others", lambda s: float(s.state == "member")),
    gauge("linli_cluster_cut_off", "1 while it has lost the brokers", lambda s: float(s.state == "cut-off")),
    gauge("linli_cluster_shares_held", "Shares of the cameras that it reads", lambda s: len(s.shares)),
    counter("linli_cluster_rebalances", "Times at which shares came or went", lambda s: s.rebalances),
    gauge("linli_cluster_rebalance_seconds", "How long the last of them took", lambda s: s.rebalance_s),
)
"""Of a box's part in the group."""

SENSORS = (
    counter("linli_sensor_deliveries", "Deliveries taken", lambda s: s.deliveries),
    counter("linli_sensor_readings", "Readings taken, repeats included", lambda s: s.readings),
    counter("linli_sensor_repeats", "Readings that were there already", lambda s: s.repeats),
    counter(
        "linli_sensor_refused",
        "Readings refused",
        lambda s: {why: float(count) for why, count in s.refused.items()},
        "reason",
    ),
    counter("linli_sensor_dropped", "Messages of QoS 0 without room", lambda s: s.dropped),
    gauge("linli_sensor_waiting", "Deliveries that wait for the journal", lambda s: s.waiting),
    gauge(
        "linli_sensor_brokers_connected",
        "MQTT brokers that are connected",
        lambda s: sum(s.connected.values()),
    ),
    gauge("linli_sensor_brokers", "MQTT brokers of the site file", lambda s: len(s.connected)),
)
"""Of the sensors' process."""


class RunFigures(Collector):
    """Reads the run folder and the journal when asked.

    Args:
        journal: None: only the run folder.
    """

    def __init__(self, run: Path, journal: Journal | None, clock: Clock) -> None:
        self._run = run
        self._journal = journal
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """What there is now."""
        ages = GaugeMetricFamily(
            "linli_status_age_seconds", "Since the process last told how it is", labels=["part"]
        )
        workers: list[WorkerStatus] = []
        for path in sorted(self._run.glob("worker-*.json")):
            if (status := self._read(path, WorkerStatus, ages)) is not None:
                workers.append(status)
        cameras: dict[str, CameraStatus] = {c.camera: c for w in workers for c in w.cameras}
        yield from _families(WORKER, [(w.worker, w) for w in workers], "worker")
        yield from _families(CAMERA, list(cameras.items()), "camera")
        yield from self._one("relay.json", RELAY, _relay_status, ages)
        yield from self._one("shipping.json", SPOOL, lambda: ShippingStatus, ages)
        yield from self._one("cluster.json", CLUSTER, lambda: ClusterStatus, ages)
        yield from self._one("sensors.json", SENSORS, lambda: SensorStatus, ages)
        yield ages
        yield from self._of_journal()

    def _one(
        self,
        name: str,
        figures: Sequence[Figure],
        form: Callable[[], type[msgspec.Struct]],
        ages: GaugeMetricFamily,
    ) -> Iterator[Metric]:
        path = self._run / name
        if path.exists() and (status := self._read(path, form(), ages)) is not None:
            yield from _families(figures, [("", status)])

    def _read(self, path: Path, form: type[S], ages: GaugeMetricFamily) -> S | None:
        """A status, unless it is old, half written or another version's."""
        try:
            age_s = self._clock.wall_us() / 1e6 - path.stat().st_mtime
            status = msgspec.json.decode(path.read_bytes(), type=form) if age_s < STALE_S else None
        except (OSError, msgspec.MsgspecError) as error:
            log.debug("%s is not read: %s", path, error)
            return None
        ages.add_metric([path.stem], round(max(age_s, 0.0), 3))
        return status

    def _of_journal(self) -> Iterator[Metric]:
        if self._journal is None:
            return
        try:
            last = self._journal.last_offset()
            consumers = self._journal.consumers()
            used = self._journal.used_bytes()
        except StorageError as error:
            log.warning("no figures of the journal: %s", error)
            return
        lags = GaugeMetricFamily(
            "linli_journal_lag_events", "Newest event's offset less the consumer's", labels=["consumer"]
        )
        for name, offset in sorted(consumers.items()):
            lags.add_metric([name], max(last - offset, 0))
        yield lags
        yield GaugeMetricFamily("linli_journal_bytes", "Size of what the journal holds", used)


def _relay_status() -> type[msgspec.Struct]:
    from pipeline.relay import RelayStatus  # needs a client that a box without brokers need not have

    return RelayStatus


def _families(
    figures: Sequence[Figure], statuses: Sequence[tuple[str, msgspec.Struct]], by: str = ""
) -> Iterator[Metric]:
    if not statuses:
        return
    for figure in figures:
        make = GaugeMetricFamily if figure.kind == "gauge" else CounterMetricFamily
        labels = [name for name in (by, figure.label) if name]
        family = make(figure.name, figure.about, labels=labels)
        for name, status in statuses:
            own = [name] if by else []
            value = figure.of(status)
            for key, one in value.items() if isinstance(value, dict) else [("", value)]:
                family.add_metric([*own, key] if figure.label else own, one)
        yield family
