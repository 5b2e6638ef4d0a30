"""What operators say of alerts, what alerts and faults show besides, over real HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.events import AlertRaised, Event, Health, Judged, ViewChanged, sensor_source
from tests.console_stage import DESK_TOKEN, LOCKED, OFFICE_TOKEN, Stage
from tests.test_console_api import accesses, problem, pushed, raised


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("locked"), LOCKED) as stage:
        yield stage


def judgements(stage: Stage) -> list[Event]:
    stage.settled()
    return [r.event for r in stage.store.events() if isinstance(r.event.data, Judged)]


def test_a_judgement_is_an_event_of_the_alerts_own_source(stage: Stage) -> None:
    stage.happens(raised("a1"), "plaza")
    stage.settled()
    with stage.client() as client:
        assert client.get("/api/alerts/a1").json()["verdict"] is None
        answer = client.post("/api/alerts/a1/judgement", json={"verdict": "false", "note": " a  branch "})
        assert (answer.status_code, answer.json()["judged_by"]) == (201, "demo viewer")
        client.post("/api/alerts/a1/judgement", json={"verdict": "ignore"})
        (first, second) = judgements(stage)
        assert first.source == second.source == "/demo/camera/plaza"
        assert first.data == Judged(
            alert="a1", rule="lawn", verdict="false", who="demo viewer", note="a branch"
        )
        assert (first.epoch, first.sequence, second.sequence) == (stage.journal.epoch, 0, 1)
        one = client.get("/api/alerts/a1").json()
        assert (one["verdict"], one["judged_by"], one["judged_note"]) == ("ignore", "demo viewer", "")
        assert one["judged_us"] == second.time_us
        assert 'linli_judgements{verdict="ignore"} 1.0' in client.get("/metrics").text
        with client.stream("GET", "/events?after=0") as stream:
            assert [family for _, family, _ in pushed(stream, 3)] == ["alert", "judgement", "judgement"]


def test_a_judgement_needs_its_right_and_the_refusal_is_noted_as_nothing_plain(locked: Stage) -> None:
    locked.happens(raised("a1"))
    locked.settled()
    said = {"verdict": "true"}
    with locked.client(OFFICE_TOKEN) as office, locked.client(DESK_TOKEN) as desk, locked.client() as nobody:
        assert "judge" in problem(desk.post("/api/alerts/a1/judgement", json=said), 403)
        problem(nobody.post("/api/alerts/a1/judgement", json=said), 401)
        assert office.post("/api/alerts/a1/judgement", json=said).status_code == 201
    assert [e.data.who for e in judgements(locked)] == ["gate office"]  # type: ignore[union-attr]
    assert ("front desk", "judgement", "a1", False, "", False) in accesses(locked)


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"verdict": "maybe"}, 400, "body"),
        ({}, 400, "body"),
        ([], 400, "body"),
        ({"verdict": "true", "who": "somebody else"}, 400, "body"),
        ({"verdict": "true", "note": "x" * 201}, 400, "note"),
        ({"verdict": "true", "note": "a\u202eb"}, 400, "note"),
        ({"verdict": "true", "note": "x" * 5000}, 413, None),
    ],
)
def test_what_is_no_judgement_is_refused_with_the_mend(
    locked: Stage, body: Any, status: int, parameter: str | None
) -> None:
    locked.happens(raised("bad1"))
    locked.settled()
    with locked.client(OFFICE_TOKEN) as office:
        problem(office.post("/api/alerts/bad1/judgement", json=body), status, parameter)
        row = office.get("/api/alerts/bad1").json()
    assert row["verdict"] is None


def test_no_judgement_by_a_form_another_page_or_of_nothing(locked: Stage) -> None:
    with locked.client(OFFICE_TOKEN) as office:
        form = office.post("/api/alerts/a1/judgement", data={"verdict": "true"})
        assert form.status_code == 415
        elsewhere = {"origin": "https://elsewhere.example"}
        answer = office.post("/api/alerts/a1/judgement", json={"verdict": "true"}, headers=elsewhere)
        problem(answer, 403, "Origin")
        for id in ("none", "%2e%2e", "x'--", "a" * 300):
            problem(office.post(f"/api/alerts/{id}/judgement", json={"verdict": "true"}), 404, "id")
        assert office.post("/api/alerts/..%2fa1/judgement", json={"verdict": "true"}).status_code == 404
        assert office.get("/api/alerts/a1/judgement").status_code == 405


def test_a_joint_alert_names_what_it_is_made_of(stage: Stage) -> None:
    joint = AlertRaised(
        alert="j1",
        rule="open-and-occupied",
        kind="joint",
        severity="critical",
        label="",
        since_us=5,
        place=(121.4737, 31.2304),
        causes=("a1", "s1"),
        detail={"why": "a manhole is open and a person is on the roadway"},
    )
    of_sensor = AlertRaised(
        alert="s1", rule="lid", kind="threshold", severity="major", label="open", since_us=5
    )
    stage.happens(joint, source="/demo/joint/open-and-occupied")
    stage.happens(of_sensor, source=sensor_source("demo", "manhole-7"))
    stage.settled()
    with stage.client() as client:
        one = client.get("/api/alerts/j1").json()
        assert (one["camera"], one["sensor"], one["box"], one["causes"]) == ("", "", None, ["a1", "s1"])
        assert (one["place"], one["preset"]) == ([121.4737, 31.2304], "")
        assert client.get("/api/alerts/s1").json()["sensor"] == "manhole-7"
        assert [a["id"] for a in client.get("/api/alerts?kind=joint").json()["alerts"]] == ["j1"]


def test_where_a_dome_looks(stage: Stage) -> None:
    with stage.client() as client:
        assert [c["looking"] for c in client.get("/api/cameras").json()["cameras"]] == [None, None]
        moved = stage.happens(ViewChanged(state="moving", was="road"), "plaza")
        there = stage.happens(ViewChanged(state="settled", preset="steps", score=0.93), "plaza")
        stage.settled()
        looking = client.get("/api/cameras").json()["cameras"][1]["looking"]
        assert (looking["state"], looking["preset"], looking["time_us"]) == (
            "settled",
            "steps",
            there.time_us,
        )
        with client.stream("GET", "/events?after=0") as stream:
            assert [e["id"] for _, _, e in pushed(stream, 2)] == [moved.id, there.id]


def test_a_fault_shows_the_picture_before_and_after_and_each_look_is_noted(stage: Stage) -> None:
    fault = stage.happens(Health(what="covered", state="raised", message="covered; clean it", since_us=7))
    stage.settled()
    path = f"/api/health/{fault.id}"
    with stage.client() as client:
        (row,) = client.get("/api/health").json()["raised"]
        assert (row["event"], row["since_us"], row["pictures"]) == (fault.id, 7, [])
        problem(client.get(f"{path}/before"), 404)
        assert client.get(f"{path}/before?ready=true").json() == {"ready": False}
        (stage.objects / f"health/{fault.id}-before.jpg").write_bytes(b"\xff\xd8 before")
        (stage.objects / f"health/{fault.id}-after.jpg").write_bytes(b"\xff\xd8 after")
        assert client.get("/api/health").json()["raised"][0]["pictures"] == ["before", "after"]
        assert client.get(f"{path}/before").content == b"\xff\xd8 before"
        stage.happens(Health(what="covered", state="cleared", message="seen again"))
        stage.settled()
        assert client.get(f"{path}/after").content == b"\xff\xd8 after", "also once it is mended"
        (mended,) = client.get("/api/cameras").json()["cameras"][0]["health"]
        assert (mended["state"], mended["pictures"]) == ("cleared", ["before", "after"])
    assert accesses(stage) == [("demo viewer", "health", fault.id, False, "", True)]


@pytest.mark.parametrize(
    "rest", ["none/before", "..%2fpictures%2fa1/before", "{}/during", "{}/..%2fa", "x/%00"]
)
def test_no_other_picture_is_reached_through_a_fault(locked: Stage, rest: str) -> None:
    fault = locked.happens(Health(what="black", state="raised", message="black; look at it"))
    locked.settled()
    (locked.objects / "health/none-before.jpg").write_bytes(b"of a fault that is not known any more")
    with locked.client(OFFICE_TOKEN) as office, locked.client() as nobody:
        assert office.get(f"/api/health/{rest.format(fault.id)}").status_code == 404
        assert nobody.get(f"/api/health/{fault.id}/before").status_code == 401
