"""The site file: TOML into frozen structs, every key checked, every error named with its place and its mend.

This module knows the file; components never see it. `cli/wiring.py` hands each its own values.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from cli.citysection import CitySection
from cli.engines import (
    BusSection,
    ClusterSection,
    ObjectsSection,
    ServeSection,
    StoreSection,
    TelemetrySection,
)
from cli.section import Id, Section, check_credentials
from console.access import PrivacySettings
from events.errors import ConfigError
from events.geometry import Point, is_simple, signed_area
from events.ground import Ground, Latitude, Longitude, PointPair
from events.joint_rules import Joint, check_joints
from events.rules import WHOLE, Line, Rule, Zone
from ingest import onvif
from ingest.sensorfile import Sensor, Sensors, check_sensors
from storage.captures import FacesSettings


class Site(Section, frozen=True, kw_only=True):
    """[site]"""

    id: Id
    """Names the site in every event; never change it once events were written."""
    name: str = ""
    """As the page shows it; the id by default."""
    data: str = "var"
    """Folder for journal, store, footage and pictures, relative to the site file."""


class Model(Section, frozen=True, kw_only=True):
    """[model]"""

    name: str = "default"
    """A name from `linli models list`, or the path of a manifest, relative to the site file."""
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    """Threads of one inference; 0: the cores, shared among the worker processes."""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """ONNX Runtime's execution providers in order of preference."""
    score_low: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Detections below this confidence are ignored; up to `score_high` they only continue tracks."""
    score_high: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.6
    """Detections from here on are confident."""
    score_new: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.7
    """What a detection needs to begin a track. Lower it for classes that the model is unsure of."""
    crops: bool = False
    """Look at crops around motion as well, so that a small model sees small people."""

    def __post_init__(self) -> None:
        if not self.score_low <= self.score_high <= self.score_new:
            raise ValueError("confidences must be in order: score_low <= score_high <= score_new")


class Recording(Section, frozen=True, kw_only=True):
    """[recording]"""

    segment_s: Annotated[float, msgspec.Meta(ge=2, le=3600)] = 60.0
    """Length of a segment; it ends at the first keyframe after so long."""
    keep_days: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """Footage and events older than this go."""
    max_gb: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Footage of all cameras together; the oldest goes first."""
    reserve_gb: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    """Free space that recording leaves on the disk."""
    pre_roll_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0
    """An alert's clip begins so long before its condition."""
    post_roll_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0
    """A clip ends so long after the alert was raised."""


class Analysis(Section, frozen=True, kw_only=True):
    """[analysis]"""

    fps: Annotated[float, msgspec.Meta(gt=0, le=30)] = 5.0
    """Pictures a second that are looked at while something moves."""
    quiet_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    """Nothing moved and nothing is tracked for so long: only keyframes are decoded."""
    doze_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0
    """Something is tracked but nothing moved for so long: only keyframes are looked at."""
    gop_limit_s: Annotated[float, msgspec.Meta(gt=0, le=20)] = 2.0
    """Keyframes further apart than this: everything is decoded."""
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 60
    """Length of the intervals that counts are summed over."""


class Workers(Section, frozen=True, kw_only=True):
    """[workers]"""

    processes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """0: one for every 16 cameras, at most one a core."""


class Console(Section, frozen=True, kw_only=True):
    """[console]"""

    enabled: bool = True
    """Whether there is a page."""
    host: str = "127.0.0.1"
    """Address to listen on; others than 127.0.0.1 need a token in every grant."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    hosts: tuple[Annotated[str, msgspec.Meta(pattern=r"^[^/:@\s]+$")], ...] = ()
    """Names that the page is called by, besides addresses and localhost: `["cameras.example.org"]`."""


class Preset(Section, frozen=True, kw_only=True):
    """[[camera.preset]]: a view of a dome. `linli presets learn` keeps its reference pictures."""

    id: Id
    """Names the view in rules and events."""
    name: str = ""
    """As the page shows it; the id by default."""
    ground: tuple[PointPair, ...] = ()
    """At least four points of the view and where they are: foot points get places, speeds metres."""


class FaceCamera(Section, frozen=True, kw_only=True):
    """[camera.face]: where a camera of kind `face` captures."""

    area: tuple[Point, ...] = WHOLE
    """Corners of the capture area, fractions of the picture. Faces outside it are not captured."""
    least_px: Annotated[float, msgspec.Meta(ge=8)] = 24.0
    """Faces less wide than this, in pixels of the analysed picture, are not captured."""

    def __post_init__(self) -> None:
        inside = all(0 <= x <= 1 and 0 <= y <= 1 for x, y in self.area)
        if len(self.area) < 3 or not inside or not is_simple(self.area) or not signed_area(self.area):
            raise ValueError(
                "the capture area needs at least 3 corners, fractions of the picture from 0 to 1, in order, "
                "so that its outline neither crosses nor touches itself"
            )


class Camera(Section, frozen=True, kw_only=True):
    """[[camera]]"""

    id: Id
    """Names the camera in events and folders; never change it."""
    name: str = ""
    """As the page shows it; the id by default."""
    kind: Literal["gun", "dome", "face"] = "gun"
    """Fixed, pan-tilt-zoom or face capture."""
    url: str
    """rtsp://host[:port]/path of the main stream, without a password."""
    sub_url: str = ""
    """The sub-stream. Where there is one it is analysed, and both are recorded."""
    credentials: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding user:password."""
    transport: Literal["tcp", "udp"] = "tcp"
    decode: Literal["auto", "lazy", "full"] = "auto"
    """auto: everything while the box has room; lazy: keyframes while quiet; full: everything."""
    stall_s: Annotated[float, msgspec.Meta(ge=1, le=60)] = 5.0
    """No video for so long: the connection is given up and made anew."""
    rules: tuple[Rule, ...] = ()
    """What is counted and alerted; a dome's rules name their `preset`."""
    place: tuple[Longitude, Latitude] | None = None
    """Where the camera is, degrees, WGS 84."""
    ground: tuple[PointPair, ...] = ()
    """At least four points of the picture and where they are: foot points get places, speeds metres."""
    preset: tuple[Preset, ...] = ()
    """The views of a dome."""
    onvif: str = ""
    """http://host[:port]/onvif/device_service of a dome that tells where it looks: a second witness beside
    the picture. It is asked with the same credentials."""

    face: FaceCamera = FaceCamera()
    """Where a camera of kind `face` captures; by default in the whole picture."""

    @property
    def analysed(self) -> str:
        """Which stream is analysed."""
        return "sub" if self.sub_url else "main"

    def __post_init__(self) -> None:
        for key, url in (("url", self.url), ("sub_url", self.sub_url)):
            if url and not url.startswith(("rtsp://", "rtsps://")):
                raise ValueError(f"camera {self.id}: {key} must begin with rtsp:// or rtsps://")
            if "@" in url.removeprefix("rtsp://").removeprefix("rtsps://").split("/", 1)[0]:
                raise ValueError(
                    f"camera {self.id}: {key} carries a password; move it out of this file "
                    f'and write credentials = "env:NAME" or "file:PATH"'
                )
            try:
                _ = urlsplit(url).port
            except ValueError:
                raise ValueError(
                    f"camera {self.id}: {key} is not rtsp://host[:port]/path with a port from 0 to 65535"
                ) from None
        check_credentials(f"camera {self.id}", self.credentials)
        names = [rule.name for rule in self.rules]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"camera {self.id}: rule names must differ, twice: {', '.join(sorted(twice))}")
        self._check_ground()
        self._check_views()

    def _check_ground(self) -> None:
        views = [("ground", self.ground), *((f"preset {p.id}: ground", p.ground) for p in self.preset)]
        for where, pairs in views:
            if pairs:
                try:
                    Ground(pairs)
                except ValueError as e:
                    raise ValueError(f"camera {self.id}: {where}: {e}") from None

    def _check_views(self) -> None:
        ids = [preset.id for preset in self.preset]
        if twice := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"camera {self.id}: preset ids must differ, twice: {', '.join(sorted(twice))}")
        if self.kind != "dome" and (self.preset or self.onvif):
            raise ValueError(f'camera {self.id}: presets and onvif are of a dome; write kind = "dome"')
        if self.onvif:
            try:
                onvif.address(self.onvif)
            except ConfigError as e:
                raise ValueError(f"camera {self.id}: {e}") from None
        if self.kind != "face" and self.face != FaceCamera():
            raise ValueError(f'camera {self.id}: a capture area is of a face camera; write kind = "face"')
        if self.kind == "dome" and self.ground:
            raise ValueError(
                f"camera {self.id}: a dome has ground points for each of its presets, not one set"
            )
        for rule in self.rules:
            if rule.preset and rule.preset not in ids:
                known = ", ".join(ids) or "none"
                raise ValueError(
                    f"camera {self.id}: rule {rule.name!r} belongs to preset {rule.preset!r}, which is not "
                    f"there (there are {known}); add it as [[camera.preset]] or mend the name"
                )
            if self.kind == "dome" and not rule.preset:
                raise ValueError(
                    f"camera {self.id}: rule {rule.name!r} needs a preset: a dome's lines and zones hold for "
                    "one view only"
                )
            if self.kind == "face" and rule.labels != ("face",):
                raise ValueError(
                    f"camera {self.id}: rule {rule.name!r} is about {', '.join(rule.labels)}, and a "
                    'face camera finds faces alone; write labels = ["face"], or give it to another camera'
                )
            if self.kind != "face" and "face" in rule.labels:
                raise ValueError(
                    f"camera {self.id}: rule {rule.name!r} is about faces, which only a face camera "
                    'looks for; write kind = "face", or other labels'
                )


class SiteFile(Section, frozen=True, kw_only=True):
    """The whole file."""

    site: Site
    camera: tuple[Camera, ...] = ()
    model: Model = Model()
    recording: Recording = Recording()
    analysis: Analysis = Analysis()
    workers: Workers = Workers()
    console: Console = Console()
    privacy: PrivacySettings = PrivacySettings()
    faces: FacesSettings = FacesSettings()
    sensors: Sensors = Sensors()
    sensor: tuple[Sensor, ...] = ()
    joint: tuple[Joint, ...] = ()
    bus: BusSection = BusSection()
    store: StoreSection = StoreSection()
    objects: ObjectsSection = ObjectsSection()
    cluster: ClusterSection = ClusterSection()
    serve: ServeSection = ServeSection()
    telemetry: TelemetrySection = TelemetrySection()
    city: CitySection = CitySection()

    def __post_init__(self) -> None:
        if not self.camera and not self.sensor and not self.bus.bootstrap and not self.city.code:
            raise ValueError(
                "at least one [[camera]] or [[sensor]] is needed (or [bus] or [city], for a command centre)"
            )
        if self.cluster.shares and not self.bus.bootstrap:
            raise ValueError("[cluster] needs a [bus]: the brokers say which box reads which camera")
        ids = [camera.id for camera in self.camera]
        if twice := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"camera ids must differ, twice: {', '.join(sorted(twice))}")
        rules = {c.id: [rule.name for rule in c.rules] for c in self.camera}
        check_sensors(self.sensor, rules)
        for gateway in self.sensors.http.gateway:
            if unknown := sorted(set(gateway.sensors) - {sensor.id for sensor in self.sensor}):
                raise ValueError(
                    f"gateway {gateway.who!r}: there is no sensor {unknown[0]!r} "
                    f"(there are {', '.join(sensor.id for sensor in self.sensor) or 'none'})"
                )
        telling = {c.id: [rule.name for rule in c.rules if _tells(rule)] for c in self.camera}
        check_joints(self.joint, telling, {s.id: [rule.name for rule in s.rules] for s in self.sensor})


def _tells(rule: Rule) -> bool:
    """Whether the rule ever raises an alert."""
    return not isinstance(rule, Zone) and not (isinstance(rule, Line) and rule.alert_on == "never")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A site file and where it lies."""

    path: Path
    file: SiteFile

    @property
    def data(self) -> Path:
        """The data folder. `LINLI_DATA` in the environment overrides the file."""
        return Path(os.environ.get("LINLI_DATA") or self.path.parent / self.file.site.data).resolve()

    @property
    def projects(self) -> bool:
        """Whether the box itself brings its journal's events into its store."""
        return not self.file.bus.bootstrap or self.file.bus.projector

    @property
    def keeps_store(self) -> bool:
        """Whether the box's store is a file of its own."""
        return not self.file.store.url or bool(self.file.bus.bootstrap and self.file.bus.projector)

    @property
    def box(self) -> str:
        """This box's name. `LINLI_BOX` in the environment overrides the file; without both, the host's."""
        return os.environ.get("LINLI_BOX") or self.file.cluster.box or os.uname().nodename

    @property
    def processes(self) -> int:
        """Worker processes to run."""
        cameras = len(self.file.camera)
        return min(self.file.workers.processes or min(-(-cameras // 16), os.cpu_count() or 1), cameras)

    @property
    def threads(self) -> int:
        """Threads of one inference in each process."""
        processes = max(self.processes, self.file.cluster.shares, 1)  # a box alone reads all shares
        return self.file.model.threads or max(1, (os.cpu_count() or 1) // processes)

    def camera(self, id: str) -> Camera:
        """The camera with this id.

        Raises:
            ConfigError: there is none.
        """
        for camera in self.file.camera:
            if camera.id == id:
                return camera
        known = ", ".join(camera.id for camera in self.file.camera)
        raise ConfigError(f"{self.path}: no camera {id!r}; the file has {known}")


def load(path: Path) -> Settings:
    """Read and check a site file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or a key or value is wrong; the message names the place.
    """
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"cannot read the site file {path}: {e.strerror}") from None
    try:
        file = msgspec.toml.decode(raw, type=SiteFile)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{path}: {_readable(str(e))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} is not TOML: {e}") from None
    return Settings(path=path.resolve(), file=file)


def _readable(text: str) -> str:
    """msgspec's `... - at `$.camera[0].kind`` with the place in front, as the file spells it."""
    text = text.replace("Object contains unknown field", "unknown key")
    text = text.replace("Object missing required field", "missing key")
    match = re.fullmatch(r"(?s)(.*) - at `\$?\.?(.*)`", text)
    return f"in {match[2]}: {match[1]}" if match else text
