"""What the sensors say: their latest values, and a chart of one."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console.api import json
from console.context import console_of
from console.latest import value_json
from console.problems import Problem, integer
from events.events import sensor_source

HOUR_US = 3600 * 1_000_000
MAX_SPAN_US = 31 * 24 * HOUR_US
MAX_STEPS = 500
"""Points of a chart."""
_FOREVER_US = 1 << 52


def sensors(request: Request) -> Response:
    """GET /api/sensors: each with its latest values."""
    console = console_of(request)
    console.require(request, "alerts", "page", console.site.id)
    values: dict[str, list[dict[str, object]]] = {}
    for row in console.latest.rows():
        values.setdefault(row.source, []).append(value_json(row))
    found = [
        {**msgspec.to_builtins(sensor), "values": values.get(sensor_source(console.site.id, sensor.id), [])}
        for sensor in console.site.sensors
    ]
    return json({"sensors": found})


def readings(request: Request) -> Response:
    """GET /api/sensors/{id}/readings?quantity=&from=&to=&limit= : a chart of [from, to) in at most `limit`
    steps; without `from` and `to` the last hour.
    """
    console = console_of(request)
    id = request.path_params["id"]
    console.require(request, "alerts", "page", console.site.id)
    if console.site.sensor(id) is None:
        raise Problem(404, f"the site has no sensor {id[:60]!r}; GET /api/sensors lists them", "id")
    end = integer(request, "to", console.clock.wall_us() + 1, 0, _FOREVER_US)
    assert end is not None
    start = integer(request, "from", max(0, end - HOUR_US), 0, _FOREVER_US)
    limit = integer(request, "limit", 120, 1, MAX_STEPS)
    assert start is not None
    assert limit is not None
    if not start < end <= start + MAX_SPAN_US:
        raise Problem(400, f"to must be after from ({start}) and within 31 days of it, not {end}", "to")
    source = sensor_source(console.site.id, id)
    rows = [row for row in console.latest.rows() if row.source == source]
    wanted = request.query_params.get("quantity")
    if wanted is not None and wanted not in {row.quantity for row in rows}:
        known = ", ".join(row.quantity for row in rows) or "nothing yet"
        raise Problem(404, f"{id} has not measured {wanted[:40]!r}; it has measured {known}", "quantity")
    series = [
        {
            "quantity": row.quantity,
            "unit": row.unit,
            "readings": console.store.readings(source, row.quantity, start, end, limit),
        }
        for row in rows
        if wanted in (None, row.quantity)
    ]
    return json({"sensor": id, "from_us": start, "to_us": end, "series": series})
