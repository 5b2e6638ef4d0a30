"""GET /metrics: the console's own figures in Prometheus's text format. Counted when asked, not in between."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from console.api import camera_of
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


def metrics(request: Request) -> Response:
    """GET /metrics: counts are about people, so it needs the right `alerts` like the page."""
    console = console_of(request)
    console.require(request, "alerts", "metrics", console.site.id)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(console))
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
