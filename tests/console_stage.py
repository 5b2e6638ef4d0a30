"""A console with everything real behind it: journal, store, projector, and footage that grows meanwhile.

with Stage(tmp_path) as stage:
    stage.camera_runs("gate")          # records packets in real time, traces the walker
    httpx.get(stage.url + "/api/site")
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from console.access import AccessPolicy, Grant, PrivacySettings, read_policy
from console.app import create_app
from console.server import ConsoleServer
from console.site import CameraView, PresetView, SensorView, SiteView
from events.clock import SystemClock
from events.events import AnyPayload, Event, camera_source
from events.ids import event_id
from events.media import TICKS, Anchor
from events.rules import Intrusion, Line, Zone
from ingest.packets import Packet
from pipeline.projector import catch_up
from storage.journal import Journal
from storage.logbus import LogBus
from storage.segments import SegmentWriter
from storage.store import SqliteStore
from storage.trace import Frame, Gate, Mode, TraceWriter
from tests.clipmaker import FPS, packets_of, walker

OFFICE_TOKEN = "office-token-0123456789"
DESK_TOKEN = "desk-token-0123456789"

DEMO = PrivacySettings(
    grant=(Grant(who="demo viewer", loopback=True, rights=("alerts", "judge", "live", "plain")),),
)
LOCKED = PrivacySettings(
    grant=(
        Grant(who="gate office", token_env="OFFICE", rights=("alerts", "judge", "live", "plain")),
        Grant(who="front desk", token_env="DESK", rights=("alerts",)),
    ),
)
TOKENS = {"OFFICE": OFFICE_TOKEN, "DESK": DESK_TOKEN}

RULES = (
    Line(name="door", points=((0.5, 0.95), (0.5, 0.2))),
    Zone(name="yard", polygon=((0.05, 0.3), (0.45, 0.3), (0.45, 0.95), (0.05, 0.95))),
    Intrusion(name="lawn", polygon=((0.6, 0.5), (0.95, 0.5), (0.95, 0.9), (0.6, 0.9))),
)

TOUR = (
    Line(name="lane", points=((0.2, 0.5), (0.8, 0.5)), preset="road"),
    Zone(name="kerb", polygon=((0.1, 0.1), (0.4, 0.1), (0.4, 0.4), (0.1, 0.4)), preset="steps"),
)

SITE = SiteView(
    id="demo",
    name="Demo court",
    cameras=(
        CameraView(id="gate", name="North gate", kind="gun", stream="sub", rules=RULES),
        CameraView(
            id="plaza",
            name="Plaza",
            kind="dome",
            stream="sub",
            rules=TOUR,
            place=(121.4737, 31.2304),
            view=((121.4737, 31.2304), (121.474, 31.2304), (121.474, 31.2307)),
            presets=(PresetView(id="road", name="Ring road"), PresetView(id="steps", name="Steps")),
        ),
    ),
    sensors=(
        SensorView(id="manhole-7", name="Manhole 7", component="manhole/7", camera="plaza", zone="kerb"),
        SensorView(id="pump", name="Pump house", place=(121.5, 31.2)),
    ),
)


class Recorder:
    """Writes a clip over and over into segments as a camera's worker does."""

    def __init__(self, stage: "Stage", camera: str, clip: Path, segment_s: float) -> None:
        self._stage = stage
        self._camera = camera
        self._clip = clip
        self._segment_s = segment_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"recorder-{camera}")
        self.epoch = 0
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stage = self._stage
        info, packets = packets_of(self._clip)
        clock = stage.clock
        anchor = Anchor(pts=0, capture_us=clock.wall_us(), source="arrival", uncertainty_us=0)
        self.epoch = stage.journal.open_epoch(self._camera, "sub", info, anchor)
        writer = SegmentWriter(
            stage.footage, self._camera, "sub", self.epoch, info, stage.journal, segment_s=self._segment_s
        )
        started = clock.monotonic()
        trace: TraceWriter | None = None
        segment = ""
        for n, packet in self._endless(packets, anchor):
            late = packet.dts / TICKS - (clock.monotonic() - started)
            if self._stop.wait(max(0.0, late)):
                break
            if (went := writer.write(packet)) != segment:
                segment = went
                if trace:
                    trace.close()
                assert writer.row is not None
                trace = TraceWriter(stage.footage / writer.row.trace_path)
                trace.append(Mode(pts=packet.pts, mode="lazy"), Gate(pts=packet.pts, state="awake", why="x"))
            if trace and n % 2 == 0:
                x1, y1, x2, y2 = walker(packet.pts * FPS // TICKS)
                track = (
                    1 + packet.pts // (60 * TICKS),
                    "person",
                    0.9,
                    float(x1),
                    float(y1),
                    float(x2),
                    float(y2),
                    True,
                )
                trace.append(Frame(pts=packet.pts, tracks=(track,)))
        writer.close()
        if trace:
            trace.close()

    @staticmethod
    def _endless(packets: list[Packet], anchor: Anchor) -> Iterator[tuple[int, Packet]]:
        length = len(packets) * TICKS // FPS
        n = 0
        while True:
            for p in packets:
                shift = n // len(packets) * length
                pts = p.pts + shift
                at = anchor.capture_us + pts * 1_000_000 // TICKS
                yield n, Packet(pts, p.dts + shift, at, p.keyframe, False, p.size, p.av)
                n += 1


class Stage:
    """See the module's text."""

    def __init__(
        self, folder: Path, privacy: PrivacySettings = DEMO, site: SiteView = SITE, **more: Any
    ) -> None:
        self.clock = SystemClock()
        self.site = site
        self.footage = folder / "footage"
        self.objects = folder / "objects"
        self.footage.mkdir()
        (self.objects / "pictures").mkdir(parents=True)
        (self.objects / "clips").mkdir()
        (self.objects / "health").mkdir()
        self.journal = Journal(folder / "journal.db", self.clock)
        self.store = SqliteStore(folder / "store.db")
        self.policy: AccessPolicy = read_policy(privacy, TOKENS, folder)
        self.app = create_app(
            site=site,
            store=self.store,
            journal=self.journal,
            footage=self.footage,
            objects=self.objects,
            access=self.policy,
            clock=self.clock,
            **more,
        )
        self.server = ConsoleServer(self.app, port=0)
        self._stop = threading.Event()
        self._projector = threading.Thread(target=self._project, name="projector")
        self._recorders: list[Recorder] = []
        self._sequences: dict[tuple[str, str], int] = {}

    @property
    def url(self) -> str:
        return self.server.url

    def __enter__(self) -> Self:
        self._projector.start()
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for recorder in self._recorders:
            recorder.stop()
        self.server.stop()
        self.project_no_more()
        self.journal.close()
        self.store.close()

    def project_no_more(self) -> None:
        """What happens from now on does not reach the store."""
        self._stop.set()
        self._projector.join()

    def _project(self) -> None:
        bus = LogBus(self.journal, self.clock)
        subscription = bus.subscribe("store", start=self.store.offset)
        while not self._stop.is_set():
            catch_up(subscription, self.store, timeout_s=0.05)

    def camera_runs(self, camera: str, clip: Path, segment_s: float = 60.0) -> Recorder:
        """Record the clip in real time, in a loop, until the stage is struck."""
        recorder = Recorder(self, camera, clip, segment_s)
        self._recorders.append(recorder)
        return recorder

    def happens(
        self, data: AnyPayload, camera: str = "gate", time_us: int | None = None, *, source: str = ""
    ) -> Event:
        """An event of a camera (or of another source) goes into the journal now."""
        at = self.clock.wall_us() if time_us is None else time_us
        source = source or camera_source(self.site.id, camera)
        event = Event(id="", source=source, time_us=at, epoch=1, sequence=0, data=data)
        n = self._sequences.get((source, event.family), 0)
        self._sequences[source, event.family] = n + 1
        made = Event(
            id=event_id(source, event.family, n), source=source, time_us=at, epoch=1, sequence=n, data=data
        )
        self.journal.append([made])
        return made

    def settled(self) -> None:
        """All that happened is in the store."""
        self.journal.flush()
        last = self.journal.last_offset()
        for _ in range(400):
            if self.store.offset(self.journal.id) >= last:
                return
            self.clock.sleep(0.02)
        raise AssertionError("the projector did not keep up")

    def client(self, token: str = "", **more: Any) -> contextlib.AbstractContextManager[httpx.Client]:
        """A client of the API, with a bearer token if given."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers | more.pop("headers", {}), timeout=10, **more)
