"""Requests that mean harm, over raw sockets where a client library would refuse to send them."""

import socket
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from console.guard import Guard
from tests.console_stage import DESK_TOKEN, LOCKED, OFFICE_TOKEN, Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("hostile")
    with Stage(folder, hosts=("gate.example",)) as stage:
        (folder / "secret.txt").write_text("footage key")
        (stage.objects / "pictures/x.jpg").write_bytes(b"a picture of nobody's alert")
        yield stage


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("locked"), LOCKED) as stage:
        yield stage


def raw(stage: Stage, request: bytes, wait_s: float = 5.0) -> bytes:
    """What the server answers to these very bytes, until it closes or has answered."""
    parts = urlsplit(stage.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=wait_s) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
            if b"\r\n\r\n" in answer:
                break
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def host(stage: Stage) -> str:
    return urlsplit(stage.url).netloc


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/access.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/index.html%00.js",
        "/static/",
        "/api/alerts/../../secret.txt/picture",
        "/api/alerts/..%2f..%2fsecret/picture",
        "/api/alerts/x/picture",
        "/api/alerts/%00/clip",
        "/api/alerts/" + "a" * 5000 + "/picture",
        "/api/alerts/x'%20OR%201=1--",
        "/api/plain/..%2f..",
        "/api/health/..%2f..%2fsecret.txt/before",
        "/api/health/x/..%2f..%2fpictures%2fx.jpg",
        "/api/sensors/..%2f..%2fsecret.txt/readings",
        "/live/gate",
    ],
)
def test_no_path_leads_out(stage: Stage, path: str) -> None:
    answer = raw(stage, f"GET {path} HTTP/1.1\r\nHost: {host(stage)}\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) in (400, 404)
    assert b"footage key" not in answer
    assert b"nobody's alert" not in answer


@given(st.text(min_size=1, max_size=60))
@example("/")
@example("//evil.example/")
@settings(max_examples=15, deadline=None)
def test_no_id_breaks_the_server(stage: Stage, text: str) -> None:
    with stage.client() as client:
        for path in ("/api/alerts/{}", "/api/alerts/{}/picture", "/static/{}"):
            answer = client.get(path.format(quote(text, safe="")))
            assert answer.status_code in (400, 404)
        for query in ("camera", "kind", "limit", "before", "open"):
            assert client.get("/api/alerts", params={query: text}).status_code in (200, 400, 404)


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "gate.example@evil.example",
        "",
        "a b",
        "localhost:99999999",
        "[::1",
        "user@127.0.0.1",
    ],
)
def test_a_foreign_host_name_gets_nothing(stage: Stage, name: str) -> None:
    answer = raw(stage, f"GET /api/site HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) == 400
    assert b"North gate" not in answer


def test_a_missing_or_double_host_gets_nothing(stage: Stage) -> None:
    ours = f"Host: {host(stage)}\r\n"
    assert status(raw(stage, b"GET /api/site HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400
    double = f"GET /api/site HTTP/1.1\r\n{ours}Host: evil.example\r\nConnection: close\r\n\r\n"
    assert status(raw(stage, double.encode())) == 400


@pytest.mark.parametrize(
    "name", ["gate.example", "GATE.example:8080", "localhost:1", "[::1]:8080", "192.168.1.9"]
)
def test_our_own_names_and_addresses_are_answered(stage: Stage, name: str) -> None:
    with stage.client() as client:
        assert client.get("/healthz", headers={"host": name}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[", "https://"]
)
def test_a_foreign_page_changes_nothing(stage: Stage, origin: str) -> None:
    with stage.client(headers={"origin": origin}) as client:
        body = {"what": "picture", "purpose": "curiosity"}
        for answer in (
            client.post("/api/alerts/x/plain", json=body),
            client.post("/api/alerts/x/judgement", json={"verdict": "false"}),
            client.post("/api/session", json={"token": OFFICE_TOKEN}),
            client.delete("/api/session"),
        ):
            assert answer.status_code == 403
            assert answer.json()["parameter"] == "Origin"


def test_a_foreign_page_cannot_even_show_our_pictures(stage: Stage) -> None:
    with stage.client(headers={"sec-fetch-site": "cross-site"}) as client:
        assert client.get("/api/alerts/x/picture").status_code == 403
        assert client.get("/events").status_code == 403
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_a_wrong_method_is_refused_and_the_right_ones_named(stage: Stage, method: str) -> None:
    with stage.client() as client:
        answer = client.request(method, "/api/alerts")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"token": 5}', "application/json", 400),
        (b'{"token": "x", "more": 1}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 4000, "application/json", 400),
        (b" " * 5000, "application/json", 413),
        (b" " * 100_000, "application/json", 413),
        (b"token=x", "application/x-www-form-urlencoded", 415),
        (b'{"token": "x"}', "text/plain", 415),
        (b"{}", "", 415),
    ],
)
def test_a_bad_body_is_refused(stage: Stage, body: bytes, kind: str, expected: int) -> None:
    with stage.client() as client:
        headers = {"content-type": kind} if kind else {}
        answer = client.post("/api/session", content=body, headers=headers)
        assert answer.status_code == expected
        assert client.get("/healthz").status_code == 200


def test_huge_headers_are_cut_off(stage: Stage) -> None:
    head = f"GET / HTTP/1.1\r\nHost: {host(stage)}\r\nX-Big: ".encode()
    assert status(raw(stage, head + b"a" * 200_000 + b"\r\n\r\n")) in (400, 431)
    many = b"".join(b"X-%d: y\r\n" % n for n in range(20_000))
    assert status(raw(stage, head + b"\r\n" + many + b"\r\n")) in (400, 431)


def test_bytes_that_are_not_http_are_refused(stage: Stage) -> None:
    assert (
        status(raw(stage, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n")) == 400
    )


def test_every_answer_carries_the_security_headers(stage: Stage) -> None:
    with stage.client() as client:
        for path in ("/", "/static/app.js", "/api/site", "/api/nothing", "/healthz", "/api/alerts?limit=x"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == ("no-cache" if path in ("/", "/static/app.js") else "no-store")
            assert "server" not in headers


def watch(stage: Stage, camera: str = "gate", **how: object) -> ClientConnection:
    return connect(f"{stage.url.replace('http', 'ws')}/live/{camera}", open_timeout=5, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"additional_headers": {"sec-fetch-site": "cross-site"}}, 403),
        ({"additional_headers": {"authorization": "Bearer wrong"}}, 401),
        ({"camera": "none"}, 404),
        ({"camera": "gate?as=film"}, 400),
        ({"camera": "..%2fgate"}, 403),
    ],
)
def test_the_live_view_refuses_with_a_reason(stage: Stage, how: dict[str, object], expected: int) -> None:
    with pytest.raises(InvalidStatus) as refused, watch(stage, **how):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == expected
    assert stage.app.state.console.live == 0


def test_the_live_view_needs_its_right_and_each_opening_is_noted(locked: Stage) -> None:
    for token, expected in (("", 401), (DESK_TOKEN, 403)):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with pytest.raises(InvalidStatus) as refused, watch(locked, additional_headers=headers):
            pass
        assert refused.value.response.status_code == expected
    with watch(locked, additional_headers={"authorization": f"Bearer {OFFICE_TOKEN}"}) as socket:
        assert socket.recv(timeout=5) == '{"type":"waiting"}'
        assert locked.app.state.console.live == 1
    locked.settled()
    noted = [
        (row.who, row.what, row.object, row.plain, row.allowed) for row in reversed(locked.store.access())
    ]
    assert noted == [
        ("unknown 127.0.0.1", "live", "gate", True, False),
        ("front desk", "live", "gate", True, False),
        ("gate office", "live", "gate", True, True),
    ]


def test_a_watcher_that_floods_is_cut_off_and_leaves_nothing(stage: Stage) -> None:
    console = stage.app.state.console
    with watch(stage) as socket:
        socket.recv(timeout=5)
        socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
    for _ in range(100):
        if console.live == 0:
            break
        stage.clock.sleep(0.05)
    assert console.live == 0


def test_live_views_are_bounded(stage: Stage) -> None:
    stage.app.state.console.live = 64
    try:
        with pytest.raises(InvalidStatus) as refused, watch(stage):
            pass
        assert refused.value.response.status_code == 503
    finally:
        stage.app.state.console.live = 0


@given(st.text(max_size=40), st.integers(0, 99999))
def test_no_name_passes_for_an_address(name: str, port: int) -> None:
    """Only what is an address, localhost or listed is known, whatever is around it."""
    guard = Guard(None, ("gate.example",))  # type: ignore[arg-type]
    known = guard._known(f"{name}.evil.example:{port}")
    assert not known
