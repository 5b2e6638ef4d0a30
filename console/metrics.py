"""GET /metrics: the console's own figures in Prometheus's text format. Counted when asked, not in between."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from console.access import identify
from console.api import camera_of, sensor_of
from console.context import Console, console_of
from console.statusserver import figures


class _Box(Collector):
    """How the box is doing: nothing about people."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterator[Metric]:
        console = self._console
        stats = console.journal.stats()
        yield GaugeMetricFamily("linli_live_views", "Live views open now", console.live)
        yield CounterMetricFamily("linli_live_views_opened", "Live views opened", console.lives_opened)
        yield GaugeMetricFamily("linli_event_streams", "Event streams open now", console.pushes)
        yield CounterMetricFamily("linli_refusals", "Requests without the right", console.refusals)
        yield CounterMetricFamily("linli_events_stored", "Events in the store", console.store.sizes().events)
        yield GaugeMetricFamily(
            "linli_journal_offset", "Newest event's offset", console.journal.last_offset()
        )
        yield GaugeMetricFamily(
            "linli_store_offset", "Offset up to which it is projected", console.projected()
        )
        yield GaugeMetricFamily("linli_journal_queued", "Events waiting to be committed", stats.queued)
        yield GaugeMetricFamily(
            "linli_journal_healthy", "1 while it can write", float(console.journal.healthy)
        )
        trouble = GaugeMetricFamily("linli_trouble", "1 while it is wrong", labels=["source", "what"])
        for health in console.store.cameras_health():
            trouble.add_metric([health.source, health.what], float(health.state == "raised"))
        yield trouble
        ages = GaugeMetricFamily(
            "linli_sensor_age_seconds", "Since the last reading was measured", labels=["sensor", "quantity"]
        )
        now = console.clock.wall_us()
        known = {sensor.id for sensor in console.site.sensors}
        for row in console.latest.rows():
            if (sensor := sensor_of(console, row.source)) in known:
                ages.add_metric([sensor, row.quantity], (now - row.time_us) / 1e6)
        yield ages


class _People(Collector):
    """What was seen of people: for who may see the page."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterator[Metric]:
        console = self._console
        sizes = console.store.sizes()
        yield GaugeMetricFamily("linli_alerts_open", "Alerts open now", sizes.open_alerts)
        yield CounterMetricFamily("linli_alerts", "Alerts raised", sizes.alerts)
        judged = GaugeMetricFamily("linli_judgements", "Alerts by their last verdict", labels=["verdict"])
        for verdict, count in sizes.judged.items():
            judged.add_metric([verdict], count)
        yield judged
        faces = GaugeMetricFamily("linli_faces_held", "Pictures of faces that are kept", labels=["form"])
        for form, count in zip(("pixelated", "sealed"), console.store.face_counts(), strict=True):
            faces.add_metric([form], count)
        yield faces
        crossings = CounterMetricFamily(
            "linli_crossings", "Line crossings", labels=["camera", "rule", "direction", "label"]
        )
        for row in console.store.totals():
            labels = [camera_of(console, row.source), row.rule, row.direction, row.label]
            crossings.add_metric(labels, row.count)
        yield crossings


def metrics(request: Request) -> Response:
    """GET /metrics: how the box is doing, with the right `metrics`; with the right `alerts` also counts of
    people.
    """
    console = console_of(request)
    viewer = identify(request, console.policy, console.sessions)
    rights = viewer.rights if viewer else frozenset()
    if "metrics" not in rights:
        console.require(request, "alerts", "metrics", console.site.id)
    people = [_People(console)] if "alerts" in rights else []
    return figures([_Box(console), *people, *console.figures])
