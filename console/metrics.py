"""GET /metrics: the console's own figures in Prometheus's text format. Counted when asked, not in between."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from console.api import camera_of, sensor_of
from console.context import Console, console_of


class _Figures(Collector):
    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterator[Metric]:
        console = self._console
        stats = console.journal.stats()
        sizes = console.store.sizes()
        yield GaugeMetricFamily("linli_live_views", "Live views open now", console.live)
        yield CounterMetricFamily("linli_live_views_opened", "Live views opened", console.lives_opened)
        yield GaugeMetricFamily("linli_event_streams", "Event streams open now", console.pushes)
        yield CounterMetricFamily("linli_refusals", "Requests without the right", console.refusals)
        yield GaugeMetricFamily("linli_alerts_open", "Alerts open now", sizes.open_alerts)
        yield CounterMetricFamily("linli_alerts", "Alerts raised", sizes.alerts)
        yield CounterMetricFamily("linli_events_stored", "Events in the store", sizes.events)
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
        yield from self._faces_and_sensors()
        crossings = CounterMetricFamily(
            "linli_crossings", "Line crossings", labels=["camera", "rule", "direction", "label"]
        )
        for row in console.store.totals():
            labels = [camera_of(console, row.source), row.rule, row.direction, row.label]
            crossings.add_metric(labels, row.count)
        yield crossings
        trouble = GaugeMetricFamily("linli_trouble", "1 while it is wrong", labels=["source", "what"])
        for health in console.store.cameras_health():
            trouble.add_metric([health.source, health.what], float(health.state == "raised"))
        yield trouble

    def _faces_and_sensors(self) -> Iterator[Metric]:
        console = self._console
        judged = GaugeMetricFamily("linli_judgements", "Alerts by their last verdict", labels=["verdict"])
        for verdict, count in console.store.sizes().judged.items():
            judged.add_metric([verdict], count)
        yield judged
        faces = GaugeMetricFamily("linli_faces_held", "Pictures of faces that are kept", labels=["form"])
        for form, count in zip(("pixelated", "sealed"), console.store.face_counts(), strict=True):
            faces.add_metric([form], count)
        yield faces
        ages = GaugeMetricFamily(
            "linli_sensor_age_seconds", "Since the last reading was measured", labels=["sensor", "quantity"]
        )
        now = console.clock.wall_us()
        known = {sensor.id for sensor in console.site.sensors}
        for row in console.latest.rows():
            if (sensor := sensor_of(console, row.source)) in known:
                ages.add_metric([sensor, row.quantity], (now - row.time_us) / 1e6)
        yield ages


def metrics(request: Request) -> Response:
    """GET /metrics: counts are about people, so it needs the right `alerts` like the page."""
    console = console_of(request)
    console.require(request, "alerts", "metrics", console.site.id)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(console))
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
