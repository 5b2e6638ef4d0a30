"""The one place where settings become components. Each is given its own values, never the settings."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import msgspec

from cli import analysing, maplibrary, observing
from cli.settings import Camera, Settings
from console.access import check_bind, read_policy
from console.app import create_app
from console.server import ConsoleServer
from console.site import CameraView, PresetView, SensorView, SiteView
from detectors.onnx_detector import OnnxDetector
from events.clock import Clock, thread_cpu_ns
from events.errors import ConfigError, StorageError
from events.events import Place, camera_source
from events.joint import JointEngine
from ingest import credentials
from ingest.credentials import Credentials
from ingest.onvif import PtzPoller
from ingest.rtsp import RtspSource
from ingest.source import Opened
from ingest.views import PtzPosition
from pipeline.announce import AnnouncingIndex
from pipeline.camera import ANALYSED_FRAGMENT_S, Claim, Reader
from pipeline.contract import Note
from pipeline.evidence import Evidence, EvidenceSettings, sweep_evidence
from pipeline.faults import FaultPictures
from pipeline.figures import RunFigures
from pipeline.housekeeping import Housekeeper
from pipeline.joint import JointService
from pipeline.judgements import Judgements
from pipeline.lane import Lane
from pipeline.meter import Meter
from pipeline.policy import Limits, Live
from pipeline.portraits import Portraits
from pipeline.projector import Projector
from pipeline.resume import resume, unfinished
from pipeline.scheduler import Scheduler, SchedulerSettings
from pipeline.service import Service
from pipeline.sink import JournalSink, unpack
from pipeline.worker import Worker
from storage import retention, trace
from storage.brokers import Brokers
from storage.captures import sweep_faces
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects
from storage.opening import open_store
from storage.orphans import clear_orphans
from storage.recovery import cameras_of, recover
from storage.segments import SegmentWriter
from storage.store import Store

if TYPE_CHECKING:
    from console.city.context import CityParts

log = logging.getLogger(__name__)


class Paths:
    """What lies where in the data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.journal = data / "journal.db"
        self.store = data / "store.db"
        self.footage = data / "footage"
        self.objects = data / "objects"
        self.run = data / "run"

    def make(self) -> "Paths":
        """Create the folders.

        Raises:
            StorageError: one cannot be made.
        """
        for folder in (self.data, self.footage, self.objects, self.run):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise refused(folder, e) from None
        return self


def refused(path: Path, error: OSError) -> StorageError:
    """What is said of a place that cannot be written."""
    return StorageError(f"{path} cannot be written: {error.strerror}; mend its rights or its mount")


def open_journal(settings: Settings, clock: Clock) -> Journal:
    """The box's journal, created if there is none."""
    paths = Paths(settings.data).make()
    return Journal(paths.journal, clock)


def store(settings: Settings) -> Store:
    """The box's store: the file in its data folder, or the one that the site names if the box keeps none.

    Raises:
        StorageError: it cannot be opened.
    """
    if settings.keeps_store:
        return open_store(Paths(settings.data).make().store)
    return site_store(settings)


def site_store(settings: Settings) -> Store:
    """The store that the site file names, by default the file in the data folder. Raises like `store`."""
    section = settings.file.store
    login = secret(section.credentials, settings.path.parent)
    return open_store(section.url or Paths(settings.data).make().store, login)


@contextlib.contextmanager
def city(what: str) -> Iterator[None]:
    """Within it what needs the engines' clients is imported.

    Raises:
        ConfigError: one is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        raise ConfigError(f"{what} needs {e.name}: install linli[city]") from None


def brokers(settings: Settings) -> Brokers:
    """Kafka's brokers as the site file names them.

    Raises:
        ConfigError: it names none, or the credentials are not there.
    """
    bus, base = settings.file.bus, settings.path.parent
    if not bus.bootstrap:
        raise ConfigError(f"{settings.path} names no brokers; add [bus] with bootstrap")

    def file(name: str) -> str:
        return str(base / name) if name else ""

    return Brokers(
        bootstrap=bus.bootstrap,
        prefix=bus.prefix,
        security=bus.security,
        ca=file(bus.ca),
        certificate=file(bus.certificate),
        key=file(bus.key),
        mechanism=bus.mechanism,
        login=secret(bus.credentials, base),
        compression=bus.compression,
        client=f"linli-{settings.file.site.id}-{settings.box}",
    )


def secret(named: str, base: Path) -> Credentials | None:
    """The credentials that the site file names as `env:NAME` or `file:PATH` (mode 600, relative to `base`);
    None if it names none.

    Raises:
        ConfigError: they are named but not there, or the file may be read by others.
    """
    way, _, name = named.partition(":")
    if way == "env":
        return credentials.from_environment(name, os.environ)
    if way == "file":
        return credentials.from_file(base / name)
    return None


def source(settings: Settings, camera: Camera, stream: Literal["main", "sub"], clock: Clock) -> RtspSource:
    """A connection to one of the camera's streams, not yet opened."""
    return RtspSource(
        camera.sub_url if stream == "sub" else camera.url,
        clock=clock,
        credentials=secret(camera.credentials, settings.path.parent),
        transport=camera.transport,
        stall_s=camera.stall_s - 0.5,
    )


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker process does."""

    name: str
    """Under which its place in the journal is kept."""
    number: int
    cameras: tuple[Camera, ...]
    strangers: bool
    """Whether it finishes, too, what was left of cameras that the site file has no more."""
    box: str = ""
    tokens: Mapping[str, int] = {}
    """Camera -> token of its claim, where several boxes share the cameras."""


def shard(settings: Settings, number: int, of: int) -> Part:
    """Part `number` of `of` on a box that reads all cameras."""
    cameras = settings.file.camera[number::of]
    return Part(name=f"{number}/{of}", number=number, cameras=cameras, strangers=number == 0)


def worker(settings: Settings, part: Part, clock: Clock) -> Worker:
    """A worker: recover what a kill left of its cameras, resume it, and be ready to run."""
    cv2.setNumThreads(1)  # the gate's small pictures are not worth OpenCV's threads
    paths = Paths(settings.data).make()
    journal = Journal(paths.journal, clock)
    cameras = part.cameras
    models = analysing.detectors(settings, cameras)
    recover_left(settings, journal, part, clock)
    meter = Meter(thread_cpu_ns)
    for model in models.values():
        model.mark = meter.stop
    readers: list[Reader] = []
    lanes: list[Lane] = []
    for camera in cameras:
        model = models[camera.id]
        lane = _lane(settings, camera, model, journal, meter, clock)
        lanes.append(lane)
        for stream in ("sub", "main") if camera.sub_url else ("main",):
            readers.append(_reader(settings, camera, stream, model, journal, clock))
            if stream == camera.analysed:
                readers[-1].lane = lane
                if camera.id in part.tokens:
                    readers[-1].claim = Claim(part.box, part.tokens[camera.id])
    auto = frozenset(camera.id for camera in cameras if camera.decode == "auto")
    scheduler = Scheduler(models, lanes, auto, SchedulerSettings(), clock, meter)
    for reader in readers:
        if reader.lane is not None:
            reader.analyse(reader.lane, scheduler.notify)
    by_source = {camera_source(settings.file.site.id, lane.camera): lane for lane in lanes}
    judgements = Judgements(part.name, journal, by_source)
    beside = [poller for lane in lanes if (poller := _poller(settings, lane, clock)) is not None]
    return Worker(
        f"worker-{part.number}",
        readers,
        lanes,
        scheduler,
        journal,
        clock,
        polls=[judgements.poll],
        beside=beside,
    )


def recover_left(settings: Settings, journal: Journal, part: Part, clock: Clock) -> None:
    """Finish the segments that a kill left of the part's cameras, and end the epochs of streams that are not
    analysed (the others are resumed).

    Raises:
        StorageError: footage or journal cannot be written.
    """
    footage = Paths(settings.data).footage
    index = AnnouncingIndex(journal, settings.file.site.id, clock)
    analysed = {camera.id: camera.analysed for camera in part.cameras}
    left = journal.open_epochs()
    strangers: set[str] = set()
    if part.strangers:
        known = {camera.id for camera in settings.file.camera}
        strangers = (cameras_of(footage, journal) | {camera for camera, _, _ in left}) - known
    recover(footage, index, strangers | set(analysed))
    for camera, stream, epoch in left:
        if camera in strangers or stream != analysed.get(camera, stream):
            journal.end_epoch(camera, stream, epoch, 0, "killed")


def _reader(
    settings: Settings,
    camera: Camera,
    stream: Literal["main", "sub"],
    model: OnnxDetector,
    journal: Journal,
    clock: Clock,
) -> Reader:
    footage = Paths(settings.data).footage
    index = AnnouncingIndex(journal, settings.file.site.id, clock)

    def writer(epoch: int, opened: Opened) -> SegmentWriter:
        return SegmentWriter(
            footage,
            camera.id,
            stream,
            epoch,
            opened.info,
            index,
            segment_s=settings.file.recording.segment_s,
            fragment_s=ANALYSED_FRAGMENT_S if stream == camera.analysed else 1.0,
            model=model.digest if stream == camera.analysed else "",
        )

    reader = Reader(
        camera.id,
        stream,
        settings.file.site.id,
        lambda: source(settings, camera, stream, clock),
        writer,
        journal,
        clock,
    )
    # What was said of a stream that is not read any more is the main stream's to clear.
    read = {"main", camera.analysed}
    told = journal.raised(camera_source(settings.file.site.id, camera.id))
    reader.take_over({what for what, of in told.items() if (of if of in read else "main") == stream})
    return reader


def _poller(settings: Settings, lane: Lane, clock: Clock) -> PtzPoller | None:
    """What asks the lane's dome where it looks; None if it has nothing to ask."""
    camera = settings.camera(lane.camera)
    policy = lane.policy
    if not camera.onvif or not isinstance(policy, Live):
        return None

    def heard(at: PtzPosition) -> None:
        policy.tell(trace.Position(pts=0, pan=at.pan, tilt=at.tilt, zoom=at.zoom, moving=at.moving))

    def health(state: Literal["raised", "cleared"], text: str) -> None:
        try:
            lane.tell(Note("onvif", state, text))
        except StorageError as error:  # the dome is asked on
            log.error("%s; not noted: %s", error, text)

    login = secret(camera.credentials, settings.path.parent)
    return PtzPoller(camera.onvif, login, clock, heard, on_health=health)


def _lane(
    settings: Settings, camera: Camera, model: OnnxDetector, journal: Journal, meter: Meter, clock: Clock
) -> Lane:
    """The camera's live lane, after what a killed worker left undone was done."""
    footage = Paths(settings.data).footage
    frame_loop = analysing.loop(settings, camera, model, meter)
    raised = journal.raised(camera_source(settings.file.site.id, camera.id))

    def sink(resume_pts: int | None = None) -> JournalSink:
        return JournalSink(
            settings.file.site.id,
            camera.id,
            camera.analysed,
            journal,
            footage,
            model=model.digest,
            settings=analysing.digest(settings, camera),
            clock=clock,
            resume_pts=resume_pts,
            raised=raised,
        )

    before = journal.snapshot(camera.id, camera.analysed)
    if before is not None:
        try:
            frame_loop.remember(unpack(before.blob))
        except (KeyError, TypeError, ValueError) as e:  # an earlier version's
            log.warning("%s: what was learned before is not understood (%r) and begins anew", camera.id, e)
    left = unfinished(journal, camera.id, camera.analysed)
    if frame_loop.running is not None and frame_loop.running[0] not in {row.epoch for row in left}:
        sink().abandoned(frame_loop, frame_loop.running[0])  # its analysis was given up before the restart
    for epoch in left:
        resume(
            journal,
            epoch,
            footage,
            model,
            lambda sink, policy: Lane(camera.id, frame_loop, sink, policy, clock),
            sink,
        )
    journal.flush()
    live = sink()
    live.restarted(frame_loop.wrong)
    return Lane(camera.id, frame_loop, live, Live(Limits()), clock)


# --- services and console


def box_source(settings: Settings) -> str:
    """CloudEvents source of this box."""
    return f"/{settings.file.site.id}/box/{settings.box}"


def services(settings: Settings, clock: Clock) -> list[Service]:
    """Projector, evidence, housekeeping; in the order in which they stop."""
    paths = Paths(settings.data).make()
    file = settings.file
    journal = Journal(paths.journal, clock)
    kept = store(settings)
    bus = LogBus(journal, clock)
    objects = FolderObjects(paths.objects)
    analysed = {camera.id: camera.analysed for camera in file.camera}
    recording = file.recording
    labels = file.privacy.hidden

    def stream(camera: str) -> str:
        return analysed.get(camera, "main")

    evidence = Evidence(
        bus,
        journal,
        paths.footage,
        objects,
        stream,
        EvidenceSettings(pre_s=recording.pre_roll_s, post_s=recording.post_roll_s, labels=labels),
        clock,
    )
    faults = FaultPictures(bus, journal, paths.footage, objects, stream, labels, clock)
    portraits = Portraits(bus, journal, paths.footage, objects, stream, file.faces, clock)

    uploads, unsent = _uploads(settings, journal, clock)

    def holds() -> list[retention.Hold]:
        margin = int((recording.pre_roll_s + recording.post_roll_s + 60) * 1e6)
        alerts = [
            retention.Hold(row.source.rsplit("/", 1)[1], row.since_us - margin, row.updated_us + margin)
            for row in kept.alerts(limit=10_000, open_only=True)
        ]
        return [*alerts, *unsent()]

    limits = retention.Limits(
        max_age_s=recording.keep_days * 86_400,
        max_bytes=int(recording.max_gb * 1e9) if recording.max_gb is not None else None,
        reserve_bytes=int(recording.reserve_gb * 1e9),
    )

    known = {
        "camera": {camera.id for camera in file.camera},
        "sensor": {sensor.id for sensor in file.sensor},
        "joint": {joint.name for joint in file.joint},
    }

    def old(before_us: int) -> int:
        faces = sweep_faces(objects, kept, journal, clock.wall_us(), file.faces)
        for kind, ids in known.items():
            clear_orphans(kept, journal, f"/{file.site.id}/{kind}/", ids, clock.wall_us())
        return sweep_evidence(objects, kept, before_us) + kept.prune(before_us) + faces

    housekeeper = Housekeeper(journal, paths.footage, limits, holds, old, box_source(settings), clock)
    joint = JointService(bus, journal, JointEngine(file.site.id, file.joint), clock)
    running: list[Service] = [joint, evidence, faults, portraits, housekeeper, *uploads]
    tracer = observing.tracer(settings, clock)
    traces = observing.Traces(tracer, journal, clock, relayed=bool(file.bus.bootstrap)) if tracer else None
    if file.bus.bootstrap:
        from cli import relaying  # needs a client that a box without brokers need not have

        running.append(relaying.relay(settings, journal, clock, traces.sent if traces else None))
    if settings.projects:
        running.append(Projector(bus, kept, clock, seen=traces.seen if traces else None))
    return [*running, traces] if traces else running


def _uploads(
    settings: Settings, journal: Journal, clock: Clock
) -> tuple[list[Service], Callable[[], list[retention.Hold]]]:
    """What copies to an object store, if the site has one; and which footage waits for it and is to stay.

    The disk's reserve goes before: nothing is held while it is short.
    """
    if not settings.file.objects.url:
        return [], list
    from cli import shipping  # needs a client that a box without an object store need not have

    spool = shipping.open_spool(settings)
    footage = Paths(settings.data).footage
    reserve = int(settings.file.recording.reserve_gb * 1e9)

    def unsent() -> list[retention.Hold]:
        short = shutil.disk_usage(footage).free < reserve
        return [] if short else shipping.holds(settings, spool, clock.wall_us())

    return [shipping.shipper(settings, journal, spool, clock)], unsent


def _desk(settings: Settings, journal: Journal, clock: Clock) -> "CityParts | None":
    """Parts of the city's desk, if the site has one."""
    if not settings.file.city.code:
        return None
    with city("the city's desk"):
        from cli import cityhall  # needs packages that a box without a desk need not have

    return cityhall.parts(settings, cityhall.opened(settings, clock, journal), clock)


def camera_view(camera: Camera) -> CameraView:
    """What the page is told of a camera."""
    grounds = analysing.grounds(camera)

    def seen(preset: str) -> tuple[Place, ...] | None:
        return tuple(grounds[preset].view()) if preset in grounds else None

    return CameraView(
        id=camera.id,
        name=camera.name or camera.id,
        kind=camera.kind,
        stream=camera.analysed,
        rules=camera.rules,
        place=camera.place,
        view=seen(""),
        presets=tuple(PresetView(id=p.id, name=p.name or p.id, view=seen(p.id)) for p in camera.preset),
    )


def console(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> ConsoleServer:
    """The page's server.

    Raises:
        ConfigError: the address is open to others and the site file grants nobody but loopback anything.
    """
    paths = Paths(settings.data).make()
    file = settings.file
    policy = read_policy(file.privacy, environ, settings.path.parent)
    check_bind(file.console.host, policy)
    view = SiteView(
        id=file.site.id,
        name=file.site.name or file.site.id,
        cameras=tuple(camera_view(c) for c in file.camera),
        sensors=tuple(
            SensorView(
                id=s.id,
                name=s.name or s.id,
                place=s.place,
                component=s.component,
                camera=s.camera,
                zone=s.zone,
            )
            for s in file.sensor
        ),
    )
    journal = Journal(paths.journal, clock)
    app = create_app(
        site=view,
        store=store(settings),
        journal=journal,
        footage=paths.footage,
        objects=paths.objects,
        access=policy,
        clock=clock,
        hosts=file.console.hosts,
        faces=file.faces,
        identity=settings.path.parent / file.faces.identity if file.faces.identity else None,
        figures=(RunFigures(paths.run, journal, clock),),
        city=_desk(settings, journal, clock),
        library=maplibrary.present(),
    )
    return ConsoleServer(app, file.console.host, file.console.port)
