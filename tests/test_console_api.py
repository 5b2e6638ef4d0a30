"""The API over real HTTP, with a real journal and store behind it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from console.server import ConsoleServer
from events.errors import ConfigError
from events.events import AlertCleared, AlertRaised, Crossing, Event, Health, Interval
from tests.clipmaker import make_clip
from tests.console_stage import DESK_TOKEN, LOCKED, OFFICE_TOKEN, Stage

MINUTE = 60_000_000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For tests that leave nothing behind."""
    with Stage(tmp_path_factory.mktemp("quiet")) as stage:
        yield stage


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path, LOCKED) as stage:
        yield stage


def raised(name: str, kind: Any = "intrusion", since_us: int = 0) -> AlertRaised:
    return AlertRaised(
        alert=name,
        rule="lawn",
        kind=kind,
        severity="major",
        label="person",
        tracks=(1,),
        box=(0.1, 0.1, 0.2, 0.4),
        since_us=since_us,
        detail={"dwell_s": 1.5},
    )


def cleared(name: str, until_us: int) -> AlertCleared:
    return AlertCleared(alert=name, rule="lawn", reason="left", until_us=until_us)


def accesses(stage: Stage) -> list[tuple[str, str, str, bool, str, bool]]:
    stage.settled()
    rows = reversed(stage.store.access(100))
    return [(r.who, r.what, r.object, r.plain, r.purpose, r.allowed) for r in rows]


def problem(answer: httpx.Response, status: int, parameter: str | None = None) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body.get("parameter") == parameter
    return str(body["detail"])


def test_the_site_and_its_rules(stage: Stage) -> None:
    with stage.client() as client:
        body = client.get("/api/site").json()
    assert [c["id"] for c in body["cameras"]] == ["gate", "plaza"]
    door = body["cameras"][0]["rules"][0]
    assert (door["kind"], door["name"], door["points"]) == ("line", "door", [[0.5, 0.95], [0.5, 0.2]])
    assert body["pixelate"] == ["person", "face"], "a face is part of a person"
    plaza = body["cameras"][1]
    assert (plaza["kind"], plaza["place"], len(plaza["view"])) == ("dome", [121.4737, 31.2304], 3)
    assert plaza["presets"] == [
        {"id": "road", "name": "Ring road", "view": None},
        {"id": "steps", "name": "Steps", "view": None},
    ]
    assert [rule["preset"] for rule in plaza["rules"]] == ["road", "steps"]
    assert (body["cameras"][0]["place"], body["cameras"][0]["view"]) == (None, None)
    assert body["sensors"][0] == {
        "id": "manhole-7",
        "name": "Manhole 7",
        "place": None,
        "component": "manhole/7",
        "camera": "plaza",
        "zone": "kerb",
    }
    assert body["viewer"] == {
        "who": "demo viewer",
        "rights": ["alerts", "judge", "live", "plain"],
        "session": False,
    }


def test_alerts_by_state_camera_kind_and_page(stage: Stage) -> None:
    now = stage.clock.wall_us()
    for n in range(7):
        kind = "crowd" if n % 2 else "intrusion"
        camera = "plaza" if n == 6 else "gate"
        stage.happens(raised(f"a{n}", kind, now + n * MINUTE), camera, now + n * MINUTE)
    stage.happens(cleared("a2", now + 3 * MINUTE), "gate", now + 4 * MINUTE)
    stage.settled()
    with stage.client() as client:

        def ids(query: str) -> list[str]:
            return [alert["id"] for alert in client.get(f"/api/alerts{query}").json()["alerts"]]

        assert ids("") == ["a6", "a5", "a4", "a3", "a2", "a1", "a0"]
        assert ids("?open=true") == ["a6", "a5", "a4", "a3", "a1", "a0"]
        assert ids("?open=false") == ["a2"]
        assert ids("?camera=plaza") == ["a6"]
        assert ids("?kind=crowd&limit=2") == ["a5", "a3"]
        assert ids(f"?limit=3&before={now + 4 * MINUTE}") == ["a3", "a2", "a1"]
        one = client.get("/api/alerts/a2").json()
    assert (one["camera"], one["open"], one["reason"], one["until_us"]) == (
        "gate",
        False,
        "left",
        now + 3 * MINUTE,
    )
    assert one["detail"] == {"dwell_s": 1.5}


def test_counts_health_and_the_offset_they_reach(stage: Stage) -> None:
    start = stage.clock.wall_us() // MINUTE * MINUTE
    for n in range(3):
        stage.happens(Crossing(rule="door", direction="in", label="person", track=n, at=(0.5, 0.5)))
    data = Interval(
        rule="door", start_us=start, end_us=start + MINUTE, counts={"in.person": 3}, observed_s=60
    )
    stage.happens(data)
    stage.happens(Health(what="connection", state="raised", message="no answer; check its power"), "plaza")
    stage.settled()
    with stage.client() as client:
        counts = client.get("/api/counts?camera=gate").json()
        assert counts["offset"] == stage.journal.last_offset()
        assert [(t["camera"], t["rule"], t["direction"], t["count"]) for t in counts["totals"]] == [
            ("gate", "door", "in", 3)
        ]
        assert [i["counts"] for i in counts["intervals"]] == [{"in.person": 3}]
        assert client.get(f"/api/counts?from={start + 1}").json()["intervals"] == []
        assert client.get("/api/counts?camera=plaza").json()["totals"] == []
        cameras = client.get("/api/cameras").json()["cameras"]
        assert cameras[0]["health"] == []
        assert cameras[1]["health"][0]["message"] == "no answer; check its power"
        health = client.get("/api/health").json()
        assert [row["what"] for row in health["raised"]] == ["connection"]
        assert health["journal"]["healthy"]
        assert client.get("/healthz").json() == {"status": "ok"}
        metrics = client.get("/metrics").text
    assert 'linli_crossings_total{camera="gate",direction="in",label="person",rule="door"} 3.0' in metrics
    assert 'linli_trouble{source="/demo/camera/plaza",what="connection"} 1.0' in metrics


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/api/alerts?limit=0", "limit"),
        ("/api/alerts?limit=501", "limit"),
        ("/api/alerts?limit=ten", "limit"),
        ("/api/alerts?limit=1_0", "limit"),
        ("/api/alerts?limit=٣", "limit"),
        ("/api/alerts?before=-1", "before"),
        ("/api/alerts?before=99999999999999999999999", "before"),
        ("/api/alerts?open=yes", "open"),
        ("/api/alerts?kind=riot", "kind"),
        ("/api/counts?from=x", "from"),
        ("/api/counts?from=20&to=10", "to"),
        ("/events?after=-2", "after"),
    ],
)
def test_a_bad_parameter_is_named_with_the_mend(quiet: Stage, path: str, parameter: str) -> None:
    with quiet.client() as client:
        assert "must be" in problem(client.get(path), 400, parameter)


@pytest.mark.parametrize(
    "path",
    ["/api/alerts/none", "/api/alerts?camera=none", "/api/counts?camera=x/../gate", "/api/nothing", "/x"],
)
def test_what_is_not_there_is_404(quiet: Stage, path: str) -> None:
    with quiet.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_picture_and_clip_follow_and_come_in_ranges(stage: Stage) -> None:
    stage.happens(raised("a1"))
    stage.settled()
    with stage.client() as client:
        for kind in ("picture", "clip"):
            assert client.get(f"/api/alerts/a1/{kind}?ready=true").json() == {"ready": False}
            answer = client.get(f"/api/alerts/a1/{kind}")
            assert "not" in problem(answer, 404)
            assert answer.headers["retry-after"] == "2"
        (stage.objects / "pictures/a1.jpg").write_bytes(b"\xff\xd8 picture")
        (stage.objects / "clips/a1.mp4").write_bytes(bytes(range(256)) * 10)
        assert client.get("/api/alerts/a1/clip?ready=true").json() == {"ready": True}
        shown = client.get("/api/alerts/a1/picture")
        assert (shown.content, shown.headers["content-type"]) == (b"\xff\xd8 picture", "image/jpeg")
        assert shown.headers["cache-control"] == "no-store"
        part = client.get("/api/alerts/a1/clip", headers={"range": "bytes=256-259"})
        assert (part.status_code, part.content) == (206, bytes(range(4)))
        assert part.headers["content-range"] == "bytes 256-259/2560"
        assert client.get("/api/alerts/a1/clip", headers={"range": "bytes=9999-"}).status_code == 416
    assert accesses(stage) == [
        ("demo viewer", "snapshot", "a1", False, "", True),
        ("demo viewer", "clip", "a1", False, "", True),
    ]


def test_plain_needs_the_right_a_purpose_and_is_for_one_viewer_and_object(
    locked: Stage, tmp_path: Path
) -> None:
    locked.camera_runs("gate", make_clip(tmp_path / "clip.mp4", seconds=6), segment_s=2)
    locked.clock.sleep(4.5)
    now = locked.clock.wall_us()
    locked.happens(raised("a1", since_us=now - 2_500_000), time_us=now - 2_000_000)
    locked.settled()
    ask = {"what": "picture", "purpose": "  report   2026-17 "}
    with locked.client(OFFICE_TOKEN) as office, locked.client(DESK_TOKEN) as desk, locked.client() as nobody:
        problem(desk.post("/api/alerts/a1/plain", json=ask), 403)
        problem(nobody.post("/api/alerts/a1/plain", json=ask), 401)
        problem(office.post("/api/alerts/a1/plain", json=ask | {"purpose": "x"}), 400, "purpose")
        problem(office.post("/api/alerts/a1/plain", json=ask | {"purpose": "a\0b bad"}), 400, "purpose")
        problem(office.post("/api/alerts/a1/plain", json={"what": "all", "purpose": "because"}), 400, "body")
        problem(office.post("/api/alerts/none/plain", json=ask), 404, "id")
        granted = office.post("/api/alerts/a1/plain", json=ask)
        assert granted.status_code == 201
        url = granted.json()["url"]
        problem(desk.get(url), 403)
        problem(office.get("/api/plain/guess"), 404)
        assert office.get(url).content[:2] == b"\xff\xd8"
        clip = office.post("/api/alerts/a1/plain", json={"what": "clip", "purpose": "report"}).json()["url"]
        video = office.get(clip)
        assert (video.headers["content-type"], video.content[4:8]) == ("video/mp4", b"ftyp")
    noted = accesses(locked)
    assert ("gate office", "snapshot", "a1", True, "report 2026-17", True) in noted
    assert ("gate office", "clip", "a1", True, "report", True) in noted
    assert ("front desk", "footage", "a1", True, "", False) in noted
    assert sum(allowed for *_, allowed in noted) == 2


GUARDED = {
    "/api/site": "page",
    "/api/cameras": "page",
    "/api/alerts": "page",
    "/api/alerts/a1": "page",
    "/api/alerts/a1/picture": "snapshot",
    "/api/alerts/a1/clip": "clip",
    "/api/counts": "page",
    "/api/health": "page",
    "/metrics": "metrics",
    "/events": "page",
    "/api/plain/x": "footage",
    "/api/sensors": "page",
    "/api/sensors/pump/readings": "page",
    "/api/health/x/before": "health",
}


def test_a_stranger_sees_nothing_and_is_noted(locked: Stage) -> None:
    locked.happens(raised("a1"))
    locked.settled()
    with locked.client() as client:
        for path in GUARDED:
            answer = client.get(path)
            assert "sign in" in problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    noted = accesses(locked)
    assert {(who, allowed) for who, *_, allowed in noted} == {("unknown 127.0.0.1", False)}
    assert sorted(what for _, what, *_ in noted) == sorted(set(GUARDED.values()))


def test_signing_in_and_out_by_cookie(locked: Stage) -> None:
    with locked.client() as client:
        assert client.get("/api/session").json() == {"who": None}
        problem(client.post("/api/session", json={"token": "a-wrong-token-of-length"}), 401, "token")
        answer = client.post("/api/session", json={"token": DESK_TOKEN})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert DESK_TOKEN not in cookie
        assert client.get("/api/site").json()["viewer"] == {
            "who": "front desk",
            "rights": ["alerts"],
            "session": True,
        }
        assert client.delete("/api/session").status_code == 204
        assert client.get("/api/site").status_code == 401
    with locked.client(headers={"cookie": cookie.split(";")[0]}) as stolen:
        assert stolen.get("/api/site").status_code == 401


def pushed(answer: httpx.Response, count: int) -> list[tuple[int, str, dict[str, Any]]]:
    """The first events of a stream, without comments and `hello`."""
    found = []
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if fields.get("event") not in (None, "hello"):
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
        fields = {}
        if len(found) == count:
            break
    return found


def crossing(track: int) -> Crossing:
    return Crossing(rule="door", direction="in", label="person", track=track, at=(0.5, 0.5))


def test_events_are_pushed_at_once_and_a_lost_connection_goes_on(stage: Stage) -> None:
    stage.happens(crossing(1))
    stage.settled()
    with stage.client() as client:
        with client.stream("GET", "/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            threading.Timer(0.3, stage.happens, (crossing(2),)).start()
            before = stage.clock.monotonic()
            ((offset, family, event),) = pushed(answer, 1)
            assert stage.clock.monotonic() - before < 2
        assert (family, event["type"], event["data"]["track"]) == ("count", "linli.count.crossing.v1", 2)
        stage.happens(raised("a1"))
        with client.stream("GET", "/events", headers={"last-event-id": str(offset)}) as answer:
            ((next_offset, family, _),) = pushed(answer, 1)
        assert next_offset > offset
        assert family == "alert"
        with client.stream("GET", "/events?after=0") as answer:
            assert [e["type"] for _, _, e in pushed(answer, 3)] == [
                "linli.count.crossing.v1",
                "linli.count.crossing.v1",
                "linli.alert.raised.v1",
            ]


def test_who_looked_is_not_pushed_to_every_viewer(stage: Stage) -> None:
    stage.journal.note("/demo/box/console", msgspec.convert(
        {"type": "linli.access.viewed.v1", "who": "x", "what": "clip", "object": "a", "plain": True,
         "purpose": "secret case", "allowed": True}, Event.__annotations__["data"]), 1)  # fmt: skip
    stage.happens(crossing(1))
    with stage.client() as client, client.stream("GET", "/events?after=0") as answer:
        assert [family for _, family, _ in pushed(answer, 1)] == ["count"]


def test_an_offset_of_a_journal_that_is_no_more_starts_from_now(stage: Stage) -> None:
    with stage.client() as client, client.stream("GET", "/events?after=999999") as answer:
        threading.Timer(0.3, stage.happens, (crossing(5),)).start()
        assert pushed(answer, 1)[0][2]["data"]["track"] == 5


def test_event_streams_are_bounded_and_given_back(stage: Stage) -> None:
    console = stage.app.state.console
    with stage.client() as client:
        with client.stream("GET", "/events"):
            assert console.pushes == 1
        for _ in range(100):
            if console.pushes == 0:
                break
            stage.clock.sleep(0.05)
        assert console.pushes == 0
        console.pushes = 64
        assert "close some" in problem(client.get("/events"), 503)
        console.pushes = 0


def test_a_store_that_cannot_be_read_is_said_and_survived(stage: Stage) -> None:
    stage.project_no_more()
    stage.store.close()
    with stage.client() as client:
        assert client.get("/healthz").status_code == 503
        answer = client.get("/api/alerts")
        assert answer.status_code in (500, 503)
        assert client.get("/").status_code == 200


def test_a_port_in_use_is_said_with_the_mend(quiet: Stage) -> None:
    port = int(quiet.url.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*another `port`"):
        ConsoleServer(quiet.app, port=port).start()


def test_the_server_stops_though_somebody_watches(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage, stage.client() as client, client.stream("GET", "/events") as answer:
        assert answer.status_code == 200
        before = stage.clock.monotonic()
        stage.server.stop()
        assert stage.clock.monotonic() - before < 5
        with pytest.raises(httpx.ConnectError):
            httpx.get(stage.url)
