"""Readings over HTTP: CloudEvents in each mode, SenML, JSON; who may; what is answered, and when."""

import asyncio
import hashlib
import json
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.clock import ManualClock
from ingest import intake as intake_module
from ingest import intakeserver
from ingest.intake import Intake, Sender
from ingest.intakeserver import IntakeServer
from ingest.sensorfile import Field
from testbed.mosquitto import make_certificates
from tests.sensorworks import Works, sensor

TOKEN = "0123456789abcdef"
GATEWAY = "fedcba9876543210"
NOON = "2026-11-23T12:00:00Z"
NOON_US = 1_795_435_200_000_000
PLAIN = {"topic": "", "time_path": "", "time_unit": ""}
PACKS = PLAIN | {"payload": "senml", "fields": {"level": Field(unit="m", high=9)}}
SENSORS = [
    sensor("m1", topic="", source="urn:m1"),
    sensor("m2", source="urn:m2:", **PACKS),
    sensor("m3", source="urn:m3:", **PACKS),
    sensor("m4", **PLAIN | {"payload": "number", "fields": {"open": Field()}}),
]


class Served(Works):
    """A hub with the intake in front of it."""

    def __init__(self, folder: Path, loopback: bool = False, **tls: Any) -> None:
        super().__init__(folder, None, SENSORS, ManualClock(NOON_US + 300_000_000))
        digest = [hashlib.sha256(token.encode()).digest() for token in (TOKEN, GATEWAY)]
        intake = Intake(
            senders=[Sender("all", digest[0], None), Sender("one", digest[1], frozenset({"m2"}))],
            loopback=loopback,
            deliver=self.hub.offer,
            waiting=self.hub.waiting,
            clock=self.clock,
            max_bytes=20_000,
        )
        self.server = IntakeServer(intake.app, "127.0.0.1", 0, **tls)

    def __enter__(self) -> "Served":
        super().__enter__()
        self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()
        super().__exit__(*error)

    def post(
        self, path: str, body: Any, kind: str = "application/json", token: str | None = TOKEN, **headers: str
    ) -> httpx.Response:
        self.clock.sleep(0.01)
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = {"content-type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx.post(self.server.url + path, content=content, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("intake")) as served:
        yield served


def newest(served: Works) -> tuple[str, str, float, str]:
    event = served.events()[-1]
    return event.key, event.data.quantity, event.data.value, event.data.unit  # type: ignore[union-attr]


def event(**changes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "urn:m1", "type": "reading"} | changes


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


# -- what is taken


def test_json_of_a_named_sensor(served: Served) -> None:
    answer = served.post("/readings/m1", {"level": 1.5, "t": NOON_US - 60_000_000})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "refused": []}
    assert newest(served) == ("m1", "level", 1.5, "m")


def test_a_number_of_a_named_sensor(served: Served) -> None:
    assert served.post("/readings/m4", "1", "text/plain").status_code == 200
    assert newest(served) == ("m4", "open", 1.0, "")


def test_a_senml_pack_of_several_sensors(served: Served) -> None:
    before = len(served.events())
    pack = [
        {"bn": "urn:m2:", "n": "level", "u": "cm", "v": 150},
        {"bn": "urn:m3:", "n": "level", "u": "m", "v": 2.5},
    ]
    answer = served.post("/readings", pack, "application/senml+json")
    assert answer.json() == {"accepted": 2, "refused": []}
    found = [(e.key, e.data.value) for e in served.events()[before:]]  # type: ignore[union-attr]
    assert found == [("m2", 1.5), ("m3", 2.5)]


def test_structured_mode(served: Served) -> None:
    body = event(time=NOON, data={"level": 3})
    assert served.post("/readings", body, "application/cloudevents+json; charset=utf-8").status_code == 200
    assert newest(served) == ("m1", "level", 3.0, "m")
    assert served.events()[-1].time_us == NOON_US
    coded = event(id="2", time="2026-11-23T12:00:01Z", data_base64="eyJsZXZlbCI6IDR9")
    assert served.post("/readings", coded, "application/cloudevents+json").status_code == 200
    assert newest(served)[2] == 4.0


def test_binary_mode(served: Served) -> None:
    attributes = {"ce_specversion": "1.0", "ce_id": "3", "ce_source": "urn%3Am1", "ce_type": "reading"}
    answer = served.post("/readings", {"level": 5}, **attributes, ce_time="2026-11-23T12:00:02Z")
    assert answer.status_code == 200
    assert newest(served)[2] == 5.0
    assert served.events()[-1].time_us == NOON_US + 2_000_000
    pack = [{"bn": "urn:m2:", "n": "level", "v": 6}]
    attributes["ce_source"] = "urn:gateway"
    answer = served.post("/readings", pack, "application/senml+json", **attributes)
    assert answer.json()["accepted"] == 1
    assert newest(served) == ("m2", "level", 6.0, "m")


def test_a_batch(served: Served) -> None:
    body = [event(id=str(n), time=f"2026-11-23T12:01:0{n}Z", data={"level": n}) for n in range(5)]
    answer = served.post("/readings", body, "application/cloudevents-batch+json")
    assert answer.json() == {"accepted": 5, "refused": []}
    assert served.levels()[-5:] == [0, 1, 2, 3, 4]
    problem = refused(served.post("/readings", [], "application/cloudevents-batch+json"), 400)
    assert problem["detail"] == "the batch is empty"
    assert served.post("/readings/m2", [], "application/senml+json").status_code == 400


def test_a_second_try_is_the_same_reading(served: Served) -> None:
    """Also without a time: the CloudEvent's id and source say that it is the same."""
    before = len(served.events())
    for _ in range(3):
        assert served.post("/readings", event(id="again", data={"level": 7}), "application/cloudevents+json")
    assert len(served.events()) == before + 1
    served.post("/readings", event(id="another", data={"level": 7}), "application/cloudevents+json")
    assert len(served.events()) == before + 2


def test_the_answer_comes_after_the_commit(served: Served) -> None:
    for n in range(5):
        served.post("/readings/m1", {"level": n, "t": NOON_US + 120_000_000 + n})
        assert served.levels()[-1] == n


# -- what is refused


def test_part_of_a_pack_is_refused_and_named(served: Served) -> None:
    pack = [
        {"bn": "urn:m2:", "bt": NOON_US / 1e6 + 100, "n": "level", "v": 1},
        {"bn": "urn:m3:", "n": "level", "v": 99},
    ]
    answer = served.post("/readings", pack, "application/senml+json")
    assert answer.status_code == 200
    (one,) = answer.json()["refused"]
    assert (answer.json()["accepted"], one["sensor"], one["field"], one["why"]) == (1, "m3", "level", "range")


@pytest.mark.parametrize(
    ("path", "body", "kind", "why", "field"),
    [
        ("/readings/m1", "{", "application/json", "payload", ""),
        ("/readings/m1", '{"level":"high"}', "application/json", "value", "level"),
        ("/readings/m1", '{"level":1,"t":"noon"}', "application/json", "time", ""),
        ("/readings/m1", '{"level":1,"t":1}', "application/json", "old", "level"),
        ("/readings/m1", '{"level":1,"t":9999999999999999}', "application/json", "future", "level"),
        ("/readings/nobody", '{"level":1}', "application/json", "unknown", ""),
        ("/readings", '[{"n":"urn:m2:level","v":true}]', "application/senml+json", "payload", "/0/v"),
        ("/readings", '[{"n":"urn:m2:level","u":"Cel","v":1}]', "application/senml+json", "unit", "level"),
        ("/readings", '[{"n":"urn:m9:level","v":1}]', "application/senml+json", "unknown", ""),
        ("/readings", "{", "application/cloudevents+json", "payload", ""),
        ("/readings", "{}", "application/cloudevents+json", "payload", "/specversion"),
        ("/readings", '{"specversion":"1.0","id":"1"}', "application/cloudevents+json", "payload", "/source"),
        ("/readings", '[{"id":"1"}]', "application/cloudevents-batch+json", "payload", "/0/specversion"),
        (
            "/readings",
            '{"specversion":"1.0","id":"1","source":"urn:m1","type":"t","time":"noon","data":{"level":1}}',
            "application/cloudevents+json",
            "payload",
            "/time",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    served: Served, path: str, body: str, kind: str, why: str, field: str
) -> None:
    before = len(served.events())
    problem = refused(served.post(path, body, kind), 400)
    assert [(error["why"], error["field"]) for error in problem["errors"]] == [(why, field)]
    assert len(served.events()) == before


def test_paths_methods_types_and_sizes(served: Served) -> None:
    refused(served.post("/readings", "{}"), 400)  # of which sensor?
    refused(served.post("/readings/m1", "{}", "application/xml"), 415)
    refused(served.post("/elsewhere", "{}"), 404)
    refused(served.post("/readings/", "{}"), 404)
    refused(httpx.get(served.server.url + "/readings/m1"), 405)
    refused(served.post("/readings/m1", b"x" * 20_001), 413)

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000

    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    refused(httpx.post(served.server.url + "/readings/m1", content=endless(), headers=headers), 413)


# -- who may


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x", TOKEN[:-1]])
def test_without_a_known_token_nobody_is_let_in(served: Served, token: str | None) -> None:
    before = len(served.events())
    answer = served.post("/readings/m1", {"level": 1}, token=token)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in json.dumps(refused(answer, 401))
    basic = {"authorization": f"Basic {TOKEN}", "content-type": "application/json"}
    refused(httpx.post(served.server.url + "/readings/m1", content="{}", headers=basic), 401)
    assert len(served.events()) == before


def test_a_gateway_speaks_for_its_own_sensors(served: Served) -> None:
    refused(served.post("/readings/m1", {"level": 1}, token=GATEWAY), 403)
    pack = [{"bn": "urn:m2:", "n": "level", "v": 1.25}, {"bn": "urn:m3:", "n": "level", "v": 1}]
    answer = served.post("/readings", pack, "application/senml+json", token=GATEWAY)
    assert answer.json()["accepted"] == 1
    assert [(r["sensor"], r["why"]) for r in answer.json()["refused"]] == [("m3", "forbidden")]
    assert newest(served) == ("m2", "level", 1.25, "m")


def test_loopback_needs_no_token_only_where_it_is_said(tmp_path: Path) -> None:
    with Served(tmp_path, loopback=True) as served:
        assert served.post("/readings/m4", "1", "text/plain", token=None).status_code == 200
        for header, value in (
            ("x_forwarded_for", "10.0.0.1"),
            ("origin", "http://evil.example"),
            ("host", "evil.example:80"),
        ):
            refused(served.post("/readings/m4", "1", "text/plain", token=None, **{header: value}), 401)
        refused(served.post("/readings/m4", "1", "text/plain", token="wrong"), 401)


def test_tls(tmp_path: Path) -> None:
    try:
        make_certificates(tmp_path)
    except FileNotFoundError:
        pytest.skip("openssl is absent")
    except subprocess.CalledProcessError as error:
        raise AssertionError(error.stderr) from None
    tls = {"certificate": tmp_path / "server.pem", "key": tmp_path / "server.key"}
    with Served(tmp_path, **tls) as served:
        url = served.server.url.replace("127.0.0.1", "localhost") + "/readings/m4"
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "text/plain"}
        trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        assert httpx.post(url, content="1", headers=headers, verify=trusted).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.post(url, content="1", headers=headers)


# -- when the journal cannot be written


def test_a_journal_that_cannot_be_written_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "ANSWER_S", 0.5)
    with Served(tmp_path) as served:
        go_on = threading.Event()
        served.journal._writer.post(lambda _: go_on.wait(20))
        answer = served.post("/readings/m4", "1", "text/plain")
        refused(answer, 503)
        assert answer.headers["retry-after"]
        monkeypatch.setattr(intake_module, "CROWDED", -1)
        refused(served.post("/readings/m4", "1", "text/plain"), 503)
        go_on.set()


def test_what_is_settled_after_the_server_has_stopped_harms_nobody() -> None:
    """The journal's thread would die of an error, and with it all that it has still to write."""

    async def begun() -> intake_module._Waiting:
        return intake_module._Waiting(lambda _: None)

    asyncio.run(begun()).settled([])


# -- strangers who say nothing


def connect(served: Served, sent: bytes = b"") -> socket.socket:
    host, _, port = served.server.url.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.sendall(sent)
    return connection


def closed(connection: socket.socket, within_s: float = 10) -> bytes:
    """What came before the other side closed it; fails if it stays open."""
    connection.settimeout(within_s)
    parts = []
    try:
        while part := connection.recv(4096):
            parts.append(part)
    except ConnectionResetError:
        pass
    connection.close()
    return b"".join(parts)


HEAD = (
    f"POST /readings/m4 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: text/plain\r\n"
)
WHOLE = f"{HEAD}content-length: 1\r\n\r\n1".encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /readings HTTP/1.1\r\nhost: ",
        f"{HEAD}content-length: 9\r\n\r\n1".encode(),
        WHOLE + b"POST ",
    ],
    ids=["nothing", "half a head", "half a body", "half a head after a request"],
)
def test_a_connection_without_a_whole_request_is_closed(
    sent: bytes, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intakeserver, "REQUEST_S", 0.5)
    connection = connect(served, sent)
    if sent.startswith(WHOLE):
        connection.settimeout(10)
        assert b"200 OK" in connection.recv(4096)
        connection.sendall(b"/")
    for _ in range(3):  # who says a little now and then gains no time
        time.sleep(0.2)
        try:
            connection.sendall(b"x" if sent else b"")
        except OSError:
            break
    closed(connection, 5)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_whole_request_may_wait_for_its_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakeserver, "REQUEST_S", 0.5)
    real, held = served.journal.record, threading.Event()

    def slow(*args: Any, **more: Any) -> None:
        held.wait(5)
        real(*args, **more)

    monkeypatch.setattr(served.journal, "record", slow)
    threading.Timer(1.5, held.set).start()
    connection = connect(served, WHOLE.replace(b"host: a", b"host: a\r\nconnection: close"))
    assert b"200 OK" in closed(connection)


@pytest.mark.parametrize(("path", "status"), [("/readings/m4", b"401"), ("/", b"404")])
def test_who_is_not_known_is_not_kept(path: str, status: bytes, served: Served) -> None:
    request = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1"
    assert status in closed(connect(served, request.encode()), 5)


def test_another_machine_may_have_so_many_connections(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakeserver, "PER_ADDRESS", 3)
    kept = [connect(served) for _ in range(5)]
    assert served.post("/readings/m4", "1", "text/plain").status_code == 200, "this machine may have more"
    monkeypatch.setattr(intakeserver, "is_loopback", lambda _: False)
    closed(connect(served), 2)
    for connection in kept:
        connection.close()
    time.sleep(0.2)
    assert served.post("/readings/m4", "1", "text/plain").status_code == 200


def test_so_many_bytes_wait_at_most(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of the requests before, what they held is given back."""
    monkeypatch.setattr(intake_module, "CROWDED_BYTES", 15_000)
    monkeypatch.setattr(intake_module, "ANSWER_S", 0.2)
    for body, status in ((b" " * 14_000 + b"1", 200), (b"?" * 14_000, 400), (b"1" * 25_000, 413)) * 2:
        assert served.post("/readings/m4", body, "text/plain").status_code == status
    real, held = served.journal.record, threading.Event()

    def slow(*args: Any, **more: Any) -> None:
        held.wait(10)
        real(*args, **more)

    monkeypatch.setattr(served.journal, "record", slow)
    first = refused(served.post("/readings/m4", b" " * 9_000 + b"1", "text/plain"), 503)
    assert "journal" in first["detail"], "it is taken, and waits"
    second = served.post("/readings/m4", b" " * 9_000 + b"1", "text/plain")
    assert refused(second, 503)["detail"].startswith("too many readings wait")
    assert second.headers["retry-after"]
    held.set()
    monkeypatch.setattr(intake_module, "ANSWER_S", 10)
    monkeypatch.setattr(served.journal, "record", real)
    time.sleep(0.5)
    assert served.post("/readings/m4", b" " * 9_000 + b"1", "text/plain").status_code == 200


def test_an_answer_shows_so_many_refusals_at_most(served: Served) -> None:
    pack = [{"bn": "urn:m2:", "n": "level", "u": "kg", "v": 1}] + [{"n": "level", "u": "kg", "v": 1}] * 249
    problem = refused(served.post("/readings/m2", pack, "application/senml+json"), 400)
    assert len(problem["errors"]) == 100
    assert problem["detail"].endswith("(and 150 more)")
    pack.append({"n": "level", "u": "m", "v": 1})
    answer = served.post("/readings/m2", pack, "application/senml+json").json()
    assert (answer["accepted"], len(answer["refused"]), answer["more_refused"]) == (1, 100, 150)
