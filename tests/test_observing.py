"""A box as the site file describes it: what it tells a collector of traces, and a scraper without a page."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from cli import settings as site_settings
from cli import wiring
from events import tracing
from events.clock import SystemClock
from events.events import Event, Interval, camera_source
from events.ids import event_id
from testbed.otlp import Collector

SOURCE = camera_source("demo", "gate")


def site(folder: Path, telemetry: str) -> Path:
    path = folder / "site.toml"
    path.write_text(
        '[site]\nid = "demo"\ndata = "data"\n'
        f"[telemetry]\n{telemetry}\n"
        '[[camera]]\nid = "gate"\nurl = "rtsp://127.0.0.1:9/x"\n'
    )
    return path


def count(n: int) -> Event:
    at = SystemClock().wall_us() - 1_000_000
    return Event(
        id=event_id(SOURCE, "count", n),
        source=SOURCE,
        time_us=at,
        epoch=1,
        sequence=n,
        data=Interval(rule="door", start_us=at, end_us=at + 1, counts={}, observed_s=1.0),
    )


def test_a_box_by_itself_traces_from_picture_to_store(tmp_path: Path) -> None:
    """Its services as they are wired: journal and store, no broker."""
    with Collector() as collector:
        loaded = site_settings.load(site(tmp_path, f'otlp = "{collector.url}"\nsample = 1.0'))
        clock = SystemClock()
        services = wiring.services(loaded, clock)
        for service in services:
            service.start()
        journal = wiring.open_journal(loaded, clock)
        event = count(0)
        before = clock.wall_us()
        journal.append([event])
        journal.flush()
        for last in (False, True):
            for service in services:
                if service.last == last:
                    service.ask()
            for service in services:
                if service.last == last:
                    service.stop()
        journal.close()
        spans = [s for s in collector.spans if s.trace == tracing.traceparent(event)[3:35]]
    create, process = sorted(spans, key=lambda span: span.name)
    assert (create.name, process.name) == ("create journal", "process journal")
    assert process.parent == create.id == tracing.traceparent(event)[36:52]
    assert create.start_ns == event.time_us * 1000
    assert before * 1000 <= create.end_ns <= process.end_ns  # the journal's commit, then the store's
    assert create.resource["service.instance.id"] == loaded.box


def test_a_box_without_a_page_tells_machines(tmp_path: Path) -> None:
    """The real process, with logs as JSON: /metrics, /healthz and /readyz where the site file says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = site(tmp_path, f'metrics = "127.0.0.1:{port}"\nlogs = "json"')
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "services", str(path)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                health = httpx.get(f"{url}/healthz", timeout=5)
                if health.status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.1)
        assert health.json() == {"status": "ok", "checks": {"services": "ok", "journal": "ok"}}
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert 'linli_journal_lag_events{consumer="projector"} 0.0' in httpx.get(f"{url}/metrics").text
    finally:
        _, said = process.communicate(timeout=60)  # the end of its input is the end of its work
    assert process.returncode == 0
    assert all(json.loads(line)["process"] == "services" for line in said.splitlines())


def test_the_address_is_checked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "services", str(site(tmp_path, 'metrics = "127.0.0.1:99999"'))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "telemetry: a port is at most 65535" in done.stderr
