"""Rules from TOML: every mistake has a message that names the rule and the mend."""

from typing import Any

import msgspec
import pytest

from events.rules import Crowd, Line, Rule, Stationary, WrongWay, Zone

SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]


class Rules(msgspec.Struct):
    rules: list[Rule]


def read(**rule: Any) -> Rule:
    return msgspec.convert({"rules": [rule]}, Rules).rules[0]


def test_rules_as_a_site_file_writes_them() -> None:
    text = """
    [[rules]]
    kind = "line"
    name = "gate"
    points = [[0.1, 0.5], [0.9, 0.5]]
    labels = ["person", "bicycle"]
    [[rules]]
    kind = "crowd"
    name = "square"
    polygon = [[0.0, 0.5], [1, 0.5], [1, 1], [0, 1]]
    count = 20
    [[rules]]
    kind = "stationary"
    name = "zombie-cars"
    for_s = 86400
    """
    line, crowd, cars = msgspec.toml.decode(text, type=Rules).rules
    assert line == Line(name="gate", points=((0.1, 0.5), (0.9, 0.5)), labels=("person", "bicycle"))
    assert isinstance(crowd, Crowd)
    assert (crowd.count, crowd.low, crowd.severity) == (20, 16, "major")
    assert isinstance(cars, Stationary)
    assert "car" in cars.labels
    assert cars.polygon == ((0, 0), (1, 0), (1, 1), (0, 1)), "the whole picture"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "zone", "name": "North Gate"}, "lower case"),
        ({"kind": "zone", "name": ""}, "north-gate"),
        ({"kind": "zone", "name": "z", "labels": []}, "at least one"),
        ({"kind": "zone", "name": "z", "labels": ["car", "car"]}, "once"),
        ({"kind": "zone", "name": "z", "polygon": [[0, 0], [1, 1]]}, "3 corners, not 2"),
        ({"kind": "zone", "name": "z", "polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "crosses"),
        ({"kind": "zone", "name": "z", "polygon": [[0, 0], [0.5, 0], [1, 0]]}, "crosses or touches"),
        ({"kind": "zone", "name": "z", "polygon": [[0, 0], [640, 0], [640, 480]]}, "divide pixels"),
        ({"kind": "line", "name": "z", "points": [[0, 0]]}, "two different ends"),
        ({"kind": "line", "name": "z", "points": [[0.5, 0.5], [0.5, 0.5]]}, "two different ends"),
        ({"kind": "line", "name": "z", "points": [[0, 0], [1, 2]]}, "divide pixels"),
        ({"kind": "line", "name": "z", "points": [[0, 0], [1, 1]], "dead_band_px": -1}, "below 0"),
        ({"kind": "intrusion", "name": "z", "polygon": SQUARE, "dwell_s": -1}, "dwell_s"),
        ({"kind": "loitering", "name": "z", "polygon": SQUARE, "dwell_s": 0}, "above 0"),
        ({"kind": "crowd", "name": "z", "count": 5, "clear_count": 5}, "below count, not 5 of 5"),
        ({"kind": "crowd", "name": "z", "count": 0}, "below count"),
        ({"kind": "wrong_way", "name": "z", "direction": [0, 0]}, "point somewhere"),
        ({"kind": "wrong_way", "name": "z", "direction": [0, 1], "angle": 120}, "0 to 90"),
        ({"kind": "stationary", "name": "z", "radius": 0}, "radius"),
    ],
)
def test_mistakes_name_the_rule_and_the_mend(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as e:
        read(**rule)
    assert message in str(e.value)
    assert repr(rule["name"]) in str(e.value)
    assert "$.rules[0]" in str(e.value), "and the place in the file"


def test_unknown_keys_and_kinds_are_errors() -> None:
    with pytest.raises(msgspec.ValidationError, match="dwel_s"):
        read(kind="loitering", name="z", dwel_s=5)
    with pytest.raises(msgspec.ValidationError, match="loiter"):
        read(kind="loiter", name="z")
    with pytest.raises(msgspec.ValidationError, match="severity"):
        read(kind="zone", name="z", severity="urgent")


def test_a_rule_survives_a_round_trip() -> None:
    rule: Rule = WrongWay(name="one-way", direction=(0.0, 1.0), polygon=((0, 0), (1, 0), (0.5, 1)))
    assert msgspec.convert(msgspec.to_builtins(rule), Rule) == rule
    assert msgspec.to_builtins(Zone(name="z"))["kind"] == "zone"
