"""Payloads to readings: paths, units, times, and every way in which they can be wrong."""

import json
from math import isfinite
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import units
from ingest.acceptance import Acceptance
from ingest.readings import Directory, Measured, Refusal, SensorMap, shown
from ingest.senml import resolve
from ingest.sensorfile import Field, Sensor, Sensors, check_sensors, is_filter, matches

NOW = 1_700_000_000_000_000


def made(**settings: Any) -> SensorMap:
    settings = {"id": "m1", "payload": "json", "fields": {"level": Field(unit="m")}} | settings
    return SensorMap(Sensor(**settings))


def read(known: SensorMap, payload: Any, **more: Any) -> tuple[list[Measured], list[Refusal]]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return known.read(raw, NOW, **more)


def value(field: Field, payload: Any, **more: Any) -> float:
    measured, refused = read(made(fields={"level": field}), {"level": payload} | more)
    assert not refused
    return measured[0].value


def refusal(known: SensorMap, payload: Any) -> Refusal:
    measured, refused = read(known, payload)
    assert not measured
    assert len(refused) == 1
    assert refused[0].sensor == "m1"
    return refused[0]


# -- where values are


@pytest.mark.parametrize("path", ["a.b.1.c", "/a/b/1/c"])
def test_paths_reach_into_objects_and_lists(path: str) -> None:
    known = made(fields={"level": Field(path=path, unit="m")})
    measured, _ = read(known, {"a": {"b": [0, {"c": 3.5}]}})
    assert [(m.quantity, m.value, m.unit, m.time_us, m.timed) for m in measured] == [
        ("level", 3.5, "m", NOW, False)
    ]


def test_a_json_pointer_escapes_slash_and_tilde() -> None:
    known = made(fields={"level": Field(path="/a~1b/m~0n", unit="m")})
    assert read(known, {"a/b": {"m~n": 2}})[0][0].value == 2.0


def test_several_fields_each_with_its_own_fate() -> None:
    fields = {"level": Field(unit="m"), "open": Field(), "temperature": Field(unit="Cel", high=60)}
    measured, refused = read(made(fields=fields), {"level": 1, "open": True, "temperature": 99})
    assert [(m.quantity, m.value) for m in measured] == [("level", 1.0), ("open", 1.0)]
    assert [(r.why, r.field) for r in refused] == [("range", "temperature")]
    measured, refused = read(made(fields=fields), {"open": False, "level": None})
    assert [(m.quantity, m.value) for m in measured] == [("open", 0.0)]
    assert refused == []


def test_a_payload_without_any_of_the_fields_is_refused() -> None:
    found = refusal(made(), {"battery": 3})
    assert found.why == "field"
    assert "/level" in found.text


def test_numbers_as_text() -> None:
    known = made(payload="number")
    assert [m.value for m in read(known, b" -1.25e1\n")[0]] == [-12.5]
    assert refusal(known, b"1_000").why == "value"
    assert refusal(known, b"").why == "value"
    assert refusal(known, b"\xff\xfe").why == "payload"
    assert value(Field(unit="m"), "3.5") == 3.5


# -- units


@pytest.mark.parametrize(
    ("sent", "kept", "raw", "becomes"),
    [
        ("degF", "Cel", 32, 0.0),
        ("degF", "Cel", 212, 100.0),
        ("K", "Cel", 0, -273.15),
        ("cm", "m", 123, 1.23),
        ("hPa", "Pa", 1013.25, 101_325.0),
        ("km/h", "m/s", 36, 10.0),
        ("kWh", "J", 1, 3.6e6),
        ("dBm", "dBW", 0, -30.0),
        ("ug/m3", "kg/m3", 35, 3.5e-8),
        ("kg/m3", "ug/m3", 3.5e-8, 35.0),
        ("Cel", "degF", 0, None),
        ("F", "Cel", 1, None),
        ("C", "Cel", 1, None),
        ("m", "", 1, None),
        ("furlong", "m", 1, None),
    ],
)
def test_units_are_converted_or_refused(sent: str, kept: str, raw: float, becomes: float | None) -> None:
    if becomes is None and not units.is_registered(kept):
        with pytest.raises(ValueError, match="registry"):
            Field(unit=kept)
        return
    known = made(fields={"level": Field(unit=kept, unit_path="unit")})
    measured, refused = read(known, {"level": raw, "unit": sent})
    if becomes is None:
        assert refused[0].why == "unit"
        assert repr(sent) in refused[0].text
    else:
        assert measured[0].value == pytest.approx(becomes, rel=1e-12, abs=1e-12)
        assert measured[0].unit == kept


def test_the_unit_it_comes_in_can_be_configured_and_the_payload_goes_before_it() -> None:
    field = Field(unit="m", sent="cm", unit_path="u")
    assert value(field, 50) == 0.5
    assert value(field, 50, u="mm") == 0.05
    assert value(field, 50, u=None) == 0.5


def test_scale_and_offset_go_before_the_unit() -> None:
    assert value(Field(unit="m", sent="mm", scale=2.0, offset=10.0), 100) == 0.21


@given(st.sampled_from(sorted(units._REGISTERED | units._BASES.keys())), st.floats(-1e6, 1e6))
def test_a_conversion_there_and_back_is_none(unit: str, number: float) -> None:
    for other in units.convertible(unit):
        there, back = units.conversion(unit, other), units.conversion(other, unit)
        assert there is not None
        assert back is not None
        came = (number * there[0] + there[1]) * back[0] + back[1]
        spread = abs(there[1] * back[0]) + abs(back[1])
        assert came == pytest.approx(number, rel=1e-9, abs=1e-9 * max(1.0, spread))


def test_all_units_lead_to_a_registered_base() -> None:
    for unit, (base, scale, _) in units._BASES.items():
        assert base in units._TABLE.senml["units"], unit
        assert base not in units._BASES, unit
        assert scale > 0


# -- values


def test_truth_values() -> None:
    assert value(Field(), True) == 1.0
    field = Field(true_values=("open", 1), false_values=("closed", 0))
    assert [value(field, v) for v in ("open", "closed", 1, 0, "1", True, False)] == [1, 0, 1, 0, 1, 1, 0]
    known = made(fields={"level": field})
    assert refusal(known, {"level": "ajar"}).why == "value"
    assert refusal(known, {"level": {"open": 1}}).why == "value"
    assert "no number" in refusal(made(), {"level": True}).text, "a switch is no length"


@pytest.mark.parametrize(
    "raw", [b"NaN", b"1e999", b'"nan"', b'"inf"', b"[1]", b"{}", b'"x"', b"1" + b"0" * 400]
)
def test_what_is_no_finite_number_is_refused(raw: bytes) -> None:
    known = made()
    measured, refused = known.read(b'{"level":' + raw + b"}", NOW)
    assert measured == []
    assert len(refused) == 1


def test_implausible_values_are_refused() -> None:
    known = made(fields={"level": Field(unit="m", sent="cm", low=0, high=2)})
    assert [m.value for m in read(known, {"level": 200})[0]] == [2.0]
    assert [m.value for m in read(known, {"level": 0})[0]] == [0.0]
    found = refusal(known, {"level": 201})
    assert found.why == "range"
    assert "2.01 m is not from 0 to 2" in found.text
    assert refusal(known, {"level": -1}).why == "range"


# -- times


@pytest.mark.parametrize(
    ("unit", "raw"),
    [
        ("s", 1_699_999_999.5),
        ("s", "1699999999.5"),
        ("ms", 1_699_999_999_500),
        ("us", 1_699_999_999_500_000),
        ("rfc3339", "2023-11-14T22:13:19.5Z"),
        ("rfc3339", "2023-11-15T06:13:19.500+08:00"),
    ],
)
def test_times_in_the_unit_that_is_configured(unit: Any, raw: Any) -> None:
    known = made(time_path="meta.t", time_unit=unit)
    measured, refused = read(known, {"level": 1, "meta": {"t": raw}})
    assert not refused
    assert (measured[0].time_us, measured[0].timed) == (1_699_999_999_500_000, True)


@pytest.mark.parametrize(
    ("unit", "raw"),
    [
        ("s", "noon"),
        ("s", True),
        ("s", None),
        ("ms", []),
        ("us", 10**400),  # a whole number of JSON that no float holds
        ("rfc3339", 5),
        ("rfc3339", "2023-11-14T22:13:19"),
    ],
)
def test_a_time_of_another_kind_is_refused(unit: Any, raw: Any) -> None:
    known = made(time_path="t", time_unit=unit)
    assert refusal(known, {"level": 1, "t": raw}).why == "time"


def test_without_a_time_it_is_the_transports_or_the_arrivals() -> None:
    known = made(time_path="t", time_unit="s")
    assert read(known, {"level": 1})[0][0].time_us == NOW
    (measured,) = read(known, {"level": 1}, time_us=NOW - 5)[0]
    assert (measured.time_us, measured.timed) == (NOW - 5, True)
    assert read(known, {"level": 1, "t": 1.0}, time_us=NOW - 5)[0][0].time_us == 1_000_000


# -- SenML


def test_senml_takes_its_own_records() -> None:
    fields = {"level": Field(unit="m"), "water": Field(path="temp", unit="Cel")}
    known = made(payload="senml", source="urn:m1:", fields=fields)
    pack = [
        {"bn": "urn:m1:", "bt": 1.69e9, "n": "level", "u": "cm", "v": 50},
        {"n": "temp", "u": "K", "v": 280},
        {"n": "battery", "u": "%EL", "v": 80},
        {"bn": "urn:m2:", "n": "level", "u": "m", "v": 9},
    ]
    measured, refused = read(known, pack)
    assert [(m.quantity, m.value, m.unit) for m in measured] == [("level", 0.5, "m"), ("water", 6.85, "Cel")]
    assert all(m.time_us == 1_690_000_000_000_000 and m.timed for m in measured)
    assert refused == []
    assert read(known, [{"n": "urn:m2:level", "v": 1}]) == ([], []), "another's"
    assert refusal(known, [{"n": "urn:m1:battery", "v": 1}]).why == "field"
    assert refusal(known, [{"n": "urn:m1:level", "u": "Cel", "v": 1}]).why == "unit"
    assert refusal(known, b"{").why == "payload"
    assert len(read(known, [{"n": "level", "v": 1}], named=True)[0]) == 1


def test_records_find_their_sensors_by_the_longest_name() -> None:
    sensors = [
        Sensor(id=id, source=source, fields={"level": Field(unit="m")})
        for id, source in (("a", "urn:a"), ("ab", "urn:a:b:"), ("c", "urn:c:"))
    ]
    directory = Directory(sensors)
    records = resolve(b'[{"n":"urn:a:b:level","v":1},{"n":"urn:a:x","v":2},{"n":"urn:d","v":3}]', NOW)
    assert {id: [r.value for r in found] for id, found in directory.of_records(records).items()} == {
        "ab": [1.0],
        "a": [2.0],
    }


# -- names and settings


@pytest.mark.parametrize(
    ("filter", "topic", "taken"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("+/b", "a/b", True),
        ("#", "a/b", True),
        ("#", "$SYS/load", False),
        ("+/load", "$SYS/load", False),
        ("$SYS/#", "$SYS/load", True),
        ("a/b", "a", False),
        ("a", "a/b", False),
        ("a//b", "a//b", True),
        ("a/+/b", "a//b", True),
    ],
)
def test_topic_filters(filter: str, topic: str, taken: bool) -> None:
    """MQTT 5, section 4.7."""
    assert is_filter(filter)
    assert matches(filter, topic) is taken
    known = Directory([Sensor(id="x", topic=filter, fields={"level": Field()})])
    assert bool(known.topic(topic)) is taken


@pytest.mark.parametrize("topic", ["", "a/#/b", "a+", "a/b#", "a\0b"])
def test_what_is_no_topic_filter(topic: str) -> None:
    assert not is_filter(topic)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fields": {}}, "measures nothing"),
        ({"payload": "number", "fields": {"a": Field(), "b": Field()}}, "one field"),
        ({"payload": "senml", "time_path": "t", "time_unit": "s"}, "json"),
        ({"time_path": "t"}, "nothing is guessed"),
        ({"topic": "a/#/b"}, "whole levels"),
        ({"zone": "road"}, "name it with `camera`"),
    ],
)
def test_sensors_that_make_no_sense(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made(**changes)


def test_rules_are_about_what_is_measured() -> None:
    rule = '{"kind":"silence","name":"x","quantity":"leve","for_s":9}'
    text = '{"id":"a","fields":{"level":{"unit":"m"}},"rules":[' + rule + "]}"
    with pytest.raises(msgspec.ValidationError, match="which it does not measure"):
        msgspec.json.decode(text, type=Sensor)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"unit": "mm "}, "registry"),
        ({"unit": "m", "sent": "degF"}, "cannot become"),
        ({"unit": "m", "sent": "ells"}, "no unit"),
        ({"low": 2, "high": 1}, "above"),
        ({"true_values": ("on",)}, "together"),
    ],
)
def test_fields_that_make_no_sense(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Field(**changes)


def test_sensors_agree_with_each_other_and_the_cameras() -> None:
    one = Sensor(id="a", source="urn:a", camera="gate", zone="road", fields={"level": Field()})
    check_sensors([one], {"gate": ["road"]})
    with pytest.raises(ValueError, match="twice: a"):
        check_sensors([one, one], {"gate": ["road"]})
    with pytest.raises(ValueError, match="no camera 'gate'"):
        check_sensors([one], {"yard": ["road"]})
    with pytest.raises(ValueError, match="no rule 'road'"):
        check_sensors([one], {"gate": ["door"]})


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://h:0", "mqtt://h:99999", "mqtt://u:secret@h"])
def test_a_brokers_url(url: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(json.dumps({"mqtt": [{"url": url}]}), type=Sensors)
    assert "secret" not in str(error.value)


# -- acceptance


def test_late_and_out_of_order_within_the_window() -> None:
    taken = Acceptance(300, 86_400)
    second = 1_000_000

    def judge(time_us: int, arrived_us: int = NOW) -> str:
        return taken.judge("m1", "level", time_us, arrived_us)

    assert judge(NOW) == ""
    assert judge(NOW - 300 * second) == ""
    assert judge(NOW - 300 * second - 1) == "late"
    assert taken.judge("m1", "other", NOW - 301 * second, NOW) == ""
    assert judge(NOW + 5 * second) == ""
    assert judge(NOW + 5 * second + 1) == "future"
    assert judge(NOW - 295 * second - 1) == "late", "the newest is 5 s ahead"
    assert taken.judge("m2", "level", NOW - 86_400 * second - 1, NOW) == "old"


def test_what_a_broker_kept_during_an_outage_is_taken() -> None:
    taken = Acceptance(300, 86_400)
    hours = [taken.judge("m1", "level", NOW + n * 60_000_000, NOW + 10 * 3_600_000_000) for n in range(600)]
    assert set(hours) == {""}


# -- what is shown


def test_examples_are_short_and_without_passwords() -> None:
    text = shown(b"mqtt://user:hunter2@host/ password=hunter2 \x00\n" + b"x" * 1000)
    assert "hunter2" not in text
    assert len(text) < 100
    assert text.isprintable()


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["level", "t", "u", "n", "v"]), inner, max_size=4),
).map(lambda value: json.dumps(value).encode()), st.sampled_from(["json", "senml", "number"]))  # fmt: skip
def test_no_payload_raises(raw: bytes, kind: Any) -> None:
    timed = {"time_path": "t", "time_unit": "s"} if kind == "json" else {}
    field = Field(unit="m", unit_path="u" if kind == "json" else "")
    measured, refused = made(payload=kind, fields={"level": field}, **timed).read(raw, NOW)
    assert all(isfinite(m.value) for m in measured)
    assert all(len(r.text) < 400 for r in refused)
