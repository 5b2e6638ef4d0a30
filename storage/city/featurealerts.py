"""Alerts as features of the map, and how their events change them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from city.features import Feature
from events.events import AlertCleared, AlertRaised, AlertUpdated, Event, Judged
from events.payload import Place
from storage.city.engine import upsert
from storage.city.featuretables import VERDICTS

ALERTS = "alerts"


def alerts_after(
    events: Sequence[Event],
    known: Callable[[set[str]], Mapping[str, Feature]],
    verdicts: Mapping[str, str],
    area: Callable[[Place], str],
) -> list[Feature]:
    """What the events make of alerts that have a place.

    Args:
        known: those on the map, by id.
        verdicts: on alerts that are raised here.
        area: code of the jurisdiction at a place.
    """
    kinds = (AlertRaised, AlertUpdated, AlertCleared, Judged)
    ids = {d.alert for e in events if isinstance(d := e.data, kinds)}
    alerts = dict(known(ids))
    changed: dict[str, Feature] = {}
    for event in events:
        data = event.data
        if isinstance(data, AlertRaised) and data.place is not None and data.alert not in alerts:
            alert = _raised(event, data, verdicts.get(data.alert, ""), area(data.place))
        elif isinstance(data, (AlertUpdated, AlertCleared, Judged)) and data.alert in alerts:
            alert = _changed(alerts[data.alert], data)
            if isinstance(data, AlertUpdated) and data.place is not None:
                alert = msgspec.structs.replace(alert, parent=area(data.place))
        else:
            continue
        alerts[alert.id] = changed[alert.id] = alert
    return list(changed.values())


def verdicts_on(connection: Connection, events: Sequence[Event]) -> Mapping[str, str]:
    """Verdicts on the alerts that are raised, kept for those that will be."""
    given = {d.alert: d.verdict for e in events if isinstance(d := e.data, Judged)}
    upsert(connection, VERDICTS, [{"alert": a, "verdict": v} for a, v in given.items()])
    raised = {d.alert for e in events if isinstance(d := e.data, AlertRaised)}
    if not raised:
        return given
    query = select(VERDICTS.c.alert, VERDICTS.c.verdict).where(VERDICTS.c.alert.in_(raised))
    return {**{row.alert: row.verdict for row in connection.execute(query)}, **given}


def _raised(event: Event, data: AlertRaised, verdict: str, area: str) -> Feature:
    assert data.place is not None
    properties: dict[str, Any] = {
        "rule": data.rule,
        "kind": data.kind,
        "severity": data.severity,
        "label": data.label,
        "state": "open",
        "source": event.key,
        "why": str(data.detail.get("why", "")),
    }
    if verdict:
        properties["verdict"] = verdict
    return Feature(
        id=data.alert,
        what=ALERTS,
        name=data.label,
        parent=area,
        geometry={"type": "Point", "coordinates": list(data.place)},
        properties=properties,
        since_us=data.since_us,
    )


def _changed(alert: Feature, data: AlertUpdated | AlertCleared | Judged) -> Feature:
    if isinstance(data, Judged):
        return msgspec.structs.replace(alert, properties=alert.properties | {"verdict": data.verdict})
    if isinstance(data, AlertCleared):
        return msgspec.structs.replace(
            alert, properties=alert.properties | {"state": "cleared"}, until_us=data.until_us
        )
    why = {"why": str(data.detail["why"])} if "why" in data.detail else {}
    place = {"type": "Point", "coordinates": list(data.place)} if data.place else alert.geometry
    return msgspec.structs.replace(alert, geometry=place, properties=alert.properties | why)
