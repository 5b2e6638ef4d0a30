"""Single things of the map over HTTP, on both stores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.city_stage import GRID, GRID2, IN_GRID, OUTSIDE, CityStage


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = request.getfixturevalue("postgis").new_database() if request.param == "postgis" else None
    with CityStage(tmp_path_factory.mktemp("places"), where) as stage:
        yield stage


def put(stage: CityStage, who: str, id: str, match: int | None = -1, **form: Any) -> httpx.Response:
    body = {"geometry": {"type": "Point", "coordinates": list(IN_GRID)}, **form}
    headers = {} if match is None else {"if-match": f'"{match}"'}
    with stage.client(who) as client:
        return client.put(f"/city/places/unit/{id}", json=body, headers=headers)


def test_a_thing_is_made_changed_and_taken_away(stage: CityStage) -> None:
    made = put(stage, "grid1", "a", name="shop", properties={"kind": "shop"})
    assert made.status_code == 200, made.text
    assert made.headers["etag"] == '"0"'
    assert made.json()["feature"]["properties"] == {"name": "shop", "parent": GRID, "kind": "shop"}
    changed = put(stage, "grid1", "a", 0, name="school")
    assert (changed.json()["version"], len(changed.json()["before"])) == (1, 1)
    assert put(stage, "grid1", "a", 1, name="school").json()["version"] == 1, "it is so already"
    with stage.client("grid1") as client:
        assert client.get("/city/places/unit/a").json() == put(stage, "grid1", "a", 1, name="school").json()
        assert client.delete("/city/places/unit/a").status_code == 428
        assert client.delete("/city/places/unit/a", headers={"if-match": '"0"'}).status_code == 412
        gone = client.delete("/city/places/unit/a", headers={"if-match": '"1"'})
        assert (gone.status_code, gone.json()["feature"]) == (200, None)
        assert client.get("/city/places/unit/a").status_code == 404
        assert client.delete("/city/places/unit/a", headers={"if-match": '"2"'}).status_code == 404
    with stage.client("admin") as client:
        assert len(client.get("/city/places/unit/a").json()["before"]) == 2, "what was is kept"


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("", 401),
        ("viewer", 403),
        ("clerk1", 403),
        ("auditor", 403),
        ("grid2", 422),
        ("grid1", 200),
        ("admin", 200),
    ],
)
def test_who_may(stage: CityStage, who: str, status: int) -> None:
    assert put(stage, who, f"of-{who}").status_code == status


def test_nobody_takes_what_lies_elsewhere(stage: CityStage) -> None:
    assert (
        put(stage, "admin", "far", geometry={"type": "Point", "coordinates": [117.07, 35.02]}).status_code
        == 200
    )
    assert put(stage, "grid1", "far", 0).status_code == 403
    with stage.client("grid1") as client:
        assert client.get("/city/places/unit/far").status_code == 404
        assert client.delete("/city/places/unit/far", headers={"if-match": '"0"'}).status_code == 403
    with stage.client("grid2") as client:
        assert client.get("/city/places/unit/far").json()["feature"]["properties"]["parent"] == GRID2


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"geometry": {"type": "Point", "coordinates": list(OUTSIDE)}}, 422),
        ({"geometry": {"type": "Point", "coordinates": ["a", {}]}}, 422),
        ({"geometry": {"type": "LineString", "coordinates": [[117.01, 35.01], [117.02, 35.02]]}}, 422),
        ({"parent": "370481001001G77"}, 422),
        ({"name": 5}, 422),
        ({"unknown": 5}, 422),
        ({"until_us": 5, "since_us": 6}, 422),
        ({"version": 3}, 400),
    ],
)
def test_what_cannot_be_changes_nothing(stage: CityStage, form: dict[str, Any], status: int) -> None:
    assert put(stage, "admin", "bad", **form).status_code == status
    with stage.client("admin") as client:
        assert client.get("/city/places/unit/bad").status_code == 404
        assert client.get("/city/places/person/bad").status_code == 404


def test_a_change_needs_a_version(stage: CityStage) -> None:
    assert put(stage, "admin", "b", None).status_code == 428
    assert put(stage, "admin", "b", None, version=-1).status_code == 200


def test_of_many_at_once_one_is_first(stage: CityStage) -> None:
    assert put(stage, "admin", "c").status_code == 200
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: put(stage, "admin", "c", 0, name=f"of {n}").status_code, range(6)))
    assert sorted(answers) == [200, *[412] * 5]
