"""What a step does beside its case, and the estate that a case lies in."""

from pathlib import Path

import msgspec
import pytest

from city.calendars import shipped as calendar
from city.cases import Case, opened, stepped
from city.features import Feature
from city.packs import shipped
from city.scenario import Opening, Pack, Step
from city.steps import open_case, step
from desk.effects import Effects
from desk.placing import estate_at
from events.errors import ConfigError
from events.events import CaseOpened, Judged
from storage.city.engine import writing
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.objects import FolderObjects

NOW = 1_795_000_000_000_000
CAMERA = "/demo/camera/gate"
PACKS = shipped()
VIDEO = PACKS["video"]


def raised(**detail: str) -> Case:
    request = Opening(
        category="intrusion", cause="a1", place=(117.02, 35.02), who="trigger", role="system", detail=detail
    )
    return opened("c1", NOW, open_case(VIDEO, request, NOW, calendar()))


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        ("true", "true"),
        ("false", "false"),
        ("unwanted", "ignore"),
        ("exercise", "true"),
        ("duplicate", "true"),
    ],
)
def test_a_judged_case_is_a_judgement_of_its_alert(mark: str, verdict: str) -> None:
    case = raised(source=CAMERA, rule="lawn")
    said = Step(
        action="judge", marks=(mark,), other="c0" if mark == "duplicate" else "", who="o", role="operator"
    )
    data = step(VIDEO, case, said, NOW + 1, calendar())
    effects = Effects(PACKS, "demo", calendar()).of(VIDEO, case, said, data, NOW + 1)
    assert [(e.source, e.family, e.data) for e in effects] == [
        (CAMERA, "judgement", Judged(alert="a1", rule="lawn", verdict=verdict, who="o"))  # type: ignore[arg-type]
    ]


def test_every_mark_that_a_judgement_can_set_says_something_of_the_rule() -> None:
    action = VIDEO.action("judge")
    assert action is not None
    for mark in action.choose[0]:
        case = raised(source=CAMERA, rule="lawn")
        data = msgspec.structs.replace(
            step(VIDEO, case, Step(action="judge", marks=("true",), role="operator"), NOW, calendar()),
            marks=(mark,),
        )
        said = Step(action="judge", marks=(mark,))
        assert Effects(PACKS, "demo", calendar()).of(VIDEO, case, said, data, NOW)


def test_a_case_of_no_alert_judges_none() -> None:
    case = raised()
    said = Step(action="judge", marks=("true",), who="o", role="operator")
    data = step(VIDEO, case, said, NOW, calendar())
    assert Effects(PACKS, "demo", calendar()).of(VIDEO, case, said, data, NOW) == []


def test_a_case_becomes_another_only_if_it_links_to_none_that_is_there() -> None:
    effects = Effects(PACKS, "demo", calendar())
    case = raised(source=CAMERA, rule="lawn")
    said = Step(action="judge", marks=("true",), who="o", role="operator")
    case = stepped(case, 1, NOW, step(VIDEO, case, said, NOW, calendar()))
    new = effects.other_of(case, "matter")
    for other, made in ((new, 1), ("a matter that is there", 0)):
        said = Step(action="become-matter", other=other, who="o", role="operator")
        beside = effects.of(VIDEO, case, said, step(VIDEO, case, said, NOW, calendar()), NOW)
        assert len(beside) == made
        for event in beside:
            assert isinstance(event.data, CaseOpened)
            assert (event.data.scenario, event.data.cause, event.data.who) == ("matter", "c1", "o")


@pytest.mark.parametrize("effect", ["tell-the-press", "open:nothing"])
def test_an_effect_that_nobody_knows_is_refused_at_the_start(effect: str) -> None:
    action = msgspec.structs.replace(VIDEO.actions[0], effects=(effect,))
    pack: Pack = msgspec.structs.replace(VIDEO, actions=(action,))
    with pytest.raises(ConfigError, match=effect):
        Effects({"video": pack}, "demo", calendar())


def test_the_smallest_estate_around_a_place(tmp_path: Path) -> None:
    objects, vault = FolderObjects(tmp_path / "objects"), Vault(tmp_path / "vault.db", bytes(range(32)))
    store = CityStore(tmp_path / "city.db", objects, vault)
    with writing(store._engine) as connection:
        for id, ring in (
            ("large", [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]),
            ("small", [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]),
            ("corner", [[2, 2], [4, 2], [2, 4], [2, 2]]),  # its box holds more than it does
        ):
            geometry = {"type": "Polygon", "coordinates": [ring]}
            store.features.put(connection, "estate", [Feature(id=id, what="estate", geometry=geometry)])
    found = {
        place: estate_at(store.features, place) for place in ((1.5, 1.5), (3.9, 3.9), (2.5, 2.5), (9.0, 9.0))
    }
    assert found == {(1.5, 1.5): "small", (3.9, 3.9): "large", (2.5, 2.5): "corner", (9.0, 9.0): ""}
    assert estate_at(store.features, None) == ""
    store.close()
