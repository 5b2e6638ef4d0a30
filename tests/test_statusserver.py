"""Figures and health: the small server, the page's own paths, and who may ask."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from console.access import Grant, PrivacySettings
from console.statusserver import Check, StatusServer
from events.clock import SystemClock
from events.errors import ConfigError, StorageError
from events.events import Crossing
from pipeline.figures import RunFigures
from pipeline.projecting import ProjectorFigures
from storage.journal import Journal
from tests.console_stage import DESK_TOKEN, OFFICE_TOKEN, Stage
from tests.statuses import CLUSTER, RELAY, SENSORS, SHIPPING, WORKER, write_statuses


def families(text: str) -> dict[str, Any]:
    """Metric family by name."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float:
    """The one sample of that name and those labels."""
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", SystemClock())
    yield made
    made.close()


def test_health_names_what_is_wrong() -> None:
    well: dict[str, str] = {}

    def store() -> str:
        if "store" in well:
            raise StorageError(well["store"])
        return ""

    checks = [Check("store", store), Check("projector", lambda: well.get("projector", ""), alive=True)]
    server = StatusServer("127.0.0.1", 0, [], checks)
    server.start()
    try:
        with httpx.Client(base_url=server.url) as client:
            ready = client.get("/readyz")
            assert ready.status_code == 200
            assert ready.json() == {"status": "ok", "checks": {"store": "ok", "projector": "ok"}}
            well["store"] = "postgresql://linli:s3cret@db/linli does not answer; start it"
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["status"] == "failing"
            assert "does not answer; start it" in ready.json()["checks"]["store"]
            assert "s3cret" not in ready.text
            assert client.get("/healthz").status_code == 200  # a store that is away does not restart us
            well["projector"] = "a thread has ended"
            health = client.get("/healthz")
            assert health.status_code == 503
            assert health.json()["checks"] == {"projector": "a thread has ended"}
            assert client.get("/events").status_code == 404
            assert client.post("/metrics").status_code == 405
            assert client.get("/metrics", headers={"host": "evil.example"}).status_code == 400
    finally:
        server.stop()
        server.stop()


def test_a_check_that_hangs_is_not_waited_for() -> None:
    """It counts as failed, is asked once, and holds up neither the others nor the end."""
    free = threading.Event()
    asked = []

    def hangs() -> str:
        asked.append(1)
        free.wait(30)
        return ""

    checks = [Check("brokers", hangs), Check("store", lambda: "")]
    server = StatusServer("127.0.0.1", 0, [], checks, patience_s=0.1)
    server.start()
    try:
        for _ in range(3):
            answer = httpx.get(server.url + "/readyz").json()
            assert answer["checks"] == {"brokers": "no answer within 0.1 s", "store": "ok"}
        assert asked == [1]
        free.set()
        while httpx.get(server.url + "/readyz").status_code != 200:
            pass
    finally:
        free.set()
        server.stop()


def test_a_port_that_is_taken_is_told() -> None:
    first = StatusServer("127.0.0.1", 0, [], [])
    first.start()
    try:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match=r"figures cannot be served on 127\.0\.0\.1.*\[serve\]"):
            StatusServer("127.0.0.1", port, [], []).start()
    finally:
        first.stop()


def test_what_the_processes_wrote_is_shown(tmp_path: Path, journal: Journal) -> None:
    write_statuses(tmp_path)
    server = StatusServer("127.0.0.1", 0, [RunFigures(tmp_path, journal, SystemClock())], [])
    server.start()
    try:
        journal.add_consumer("projector")
        text = httpx.get(server.url + "/metrics").text
    finally:
        server.stop()
    assert value(text, "linli_relay_lag_events") == RELAY.lag_events
    assert value(text, "linli_relay_lag_seconds") == RELAY.lag_s
    assert value(text, "linli_relay_acknowledged_events_total") == RELAY.acknowledged
    assert value(text, "linli_spool_waiting_bytes") == SHIPPING.waiting_bytes
    assert value(text, "linli_spool_oldest_seconds") == SHIPPING.oldest_s
    assert value(text, "linli_cluster_shares_held") == len(CLUSTER.shares)
    assert value(text, "linli_camera_inferred_frames_total", camera="gate") == WORKER.cameras[0].inferred
    assert value(text, "linli_camera_connected", camera="plaza") == 0
    assert value(text, "linli_worker_cpu_seconds_total", worker="worker-0") == WORKER.cpu_ms / 1000
    assert value(text, "linli_worker_stage_seconds_total", stage="infer") == WORKER.stage_ms["infer"] / 1000
    assert value(text, "linli_sensor_refused_total", reason="clock") == SENSORS.refused["clock"]
    assert value(text, "linli_status_age_seconds", part="relay") < 60
    assert value(text, "linli_journal_lag_events", consumer="projector") == 0


def test_names_are_prometheus_ones(tmp_path: Path, journal: Journal) -> None:
    """Base units, help and no name twice."""
    write_statuses(tmp_path)
    figures = ProjectorFigures(lambda: {"linli.alert": 3})
    figures.wrote("linli.alert", 5, 0.02, 1_700_000_000_000_000)
    found = [*RunFigures(tmp_path, journal, SystemClock()).collect(), *figures.collect()]
    names = [metric.name for metric in found]
    assert len(names) == len(set(names))
    for metric in found:
        assert metric.name.startswith("linli_")
        assert metric.documentation
        assert not metric.name.endswith(("_ms", "_us", "_mb", "_percent", "_total", "_count"))


def test_files_of_another_version_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "relay.json").write_text('{"something": "else"}')
    (tmp_path / "worker-0.json").write_bytes(msgspec.json.encode(WORKER)[:100])
    names = {metric.name for metric in RunFigures(tmp_path, None, SystemClock()).collect()}
    assert names == {"linli_status_age_seconds"}


def test_a_projector_s_figures() -> None:
    lags: dict[str, int] = {}

    def lag() -> dict[str, int]:
        if not lags:
            raise StorageError("the brokers are away")
        return lags

    figures = ProjectorFigures(lag)
    figures.wrote("linli.alert", 5, 0.02, 1_700_000_000_000_000)
    figures.wrote("linli.alert", 2, 60.0, 1_600_000_000_000_000)
    figures.wrote("linli.count", 1, 0.005)
    figures.dead_letter("linli.alert", "unreadable")
    figures.failed()
    figures.holds(12)
    other = threading.Thread(target=figures.holds, args=(4,))  # a second projector beside it
    other.start()
    other.join()
    server = StatusServer("127.0.0.1", 0, [figures], [])
    server.start()
    try:
        away = httpx.get(server.url + "/metrics").text
        lags["linli.alert"] = 17
        text = httpx.get(server.url + "/metrics").text
    finally:
        server.stop()
    assert "linli_projector_lag_events" not in away
    assert value(text, "linli_projector_lag_events", topic="linli.alert") == 17
    assert value(text, "linli_projector_records_total", topic="linli.alert") == 7
    assert value(text, "linli_projector_dead_letters_total", topic="linli.alert", reason="unreadable") == 1
    assert value(text, "linli_store_write_seconds_bucket", le="0.005") == 1
    assert value(text, "linli_store_write_seconds_bucket", le="0.025") == 2
    assert value(text, "linli_store_write_seconds_bucket", le="+Inf") == 3
    assert value(text, "linli_store_write_seconds_count") == 3
    assert value(text, "linli_projector_partitions") == 16
    newest = value(text, "linli_projector_newest_event_timestamp_seconds", topic="linli.alert")
    assert newest == 1_700_000_000


ABOUT_PEOPLE = {
    "linli_alerts",
    "linli_alerts_open",
    "linli_crossings",
    "linli_faces_held",
    "linli_judgements",
}

WATCHED = PrivacySettings(
    grant=(
        Grant(who="prometheus", token_env="OFFICE", rights=("metrics",)),
        Grant(who="front desk", token_env="DESK", rights=("alerts",)),
    ),
)


def test_a_scraper_sees_nothing_of_people(tmp_path: Path) -> None:
    """The right `metrics` gives /metrics without what is about people, and nothing else."""
    with Stage(tmp_path, WATCHED) as stage:
        stage.happens(Crossing(rule="door", direction="in", label="person", track=1, at=(0.5, 0.5)))
        stage.settled()
        with (
            stage.client(OFFICE_TOKEN) as scraper,
            stage.client(DESK_TOKEN) as desk,
            stage.client() as nobody,
        ):
            seen = set(families(scraper.get("/metrics").text))
            all_of_it = set(families(desk.get("/metrics").text))
            assert not seen & ABOUT_PEOPLE
            assert all_of_it - seen == ABOUT_PEOPLE
            for path in ("/api/site", "/api/alerts", "/api/counts", "/api/health", "/api/faces", "/events"):
                assert scraper.get(path).status_code == 403, path
            assert nobody.get("/metrics").status_code == 401
            assert nobody.get("/healthz").json() == {"status": "ok"}
            assert nobody.get("/readyz").json() == {"status": "ok"}


def test_the_page_s_health_names_the_part(tmp_path: Path) -> None:
    with Stage(tmp_path, WATCHED) as stage, stage.client() as nobody:
        stage.happens(Crossing(rule="door", direction="in", label="person", track=1, at=(0.5, 0.5)))
        stage.settled()
        stage.store.close()
        for path in ("/healthz", "/readyz"):
            answer = nobody.get(path)
            assert answer.status_code == 503
            assert json.loads(answer.text) == {"status": "failing", "wrong": ["store"]}
