"""SenML: the RFC's own examples, what is resolved, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.senml import Record, SenmlError, resolve

NOW = 1_700_000_000_000_000


def records(pack: Any, now_us: int = NOW) -> list[Record]:
    return resolve(json.dumps(pack).encode(), now_us)


def test_the_single_data_point_of_the_rfc() -> None:
    """RFC 8428, 5.1.1."""
    (record,) = records([{"n": "urn:dev:ow:10e2073a01080063", "u": "Cel", "v": 23.1}])
    assert record == Record("urn:dev:ow:10e2073a01080063", 23.1, "Cel", NOW, False, None)


def test_the_multiple_data_points_of_the_rfc() -> None:
    """RFC 8428, 5.1.3: base name, time, unit and version; times relative to the base time."""
    pack: list[dict[str, Any]] = [
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e09, "bu": "A", "bver": 5}
        | {"n": "voltage", "u": "V", "v": 120.1},
        *({"n": "current", "t": t, "v": v} for t, v in ((-5, 1.2), (-4, 1.3), (-1, 1.6))),
        {"n": "current", "v": 1.7},
    ]
    found = records(pack)
    assert [(r.name.rsplit(":", 1)[1], r.value, r.unit) for r in found] == [
        ("voltage", 120.1, "V"),
        ("current", 1.2, "A"),
        ("current", 1.3, "A"),
        ("current", 1.6, "A"),
        ("current", 1.7, "A"),
    ]
    assert [(r.time_us - 1_276_020_076_001_000) / 1e6 for r in found] == [0, -5, -4, -1, 0]
    assert all(r.timed for r in found)


def test_base_values_and_sums_are_added() -> None:
    """RFC 8428, 4.1."""
    found = records(
        [{"bn": "m:", "bv": 20.0, "bs": 100.0, "n": "a", "v": 1.5, "s": 3.0}, {"n": "b", "v": -1}]
    )
    assert [(r.value, r.total) for r in found] == [(21.5, 103.0), (19.0, None)]


def test_times_below_2_to_the_28_are_relative_to_now() -> None:
    """RFC 8428, 4.5.3."""
    (past,) = records([{"n": "a", "v": 1, "t": -30}])
    (ahead,) = records([{"n": "a", "v": 1, "bt": 2**28 - 1}])
    (absolute,) = records([{"n": "a", "v": 1, "bt": 2**28}])
    assert past.time_us == NOW - 30_000_000
    assert ahead.time_us == NOW + (2**28 - 1) * 1_000_000
    assert absolute.time_us == 2**28 * 1_000_000


def test_values_of_all_kinds() -> None:
    pack = [
        {"bn": "door:", "n": "open", "vb": True},
        {"n": "label", "vs": "Machine Room"},
        {"n": "nfc", "vd": "aGkgCg"},
        {"n": "sum", "s": 12.5},
        {"bu": "m"},
    ]
    assert [(r.name, r.value) for r in records(pack)] == [
        ("door:open", True),
        ("door:label", "Machine Room"),
        ("door:sum", None),
    ]


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"[1]", "/0"),
        (b"\xff[", ""),
        (b'[{"n":"a","v":"high"}]', "/0/v"),
        (b'[{"n":"a","v":NaN}]', ""),
        (b'[{"n":"a","v":1e999}]', "/0/v"),
        (b'[{"n":"a","v":1,"vs":"x"}]', "/0"),
        (b'[{"v":1}]', "/0/n"),
        (b'[{"n":"-a","v":1}]', "/0/n"),
        (b'[{"n":"a b","v":1}]', "/0/n"),
        (b'[{"n":"\xe4","v":1}]'.decode("latin1").encode(), "/0/n"),
        (b'[{"n":"a","v":1},{"n":"b","v":1,"bver":11}]', "/1/bver"),
        (b'[{"n":"a","v":1},{"n":"b","v":1,"new_":0}]', "/1/new_"),
        (b'[{"n":"a","v":1,"t":1e300}]', "/0/t"),
        (b'[{"n":"a","v":1,"x_":"\xff"}]', ""),  # passed over at first, then looked at
        (b'[{"n":"a","v":1,"x":1e99999,"y_":1}]', "/0"),
        (b'[{"n":"a","v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", ""),
    ],
)
def test_what_is_not_senml_is_refused_with_its_place(raw: bytes, field: str) -> None:
    with pytest.raises(SenmlError) as error:
        resolve(raw, NOW)
    assert error.value.field == field
    assert len(str(error.value)) < 200


def test_fields_that_are_not_known_are_passed_over() -> None:
    """RFC 8428, 4.4: unless their name ends in `_`."""
    assert records([{"n": "a_", "v": 1, "extra": {"deep": [1]}}])[0].name == "a_"


@given(st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["bn", "bt", "n", "u", "v", "vs", "vb", "t", "s", "x_"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_else_is_ever_raised(raw: bytes) -> None:
    try:
        found = resolve(raw, NOW)
    except SenmlError:
        return
    assert all(isinstance(record.time_us, int) and record.name for record in found)
