"""A dome, a face camera and sensors as an installer starts them: live, killed, resumed and replayed alike."""

import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import pyrage
import pytest

from cli import scenes
from cli.cameras import free_port
from cli.footage import cache_folder
from detectors import fetch, manifest
from events import codec
from events.errors import LinliError
from events.events import (
    AlertCleared,
    AlertRaised,
    Crossing,
    Event,
    FaceCaptured,
    Judged,
    Reading,
    ViewChanged,
)
from storage import trace
from storage.sealing import unseal
from testbed.dome import Pose
from testbed.onvif import OnvifDevice
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests import kindworks
from tests.brightmodel import bright_model
from tests.conftest import need_server
from tests.facekeys import RECIPIENT
from tests.kindworks import STOPS, Follower, Sender, linli, position_of, post
from tests.noisemaker import encode_noise
from tests.siteworks import Site, until

PASSPHRASE = "five words that nobody guesses"
CAMERAS = ("dome", "door")
LOGIN = ("guard", "long-enough-secret")
SITE = """
[site]
id = "town"
data = "data"
[model]
name = "bright.toml"
threads = 1
[recording]
segment_s = 2
reserve_gb = 0
[analysis]
interval_s = 2
quiet_s = 1.0
[workers]
processes = 1
[console]
port = {console}
[privacy]
grant = [{{ who = "desk", loopback = true, rights = ["alerts", "judge", "faces"] }}]
[faces]
originals = "sealed"
recipient = "{recipient}"
[sensors.http]
port = {readings}
loopback = true

[[camera]]
id = "dome"
kind = "dome"
url = "{dome}"
onvif = "{onvif}"
credentials = "env:DOME_LOGIN"
decode = "lazy"
preset = [{{ id = "square" }}, {{ id = "tall" }}, {{ id = "kerb" }}]
rules = [
    {{ kind = "line", name = "walk", preset = "square", points = [[0.5, 0.1], [0.5, 1.0]] }},
    {{ kind = "intrusion", name = "yard", preset = "square", clear_s = 0.5 }},
    {{ kind = "anomaly", name = "odd", preset = "tall", {learning}, labels = ["person"] }},
    {{ kind = "stationary", name = "left", preset = "kerb", for_s = 1.0, labels = ["person"] }},
]

[[camera]]
id = "door"
kind = "face"
url = "{door}"
place = [121.5, 31.2]

[[sensor]]
id = "manhole"
payload = "json"
time_path = "t"
time_unit = "us"
rules = [{{ kind = "threshold", name = "open", quantity = "cover", above = 0.5 }}]
[sensor.fields.cover]
path = "value"
true_values = ["open"]
false_values = ["closed"]

[[sensor]]
id = "canal"
payload = "json"
time_path = "t"
time_unit = "us"
[sensor.fields.level]
path = "value"
unit = "m"

[[joint]]
name = "open-manhole"
within_s = 600
of = [{{ sensor = "manhole", rule = "open" }}, {{ camera = "dome", rule = "yard" }}]
"""


LEARNING = "warmup_h = 0, warmup_passes = 0, rate = 1e6"
"""Something as high as the picture is unusual from the beginning."""


class Cameras(NamedTuple):
    """A running RTSP server: the dome on its tour, the dome at each preset, the door."""

    server: GstServer
    poses: list[Pose]


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cameras]:
    folder = tmp_path_factory.mktemp("kinds")
    user, password = LOGIN
    poses = kindworks.tour(folder / "tour.mp4")
    mounts = {
        "dome": Mount(folder / "tour.mp4", user=user, password=password),
        "door": Mount(door_clip(folder)),
    }
    for stop in STOPS:
        clip = kindworks.still(folder / f"{stop.preset}.mp4", stop.preset)
        mounts[f"at-{stop.preset}"] = Mount(clip, user=user, password=password)
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield Cameras(server, poses)
    server.close()


def door_clip(folder: Path) -> Path:
    """Two faces that pass before a drawn wall."""
    try:
        fetch.pull(manifest.named("centerface"))
        scenes._faces(cache_folder(), lambda *_: None)
        wall = encode_noise(folder / "wall.mp4", 18, (640, 360))
        kept = folder / "carphone.mp4"
        kept.write_bytes((cache_folder() / "carphone.mp4").read_bytes())
        return scenes.door_clip(folder, wall, lambda *_: None).main
    except LinliError as error:
        if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"no face: {error}")


class Stage:
    """The site's files, its ports, and what it is given."""

    def __init__(self, folder: Path, cameras: Cameras, device: OnvifDevice) -> None:
        self.folder, self.cameras, self.device = folder, cameras, device
        self.console, self.readings = free_port(), free_port()
        bright_model(folder)
        self.environ = {"DOME_LOGIN": ":".join(LOGIN)}

    def prepare(self) -> None:
        """A key, meanwhile the presets; then the site file that is run."""
        with ThreadPoolExecutor(1) as beside:
            key = beside.submit(self._keygen)
            self._learn()
            self.path = self._site("dome", key.result())

    def _site(self, mount: str, recipient: str = RECIPIENT) -> Path:
        """A site file whose dome is that mount; all share one data folder."""
        url = self.cameras.server.url
        text = SITE.format(
            console=self.console,
            readings=self.readings,
            recipient=recipient,
            onvif=self.device.url,
            dome=url(mount),
            door=url("door"),
            learning=LEARNING,
        )
        path = self.folder / f"{mount}.toml"
        path.write_text(text)
        return path

    def _keygen(self) -> str:
        command = linli("faces", "keygen", "--out", self.folder / "identity")
        said = f"{PASSPHRASE}\n{PASSPHRASE}\n"
        # Without a terminal the passphrase is read from standard input.
        done = subprocess.run(
            command,
            input=said,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def _learn(self) -> None:
        """Teach the presets from the live camera, which is turned to each."""
        for stop in STOPS:
            self.device.position = position_of(
                Pose(state="settled", preset="", x=stop.x, y=stop.y, width=stop.width, rests_s=1)
            )
            args = (
                "presets",
                "learn",
                self._site(f"at-{stop.preset}"),
                "--camera",
                "dome",
                "--preset",
                stop.preset,
            )
            done = subprocess.run(
                linli(*args),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, **self.environ},
            )
            assert done.returncode == 0, done.stderr
            assert "lies at pan" in done.stdout


def child(site: Site, name: str) -> psutil.Process | None:
    """The running process of that name: worker, services, sensors."""
    for process in psutil.Process(site.process.pid).children():
        try:
            if name in process.cmdline():
                return process
        except psutil.Error:
            pass
    return None


def kill(site: Site, name: str) -> None:
    process = until(lambda: child(site, name), 30, f"{name} runs")
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: (now := child(site, name)) is not None and now.pid != process.pid, 30, f"{name} is back")


def of(site: Site, kind: type, rule: str = "") -> list[Event]:
    assert site.process.poll() is None, site.log()
    return [
        e for e in site.events() if isinstance(e.data, kind) and rule in ("", getattr(e.data, "rule", ""))
    ]


def faces_in(site: Site) -> int:
    """In how many epochs a face was captured."""
    return len({e.epoch for e in of(site, FaceCaptured)})


class Told:
    """What happened during the run, as the test saw it."""

    def __init__(self) -> None:
        self.judged = ""
        """The alert that was judged."""
        self.acknowledged: dict[str, list[int]] = {}
        """Sensor -> times of its readings."""


def play(stage: Stage, site: Site) -> Told:
    """The run: everything that can be killed is killed while something goes on."""
    told = Told()
    cover = ["closed"]
    with (
        Sender(stage.readings, "manhole", lambda _: cover[0]) as manhole,
        Sender(stage.readings, "canal", lambda n: n / 100) as canal,
    ):
        odd = until(lambda: of(site, AlertRaised, "odd"), 60, "an anomaly is told")[0].data
        cover[0] = "open"
        told.judged = odd.alert
        judge = f"http://127.0.0.1:{stage.console}/api/alerts/{odd.alert}/judgement"
        until(lambda: post(judge, {"verdict": "ignore"}) == 201, 20, "the judgement is taken")
        kill(site, "worker")  # the judgement is in the journal, and perhaps nobody has heard of it
        kill(site, "sensors")
        until(lambda: faces_in(site) == 2, 40, "a face is captured after the kill")
        kill(site, "services")
        until(lambda: of(site, AlertRaised, "open-manhole"), 40, "the joint alert is raised")
        kill(site, "worker")
        cover[0] = "closed"
        until(lambda: of(site, AlertCleared, "open-manhole"), 40, "the joint alert is cleared")
        until(lambda: faces_in(site) == 3, 40, "a face is captured after the second kill")
        until(lambda: of(site, AlertRaised, "left"), 40, "something was left behind")
        manhole.end()
        canal.end()
    assert not manhole.refused + canal.refused
    told.acknowledged = {"manhole": manhole.acknowledged, "canal": canal.acknowledged}
    return told


@pytest.mark.slow
def test_live_killed_and_replayed_are_the_same(cameras: Cameras, tmp_path: Path) -> None:
    with OnvifDevice(*LOGIN) as device:
        stage = Stage(tmp_path, cameras, device)
        stage.prepare()
        site = Site(stage.path, stage.environ)
        try:
            with Follower(cameras.server, "dome", cameras.poses, device):
                told = play(stage, site)
                site.end()
        finally:
            site.close()
    events = site.events()
    assert_the_store_equals_the_journal(site, events)
    assert_sequences_have_no_hole(events)
    assert_nothing_of_a_preset_while_it_moves(events)
    assert_readings_are_there_once(site, events, told)
    assert_joint_alerts_are_whole(events)
    assert_the_judgement_was_heard(site, events, told)
    assert_kills_were_kills(site)
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda camera: replayed(stage, camera), CAMERAS))
    for camera, figures in zip(CAMERAS, found, strict=True):
        assert (camera, figures["missing"], figures["extra"]) == (camera, 0, 0)
        assert figures["same"] >= 3
    assert_every_capture_has_its_pictures(stage, site, events)


def replayed(stage: Stage, camera: str) -> dict[str, float]:
    command = linli("replay", stage.path, "--camera", camera, "--as-seen", "--json")
    environ = {**os.environ, **stage.environ}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=environ)
    assert done.stdout, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def assert_the_store_equals_the_journal(site: Site, events: list[Event]) -> None:
    with sqlite3.connect(site.data / "store.db") as store:
        bodies = [row[0] for row in store.execute("SELECT body FROM events ORDER BY n")]
        alerts = dict(store.execute("SELECT alert, state FROM alerts"))
        readings = store.execute("SELECT count(*) FROM readings").fetchone()[0]
        faces = {row[0] for row in store.execute("SELECT capture FROM faces")}
    assert bodies == [codec.encode(e) for e in events]
    raised = {e.data.alert for e in events if isinstance(e.data, AlertRaised)}
    cleared = {e.data.alert for e in events if isinstance(e.data, AlertCleared)}
    assert alerts == {alert: "cleared" if alert in cleared else "open" for alert in raised}
    assert readings == sum(isinstance(e.data, Reading) for e in events)
    assert faces == {e.data.capture for e in events if isinstance(e.data, FaceCaptured)}


def assert_sequences_have_no_hole(events: list[Event]) -> None:
    assert len({e.id for e in events}) == len(events)
    seen: dict[tuple[str, int, str], list[int]] = {}
    for e in events:
        seen.setdefault((e.source, e.epoch, e.family), []).append(e.sequence)
    assert {family for _, _, family in seen} >= {
        "count",
        "alert",
        "view",
        "face",
        "sensor",
        "judgement",
        "segment",
    }
    for key, numbers in seen.items():
        assert sorted(numbers) == list(range(len(numbers))), key


def assert_nothing_of_a_preset_while_it_moves(events: list[Event]) -> None:
    """Whatever the dome's rules say is of the preset at which it is settled."""
    here: dict[int, str] = {}
    views: Counter[str] = Counter()
    for e in events:
        if e.source != "/town/camera/dome":
            continue
        if isinstance(e.data, ViewChanged):
            here[e.epoch] = e.data.preset
            views[e.data.state] += 1
        elif isinstance(e.data, AlertRaised | Crossing):
            assert e.data.preset == here.get(e.epoch, ""), e
            assert e.data.preset
    assert views["settled"] >= 4
    assert views["moving"] >= 3


def assert_readings_are_there_once(site: Site, events: list[Event], told: Told) -> None:
    for sensor, times in told.acknowledged.items():
        source = f"/town/sensor/{sensor}"
        there = [e.time_us for e in events if isinstance(e.data, Reading) and e.source == source]
        assert there == times
        with sqlite3.connect(site.data / "store.db") as store:
            rows = store.execute("SELECT time_us FROM readings WHERE source = ? ORDER BY time_us", (source,))
            assert [row[0] for row in rows] == times
        assert len(times) > 50


def assert_joint_alerts_are_whole(events: list[Event]) -> None:
    joint = [e.data for e in events if e.source == "/town/joint/open-manhole"]
    raised = [d.alert for d in joint if isinstance(d, AlertRaised)]
    cleared = [d.alert for d in joint if isinstance(d, AlertCleared)]
    assert raised
    assert raised == cleared
    assert len(set(raised)) == len(raised)
    opened = {e.data.alert for e in events if isinstance(e.data, AlertRaised)}
    for data in joint:
        if isinstance(data, AlertRaised):
            assert len(data.causes) == 2
            assert set(data.causes) <= opened


def assert_the_judgement_was_heard(site: Site, events: list[Event], told: Told) -> None:
    """It is in the trace, so that a replay hears it; and what is not wanted was not told again."""
    (judged,) = [e.data for e in events if isinstance(e.data, Judged)]
    assert judged.alert == told.judged
    lines = [line for path in site.data.rglob("*.trace*") for line in trace.read_trace(path)]
    heard = [line for line in lines if isinstance(line, trace.Verdict)]
    assert heard
    assert {(line.alert, line.verdict) for line in heard} == {(told.judged, "ignore")}
    assert any(isinstance(line, trace.Position) and line.moving for line in lines)


def assert_kills_were_kills(site: Site) -> None:
    with sqlite3.connect(site.data / "journal.db") as journal:
        reasons = [row[0] for row in journal.execute("SELECT reason FROM epochs")]
    assert reasons.count("killed") == 4  # two cameras, two kills
    assert None not in reasons
    assert not list(site.data.rglob("*.part"))
    assert not list(site.data.rglob("*.resumed"))


def assert_every_capture_has_its_pictures(stage: Stage, site: Site, events: list[Event]) -> None:
    """One crop and one original each, and nothing else; the passphrase opens them."""
    captures = [e.data for e in events if isinstance(e.data, FaceCaptured)]
    keys = [key for data in captures for key in (data.picture, data.sealed)]
    root = site.data / "objects"
    found = [path.relative_to(root).as_posix() for path in (root / "faces").rglob("*") if path.is_file()]
    assert sorted(found) == sorted(keys)
    identity = (stage.folder / "identity").read_bytes()
    first = unseal((root / captures[0].sealed).read_bytes(), identity, PASSPHRASE)
    assert first.startswith(b"\xff\xd8")
    (key,) = [
        line
        for line in pyrage.passphrase.decrypt(identity, PASSPHRASE).decode().splitlines()
        if line.startswith("AGE-SECRET-KEY-")
    ]
    for data in captures:
        opened = pyrage.decrypt((root / data.sealed).read_bytes(), [pyrage.x25519.Identity.from_str(key)])
        assert opened.startswith(b"\xff\xd8")
        assert (root / data.picture).read_bytes().startswith(b"\xff\xd8")
