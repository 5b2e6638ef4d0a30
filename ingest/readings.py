"""Payloads become readings: found by paths, in a checked unit, with a time, or refused with a reason.

    mapped = SensorMap(sensor)                  # ingest.sensorfile.Sensor
    measured, refused = mapped.read(payload, arrived_us)

Pure. Nothing is guessed: units, those of time included, stand in the payload or in the site file.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec

from events.events import Place
from events.media import parse_rfc3339
from ingest.credentials import mask
from ingest.senml import Record, SenmlError, resolve
from ingest.sensorfile import Field, Sensor, matches
from ingest.units import Linear, conversion, convertible

Why = Literal[
    "payload", "field", "value", "range", "unit", "time", "late", "old", "future", "unknown", "forbidden"
]
EXAMPLE = 80
"""Characters of a payload that are shown."""

_NONE = object()
_TOPICS_REMEMBERED = 50_000
_DIGITS = frozenset("0123456789.eE+- ")


class Measured(msgspec.Struct, frozen=True):
    """One value of one quantity."""

    quantity: str
    value: float
    """In `unit`."""
    unit: str
    time_us: int
    timed: bool
    """The sensor gave the time; otherwise it is that of the arrival."""


class Refusal(msgspec.Struct, frozen=True):
    """Why something was not taken."""

    why: Why
    text: str
    """What is wrong and what mends it, for a person."""
    field: str = ""
    """The quantity, or a JSON pointer into the payload."""
    sensor: str = ""


class _Refused(Exception):
    def __init__(self, why: Why, text: str) -> None:
        self.why: Why = why
        self.text = text


class SensorMap:
    """One sensor's mapping, prepared."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self.id = sensor.id
        self.place: Place | None = sensor.place
        self._fields = {quantity: _FieldMap(quantity, field) for quantity, field in sensor.fields.items()}
        self._named = {
            field.path or quantity: self._fields[quantity] for quantity, field in sensor.fields.items()
        }
        self._time = _path(sensor.time_path)
        self._time_of = _TIMES[sensor.time_unit] if sensor.time_unit else None

    @property
    def units(self) -> dict[str, str]:
        """Of each quantity."""
        return {quantity: field.unit for quantity, field in self.sensor.fields.items()}

    def read(
        self,
        payload: bytes,
        arrived_us: int,
        time_us: int | None = None,
        *,
        senml: bool = False,
        named: bool = False,
    ) -> tuple[list[Measured], list[Refusal]]:
        """What a payload says. Never raises for what is in the payload.

        Args:
            time_us: when it was measured, if the transport says so; the payload's own time goes before it.
            senml: the transport says that it is SenML, whatever the site file says.
            named: the transport names the sensor, so that records need not.
        """
        kind = "senml" if senml else self.sensor.payload
        try:
            if kind == "senml":
                return self.take(resolve(payload, arrived_us), time_us, named)
            if kind == "number":
                return self._number(payload, arrived_us, time_us)
            return self._json(payload, arrived_us, time_us)
        except _Refused as error:
            return [], [Refusal(error.why, f"{error.text}, in {shown(payload)}", "", self.id)]
        except SenmlError as error:
            text = f"not SenML: {error}, in {shown(payload)}"
            return [], [Refusal("payload", text, error.field, self.id)]

    def take(
        self, records: Sequence[Record], time_us: int | None = None, named: bool = False
    ) -> tuple[list[Measured], list[Refusal]]:
        """What SenML records say that are this sensor's: those whose name begins with its `source`."""
        source = self.sensor.source
        measured: list[Measured] = []
        refused: list[Refusal] = []
        if source:
            own = [record for record in records if record.name.startswith(source)]
            records, source = (records, "") if named and not own else (own, source)
        for record in records:
            name = record.name[len(source) :]
            field = self._named.get(name) or self._named.get(name.lstrip(":/."))
            if field is None or record.value is None:
                continue
            timed = record.timed or time_us is not None
            moment = record.time_us if record.timed or time_us is None else time_us
            self._add(measured, refused, field, (record.value, record.unit, moment, timed))
        if records and not measured and not refused:
            names = ", ".join(sorted({record.name[:60] for record in records})[:3])
            text = f"none of its fields ({', '.join(self._named)}) is in the pack, which has {names}"
            refused.append(Refusal("field", text, "", self.id))
        return measured, refused

    def _json(
        self, payload: bytes, arrived_us: int, time_us: int | None
    ) -> tuple[list[Measured], list[Refusal]]:
        try:
            whole = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Refused("payload", f"not JSON: {error}") from None
        measured: list[Measured] = []
        refused: list[Refusal] = []
        raw_time = _find(whole, self._time) if self._time else _NONE
        if raw_time is not _NONE and self._time_of is not None:
            time_us = self._moment(raw_time)
        timed = time_us is not None
        moment = arrived_us if time_us is None else time_us
        for field in self._fields.values():
            value = _find(whole, field.path)
            if value is _NONE or value is None:
                continue
            unit = _find(whole, field.unit_path) if field.unit_path else _NONE
            unit = "" if unit is _NONE or unit is None else unit
            self._add(measured, refused, field, (value, unit, moment, timed))
        if not measured and not refused:
            wanted = ", ".join("/" + "/".join(map(str, field.path)) for field in self._fields.values())
            raise _Refused("field", f"none of its fields ({wanted}) is in the payload")
        return measured, refused

    def _number(
        self, payload: bytes, arrived_us: int, time_us: int | None
    ) -> tuple[list[Measured], list[Refusal]]:
        (field,) = self._fields.values()
        try:
            text = payload.decode().strip()
        except UnicodeDecodeError:
            raise _Refused("payload", "not text") from None
        measured: list[Measured] = []
        refused: list[Refusal] = []
        timed = time_us is not None
        self._add(measured, refused, field, (text, "", arrived_us if time_us is None else time_us, timed))
        return measured, refused

    def _moment(self, raw: Any) -> int:
        assert self._time_of is not None
        try:
            moment = self._time_of(raw)
            float(moment)  # JSON has whole numbers beyond all floats, and no time is one
            return moment
        except (ValueError, TypeError, OverflowError):
            raise _Refused(
                "time",
                f"the time {shown(raw)} is not in {_TIME_NAMES[self.sensor.time_unit]}; "
                "mend the sensor, or `time_unit`",
            ) from None

    def _add(
        self,
        measured: list[Measured],
        refused: list[Refusal],
        field: "_FieldMap",
        found: tuple[Any, Any, int, bool],
    ) -> None:
        raw, unit, time_us, timed = found
        try:
            value = field.value(raw, unit)
        except _Refused as error:
            refused.append(Refusal(error.why, f"{field.quantity}: {error.text}", field.quantity, self.id))
        else:
            measured.append(Measured(field.quantity, value, field.unit, time_us, timed))


class _FieldMap:
    """One field's mapping: raw value and unit to a checked value."""

    def __init__(self, quantity: str, field: Field) -> None:
        self.quantity = quantity
        self.unit = field.unit
        self.path = _path(field.path or quantity)
        self.unit_path = _path(field.unit_path)
        self._field = field
        self._sent = field.sent or field.unit
        self._plain = field.scale == 1.0 and field.offset == 0.0
        self._conversions: dict[str, Linear | None] = {}
        self._low = field.low if field.low is not None else -float("inf")
        self._high = field.high if field.high is not None else float("inf")

    def value(self, raw: Any, unit: Any) -> float:
        """In `unit` of the field. Raises _Refused."""
        value = self._raw(raw)
        if not self._plain:
            value = value * self._field.scale + self._field.offset
        if not isinstance(unit, str):
            raise _Refused("unit", f"the unit {shown(unit)} is no text")
        sent = unit or self._sent
        if sent != self.unit:
            scale, offset = self._conversion(sent)
            value = float(f"{value * scale + offset:.12g}")  # what binary fractions add is no measurement
        if not isfinite(value):
            raise _Refused("value", f"{shown(raw)} is no finite number")
        if not self._low <= value <= self._high:
            raise _Refused(
                "range",
                f"{value:g} {self.unit} is not from {self._low:g} to {self._high:g}; mend the sensor, or "
                "`low` and `high`",
            )
        return value

    def _raw(self, raw: Any) -> float:
        kind = type(raw)
        if (kind is float or kind is int) and not self._field.true_values:
            return float(raw) if abs(raw) < 1e300 else float("inf")
        if self._field.true_values and not isinstance(raw, dict | list):
            if _among(raw, self._field.true_values):
                return 1.0
            if _among(raw, self._field.false_values):
                return 0.0
            raise _Refused("value", f"{shown(raw)} is neither of true_values nor of false_values")
        if kind is bool and self.unit in ("", "/"):
            return float(raw)
        if kind is str and raw and _DIGITS.issuperset(raw):
            try:
                return float(raw)
            except ValueError:
                pass
        raise _Refused("value", f"{shown(raw)} is no number; name what stands for 1 in `true_values`")

    def _conversion(self, sent: str) -> Linear:
        if sent not in self._conversions:
            if len(self._conversions) > 100:
                self._conversions.clear()
            self._conversions[sent] = conversion(sent, self.unit)
        linear = self._conversions[sent]
        if linear is None:
            can = ", ".join(convertible(self.unit)[:12]) or "none"
            raise _Refused(
                "unit",
                f"the unit {shown(sent)} cannot become {self.unit or 'a plain number'!r} (these can: {can}); "
                "mend the sensor, or `unit`",
            )
        return linear


class Directory:
    """Which sensors a delivery is of."""

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self.maps = {sensor.id: SensorMap(sensor) for sensor in sensors}
        self._exact: dict[str, list[SensorMap]] = {}
        self._filters: list[tuple[str, SensorMap]] = []
        self._sources: dict[str, SensorMap] = {}
        for known in self.maps.values():
            if known.sensor.source:
                self._sources[known.sensor.source] = known
            if "+" in known.sensor.topic or "#" in known.sensor.topic:
                self._filters.append((known.sensor.topic, known))
            elif known.sensor.topic:
                self._exact.setdefault(known.sensor.topic, []).append(known)
        self._lengths = sorted({len(source) for source in self._sources}, reverse=True)
        self._topics: dict[str, tuple[SensorMap, ...]] = {}

    def named(self, id: str) -> SensorMap | None:
        """By the sensor's id."""
        return self.maps.get(id)

    def source(self, source: str) -> SensorMap | None:
        """By what it calls itself."""
        return self._sources.get(source)

    def topic(self, topic: str) -> tuple[SensorMap, ...]:
        """Whose topic it is."""
        found = self._topics.get(topic)
        if found is None:
            if len(self._topics) >= _TOPICS_REMEMBERED:
                self._topics.clear()
            wild = [known for filter, known in self._filters if matches(filter, topic)]
            found = self._topics[topic] = (*self._exact.get(topic, ()), *wild)
        return found

    def of_records(self, records: Sequence[Record]) -> dict[str, list[Record]]:
        """The records of each sensor whose `source` their name begins with; the longest counts."""
        found: dict[str, list[Record]] = {}
        for record in records:
            for length in self._lengths:
                known = self._sources.get(record.name[:length])
                if known is not None:
                    found.setdefault(known.id, []).append(record)
                    break
        return found


def shown(value: Any) -> str:
    """Something of a payload as it may be shown to a person: short, printable, without passwords."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    text = mask("".join(c if c.isprintable() else "?" for c in text[: 4 * EXAMPLE]))
    return text if len(text) <= EXAMPLE else text[:EXAMPLE] + "..."


def _among(raw: Any, values: Sequence[Any]) -> bool:
    """Text as text, case as written; numbers and truth values by value, also where they come as text."""
    return raw in values or (isinstance(raw, str) and any(raw == _text(value) for value in values))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().removesuffix(".0")


def _path(text: str) -> tuple[str | int, ...]:
    """A JSON pointer (RFC 6901) or a dotted path as keys and indexes."""
    if not text:
        return ()
    if text.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]
    else:
        parts = text.split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _find(whole: Any, path: Sequence[str | int]) -> Any:
    for key in path:
        if isinstance(whole, dict):
            whole = whole.get(str(key), _NONE)
        elif isinstance(whole, list) and isinstance(key, int) and key < len(whole):
            whole = whole[key]
        else:
            return _NONE
    return whole


def _seconds(scale: float) -> Callable[[Any], int]:
    def convert(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise TypeError
        return round(float(raw) * scale) if isinstance(raw, float | str) else round(raw * scale)

    return convert


_TIMES: dict[str, Callable[[Any], int]] = {
    "s": _seconds(1e6),
    "ms": _seconds(1e3),
    "us": _seconds(1),
    "rfc3339": parse_rfc3339,
}
_TIME_NAMES = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "rfc3339": "RFC 3339 with a zone",
}
