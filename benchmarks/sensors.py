"""Readings through a real Mosquitto at QoS 1 into the journal: how many a second, at what cost, and what is
lost when broker and box are killed.

`OFFERED` readings a second for some seconds, from publishers in processes of their own (each keeps a list of
what the broker has acknowledged), through one Mosquitto and the product's own sensors' process, a quarter of
the sensors with a rule: the journal must have as many as were published, in step with them. CPU is process
time of broker and hub. A flood, as fast as the publishers can, shows the limit.

Then, under a smaller load, hub and broker are killed by turns with SIGKILL and started again, each time when
the hub is connected and has caught up: each reading that the broker acknowledged must be in the journal once.
Mosquitto acknowledges before it saves (`autosave_interval 1`): a broker that is killed while the hub is away
forgets what it acknowledged in the last second. That is measured apart (`forgotten_by_broker`); with an
orderly restart of the broker at such a moment (`lost_at_restart`) nothing may be lost.

    python -m benchmarks.sensors --json [--quick]
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.common import ROOT, Missing, add_json_flag, run, say
from events.media import parse_rfc3339
from testbed.mosquitto import Mosquitto, MosquittoMissing

RATE = 5000
OFFERED = 5200
"""What the publishers try: a little more, since they too must share the machine."""
GOAL = (
    "5,000 readings a second at QoS 1 into the journal; none lost or doubled when broker and box are killed"
)
SENSORS = 1000
PUBLISHERS = 2


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--quick", action="store_true", help="5 s and 2 kills instead of 20 s and 12")
    args = parser.parse_args()
    return run(partial(measure, args.quick), GOAL, args.json)


def measure(quick: bool) -> dict[str, Any]:
    """Both runs."""
    try:
        with TemporaryDirectory(prefix="linli-bench-") as folder:
            sustained = _sustained(Path(folder) / "sustained", 5 if quick else 20)
            say(json.dumps(sustained))
            flood = _sustained(Path(folder) / "flood", 3 if quick else 10, 40_000)
            say(json.dumps(flood))
            killed = _killed(Path(folder) / "killed", 2 if quick else 12)
            restarted = _broker_alone(Path(folder) / "restarted", 1 if quick else 3, "stop")
            forgot = _broker_alone(Path(folder) / "forgot", 1 if quick else 3, "kill")
    except MosquittoMissing as error:
        raise Missing(str(error)) from None
    return {
        **sustained,
        "flood": {key: flood[key] for key in ("published", "journaled", "journaled_rate", "cores")},
        "killed": killed,
        "lost_at_restart": restarted["lost"],
        "doubled_at_restart": restarted["doubled"] + forgot["doubled"],
        "forgotten_by_broker": forgot["lost"],
        "reached": sustained["journaled"] == sustained["published"]
        and sustained["journaled_rate"] >= RATE
        and not (killed["lost"] or killed["doubled"] or killed["holes"])
        and not (restarted["lost"] or restarted["doubled"] or forgot["doubled"]),
    }


# --- the rig


class _Rig:
    """Broker, site and the product's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder / "mosquitto")
        self.site = folder / "site.toml"
        self.site.write_text(_site(self.broker.url))
        self.hub: subprocess.Popen[bytes] | None = None

    def start_hub(self) -> None:
        command = [sys.executable, "-P", "-m", "cli.main", "sensors", "run", str(self.site)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.hub = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)

    def wait_connected(self) -> None:
        until = time.monotonic() + 60
        status = self.folder / "data/run/sensors.json"
        while time.monotonic() < until:
            if status.exists() and all(json.loads(status.read_bytes())["connected"].values()):
                return
            time.sleep(0.2)
        raise RuntimeError("the hub does not connect")

    def publish(self, number: int, rate: float, seconds: float) -> subprocess.Popen[bytes]:
        of = str(self.folder / f"acknowledged-{number}")
        arguments = [self.broker.port, number, PUBLISHERS, SENSORS, rate, seconds, of]
        return subprocess.Popen([sys.executable, "-m", "testbed.sensor_load", *map(str, arguments)], cwd=ROOT)

    def count(self) -> int:
        path = self.folder / "data/journal.db"
        if not path.exists():
            return 0
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as db:
            return int(db.execute("SELECT count(*) FROM events WHERE family = 'sensor'").fetchone()[0])

    def committed_s(self) -> tuple[float, float]:
        """When the first and the last reading were committed, seconds since 1970."""
        with sqlite3.connect(f"file:{self.folder}/data/journal.db?mode=ro", uri=True, timeout=30) as db:
            first, last = db.execute(
                "SELECT min(committed_us), max(committed_us) FROM events WHERE family = 'sensor'"
            ).fetchone()
        return first / 1e6, last / 1e6

    def kill_hub(self) -> None:
        assert self.hub is not None
        self.hub.kill()
        self.hub.wait()

    def wait_caught_up(self) -> None:
        """Until what is measured from now on is in the journal: the hub is connected and nothing waits."""
        now_us, until = time.time() * 1e6, time.monotonic() + 120
        while time.monotonic() < until:
            path = self.folder / "data/journal.db"
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as db:
                found = db.execute(
                    "SELECT body FROM events WHERE family = 'sensor' ORDER BY offset DESC LIMIT 1"
                ).fetchone()
            measured_us = parse_rfc3339(json.loads(found[0])["time"]) if found else 0
            if measured_us > max(now_us, time.time() * 1e6 - 1e6):
                return
            time.sleep(0.05)
        raise RuntimeError("the hub does not catch up")

    def stop(self) -> None:
        if self.hub is not None:
            assert self.hub.stdin is not None
            self.hub.stdin.close()
            self.hub.wait(60)
        self.broker.stop()


def _site(url: str) -> str:
    lines = ['[site]\nid = "bench"\ndata = "data"\n[console]\nenabled = false\n']
    lines.append('[[camera]]\nid = "none"\nurl = "rtsp://127.0.0.1:1/none"\n')
    lines.append(f'[[sensors.mqtt]]\nurl = "{url}"\ntopics = ["bench/#"]\n')
    for n in range(SENSORS):
        lines.append(
            f'[[sensor]]\nid = "s{n}"\ntopic = "bench/s{n}"\nsource = "urn:s{n}:"\n'
            '[sensor.fields.level]\nunit = "m"\nlow = 0\nhigh = 100\n'
        )
        if n % 4 == 0:
            lines.append(
                '[[sensor.rules]]\nkind = "threshold"\nname = "high"\nquantity = "level"\nabove = 9.0\n'
                "clear_above = 2.0\n"
            )
    return "".join(lines)


# --- the two runs


def _sustained(folder: Path, seconds: int, offered: float = OFFERED) -> dict[str, Any]:
    rig = _Rig(folder)
    with rig.broker:
        rig.start_hub()
        try:
            rig.wait_connected()
            assert rig.hub is not None
            assert rig.broker.process is not None
            parts = {"broker": psutil.Process(rig.broker.process.pid), "hub": psutil.Process(rig.hub.pid)}
            before = {name: _cpu_s(process) for name, process in parts.items()}
            load = [rig.publish(n, offered / PUBLISHERS, seconds) for n in range(PUBLISHERS)]
            for one in load:
                one.wait(seconds * 4 + 60)
            published = sum(len(_acknowledged(folder, n)) for n in range(PUBLISHERS))
            publishing_s = max(_span(folder, n) for n in range(PUBLISHERS))
            ended, until = time.time(), time.monotonic() + seconds * 4 + 60
            while rig.count() < published and time.monotonic() < until:
                time.sleep(0.1)
            first, last = rig.committed_s()
            cpu = {name: _cpu_s(process) - before[name] for name, process in parts.items()}
            time.sleep(2.5)
            status = json.loads((folder / "data/run/sensors.json").read_bytes())
            journaled = rig.count()
        finally:
            rig.stop()
    return {
        "seconds": seconds,
        "published": published,
        "journaled": journaled,
        "published_rate": round(published / publishing_s),
        "journaled_rate": round(journaled / (last - first)),
        "behind_s": round(max(last - ended, 0.0), 1),
        "lag_ms": {"p50": status["lag_ms_p50"], "p99": status["lag_ms_p99"]},
        "cpu_us_per_reading": {name: round(used / published * 1e6, 1) for name, used in cpu.items()},
        "cores": {name: round(used / (last - first), 2) for name, used in cpu.items()},
        "load_average": round(os.getloadavg()[0], 1),
        "journal_bytes_per_reading": round((folder / "data/journal.db").stat().st_size / published),
    }


def _killed(folder: Path, kills: int) -> dict[str, Any]:
    chance = random.Random(7)
    rig = _Rig(folder)
    rig.broker.start()
    rig.start_hub()

    def kill(n: int) -> None:
        time.sleep(chance.uniform(0.2, 1.5))
        rig.wait_caught_up()
        if n % 2:
            rig.broker.kill()
            time.sleep(chance.uniform(0.0, 0.5))
            rig.broker.start()
        else:
            rig.kill_hub()
            rig.start_hub()

    return _under_load(rig, kills, kill)


def _broker_alone(folder: Path, tries: int, end: str) -> dict[str, Any]:
    """The broker ends while the hub is away: `stop` saves its state, `kill` does not."""
    rig = _Rig(folder)
    rig.broker.start()
    rig.start_hub()

    def away(_: int) -> None:
        rig.wait_caught_up()
        rig.kill_hub()
        time.sleep(1.0)
        getattr(rig.broker, end)()
        rig.broker.start()
        rig.start_hub()

    return _under_load(rig, tries, away)


def _under_load(rig: "_Rig", times: int, disturb: Callable[[int], None]) -> dict[str, Any]:
    load = []
    try:
        rig.wait_connected()
        load = [rig.publish(n, 400, 0) for n in range(PUBLISHERS)]
        for n in range(times):
            disturb(n)
            say(f"{n + 1} of {times}, {rig.count()} readings in the journal")
        rig.wait_caught_up()
        for one in load:
            one.send_signal(signal.SIGTERM)
        for one in load:
            one.wait(120)
        acknowledged = {name for n in range(PUBLISHERS) for name in _acknowledged(rig.folder, n)}
        until, last = time.monotonic() + 30, -1
        while time.monotonic() < until and rig.count() != last:
            last = rig.count()
            time.sleep(2.0)
    finally:
        for one in load:
            one.kill()
        rig.stop()
    return _verdict(rig.folder, times, acknowledged)


def _verdict(folder: Path, kills: int, acknowledged: set[str]) -> dict[str, Any]:
    with sqlite3.connect(folder / "data/journal.db") as db:
        rows = db.execute("SELECT source, body FROM events WHERE family = 'sensor'").fetchall()
        numbers = db.execute(
            "SELECT source, family, epoch, count(*), max(sequence) FROM events GROUP BY source, family, epoch"
        ).fetchall()
        ids = db.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchone()
    kept = [f"{source.rsplit('/', 1)[1]} {json.loads(body)['time']}" for source, body in rows]
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "journaled": len(kept),
        "lost": len(acknowledged - set(kept)),
        "doubled": len(kept) - len(set(kept)) + ids[0] - ids[1],
        "holes": sum(count != last + 1 for *_, count, last in numbers),
    }


def _acknowledged(folder: Path, number: int) -> list[str]:
    return (folder / f"acknowledged-{number}").read_text().split("\n")[1:-1]


def _span(folder: Path, number: int) -> float:
    with (folder / f"acknowledged-{number}").open() as file:
        return float(file.readline())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    raise SystemExit(main())
