"""The three scenarios' story, through the public API alone: an alert of a camera becomes a case, the case
a matter, which goes up two levels, is handled, checked, called back and closed; the company is rated for it,
and all of it is on the map.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from city.features import Feature
from desk.casebook import CaseBook
from desk.triggers import Triggers
from events.events import AlertRaised, Judged, camera_source
from pipeline.casework import TriggerService
from storage.logbus import LogBus
from tests.city_stage import GRID, IN_GRID, SITE, CityStage

ESTATE = "E7"
AROUND = [[117.01, 35.01], [117.03, 35.01], [117.03, 35.03], [117.01, 35.03], [117.01, 35.01]]
SPAN = {"since": "2020-01-01", "until": "2099-12-31"}


@pytest.fixture(params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[CityStage]:
    where = request.getfixturevalue("database") if request.param == "postgis" else None
    with CityStage(tmp_path, where) as stage:
        stage.put(
            Feature(
                id=ESTATE,
                what="estate",
                name="Garden court",
                parent=GRID,
                geometry={"type": "Polygon", "coordinates": [AROUND]},
                properties={"company": "water", "households": 500},
            )
        )
        book = CaseBook(stage.journal, stage.store, SITE)
        triggers = Triggers(book, stage.store, stage.packs, stage.clock, stage.calendar)
        service = TriggerService(LogBus(stage.journal, stage.clock), triggers)
        service.start()
        try:
            yield stage
        finally:
            service.stop()


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def waited(stage: CityStage, ask: Callable[[], Any]) -> Any:
    """What `ask` finds, once it does."""
    for _ in range(500):
        if found := ask():
            return found
        stage.clock.sleep(0.02)
    raise AssertionError("it did not come")


def test_from_an_alert_to_a_rating(stage: CityStage) -> None:
    people = {who: stage.client(who).__enter__() for who in ("operator", "grid1", "clerk1", "town", "city")}
    people |= {who: stage.client(who).__enter__() for who in ("water", "checker", "super", "viewer", "admin")}

    def step(who: str, case: dict[str, Any], **body: Any) -> dict[str, Any]:
        url = f"/city/cases/{case['case']}/steps"
        return dict(ok(people[who].post(url, json=body, headers={"if-match": f'"{case["version"]}"'})))

    # A rule of the camera at the gate finds somebody where nobody should be.
    now = stage.clock.wall_us()
    alert = AlertRaised(
        alert="a1",
        rule="lawn",
        kind="intrusion",
        severity="major",
        label="person",
        since_us=now,
        place=IN_GRID,
    )
    stage.happens(alert, camera_source(SITE, "gate"))

    # It is a case of the operator's inbox by itself, placed in its grid.
    inbox = {"scenario": "video", "open": "true"}
    video = waited(stage, lambda: ok(people["operator"].get("/city/cases", params=inbox))["items"])[0]
    assert (video["state"], video["area"], video["severity"], video["cause"]) == (
        "raised",
        GRID,
        "major",
        "a1",
    )

    # Seen, judged, and turned into a matter.
    video = step("operator", video, action="acknowledge")
    video = step("operator", video, action="judge", marks=["true"], note="fence is broken")
    video = step("operator", video, action="become-matter")
    assert video["final"]
    matter = ok(people["grid1"].get(f"/city/cases/{video['other']}"))
    assert (matter["scenario"], matter["state"], matter["level"], matter["cause"]) == (
        *("matter", "reported", "grid"),
        video["case"],
    )
    # The judgement went back to the rule that found it.
    judged = [r.event for r in stage.journal.read(0, 1000, ("judgement",))]
    assert [(e.source, e.data) for e in judged] == [
        (
            camera_source(SITE, "gate"),
            Judged(alert="a1", rule="lawn", verdict="true", who="operator", note="fence is broken"),
        )
    ]

    # The grid cannot do it, nor can the community: up two levels.
    matter = step("grid1", matter, action="raise", note="needs a welder")
    assert (matter["level"], matter["state"]) == ("community", "accepted")
    matter = step("clerk1", matter, action="raise", note="no budget here")
    assert matter["level"] == "town"
    assert ok(people["clerk1"].get(f"/city/cases/{matter['case']}"))["level"] == "town"  # still seen ...
    below = people["clerk1"].post(
        f"/city/cases/{matter['case']}/steps", json={"action": "comment", "note": "?", "version": 2}
    )
    assert below.status_code == 403  # ... and not moved from below

    # The town dispatches it; who handled it does not check it.
    matter = step("town", matter, action="dispatch", holder="water")
    matter = step("water", matter, action="sign")
    matter = step("water", matter, action="handle", note="fence mended")
    matter = step("checker", matter, action="verify")
    matter = step("super", matter, action="call-back", marks=["solved", "satisfied"])
    matter = step("checker", matter, action="close")
    assert (matter["state"], matter["final"]) == ("closed", True)

    # Every step is signed.
    story = ok(people["viewer"].get(f"/city/cases/{matter['case']}/steps"))["items"]
    assert [(s["action"], s["who"]) for s in story] == [
        ("open", "operator"),
        ("raise", "grid1"),
        ("raise", "clerk1"),
        ("dispatch", "town"),
        ("sign", "water"),
        ("handle", "water"),
        ("verify", "checker"),
        ("call-back", "super"),
        ("close", "checker"),
    ]

    # The company on the estate around it is rated: what followed from the matter, and what a supervisor adds.
    assert matter["estate"] == ESTATE
    praise = {"category": "praise", "points": 3, "note": "at night, in the rain", "cause": matter["case"]}
    ok(people["super"].post(f"/city/ratings/{ESTATE}/entries", json=praise))
    rating = ok(people["viewer"].get(f"/city/ratings/{ESTATE}"))
    assert (rating["company"], rating["colour"]) == ("water", "orange")
    assert rating["score"] == rating["base"] + rating["merit"] - rating["demerit"]
    praised = next(point for point in rating["points"] if point["category"] == "praise")
    assert ok(people["viewer"].get(praised["case"]))["case"] == matter["case"]

    # All of it is on the map: the alert, the case, the matter, the estate.
    box = {"bbox": "117.019,35.019,117.021,35.021", "limit": "100"}
    on_map = "/city/ogc/collections/{}/items"
    layers = [layer["id"] for layer in ok(people["viewer"].get("/city/ogc/collections"))["collections"]]
    shown = {name: ok(people["viewer"].get(on_map.format(name), params=box))["features"] for name in layers}
    cases = {feature["id"]: feature for name in layers for feature in shown[name]}
    assert {video["case"], matter["case"], ESTATE} <= cases.keys()
    assert cases[matter["case"]]["geometry"]["coordinates"] == list(IN_GRID)
    assert cases[matter["case"]]["properties"]["state"] == "closed"
    assert GRID in cases  # the jurisdictions lie under it

    # It counts, and the figure opens it.
    rows = ok(people["viewer"].get("/city/statistics/closure", params=SPAN | {"scenario": "matter"}))["items"]
    assert [
        rows[0][name]["count"] for name in ("opened", "closed", "called_back", "solved", "satisfied")
    ] == [1] * 5
    assert [c["case"] for c in ok(people["viewer"].get(rows[0]["solved"]["cases"]))["items"]] == [
        matter["case"]
    ]

    for client in people.values():
        client.close()
