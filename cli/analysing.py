"""How a site's cameras are analysed: which model, which rules, which views. Part of the wiring.

Live, resume and replay make their loops here, and only here.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from cli.settings import Camera, Settings
from detectors import manifest, onnx_detector
from detectors.detections import Tracker
from detectors.face_tracking import FACE_SCORES, FaceTracker
from detectors.onnx_detector import OnnxDetector
from detectors.shots import BestShots, CaptureArea, ShotSettings
from detectors.tracking import ByteTracker, Scores
from events.clock import Clock, thread_cpu_ns
from events.engine import Engine
from events.ground import Ground
from ingest.views import Views
from pipeline.analysis import Faces
from pipeline.contract import LoopSettings
from pipeline.lane import Lane, Sink
from pipeline.loop import CameraLoop
from pipeline.meter import Meter
from pipeline.policy import Policy
from storage.references import Learned, References


def detector(settings: Settings) -> OnnxDetector:
    """The site's model, ready to run; only the classes that some rule asks for."""
    model = settings.file.model
    name = _model(settings, onnx_detector.DEFAULT if model.name == "default" else model.name)
    known = manifest.read(name) if isinstance(name, Path) else manifest.named(name)
    asked = {label for camera in settings.file.camera for rule in camera.rules for label in rule.labels}
    asked.discard("face")
    hidden = set(settings.file.privacy.hidden) & set(known.names)  # found even where no rule asks for them
    return onnx_detector.load(
        name,
        threads=settings.threads,
        providers=model.providers,
        labels=sorted(asked | hidden) or None,
        least_score=model.score_low,
    )


def face_detector(settings: Settings, least_score: float = FACE_SCORES.low) -> OnnxDetector:
    """The model of the cameras of kind `face`."""
    return onnx_detector.load(
        _model(settings, settings.file.faces.model),
        threads=settings.threads,
        providers=settings.file.model.providers,
        least_score=least_score,
    )


def _model(settings: Settings, name: str) -> str | Path:
    return settings.path.parent / name if name.endswith(".toml") else name


def detectors(settings: Settings, cameras: Iterable[Camera]) -> dict[str, OnnxDetector]:
    """The cameras' detectors by camera id; each model is loaded once."""
    cameras = list(cameras)
    faces = face_detector(settings) if any(camera.kind == "face" for camera in cameras) else None
    others = detector(settings) if any(camera.kind != "face" for camera in cameras) else None
    chosen = {camera.id: faces if camera.kind == "face" else others for camera in cameras}
    return {id: model for id, model in chosen.items() if model is not None}


def scores(settings: Settings, camera: Camera) -> Scores:
    """The tracker's thresholds of confidence."""
    if camera.kind == "face":
        return FACE_SCORES
    model = settings.file.model
    return Scores(low=model.score_low, high=model.score_high, new=model.score_new)


def loop(
    settings: Settings, camera: Camera, model: OnnxDetector, meter: Meter, full: bool = False
) -> CameraLoop:
    """The camera's frame loop. `full`: everything is decoded, whatever the site file says."""
    analysis = settings.file.analysis
    return CameraLoop(
        LoopSettings(
            fps=analysis.fps,
            quiet_s=analysis.quiet_s,
            doze_s=analysis.doze_s,
            gop_limit_s=analysis.gop_limit_s,
            mode="full" if full or camera.decode in ("full", "auto") else "lazy",
        ),
        Engine(
            settings.file.site.id,
            camera.id,
            camera.rules,
            analysis.interval_s,
            grounds(camera),
            camera.place,
        ),
        _tracker(settings, camera),
        meter,
        # A passing face is small against its picture: it is looked for where something moves.
        look_closer=model.manifest.input if settings.file.model.crops or camera.kind == "face" else None,
        views=_views(settings, camera) if camera.kind == "dome" else None,
        faces=_faces(settings, camera) if camera.kind == "face" else None,
    )


def learned(settings: Settings, camera: Camera) -> Learned:
    """What was learned of a dome's presets; nothing of another camera's."""
    return References(settings.data / "presets").load(camera.id)


def _views(settings: Settings, camera: Camera) -> Views:
    known = learned(settings, camera)
    ids = {preset.id for preset in camera.preset}
    pictures = {id: shown for id, shown in known.pictures.items() if id in ids}
    return Views(pictures, known.positions)


def _tracker(settings: Settings, camera: Camera) -> Tracker:
    used = scores(settings, camera)
    return FaceTracker(scores=used) if camera.kind == "face" else ByteTracker(scores=used)


def _faces(settings: Settings, camera: Camera) -> Faces:
    area = CaptureArea(camera.face.area, camera.face.least_px)
    return Faces(area, BestShots(ShotSettings()), settings.file.faces.originals == "sealed")


def grounds(camera: Camera) -> dict[str, Ground]:
    """The camera's calibrations by preset; that of a camera that does not move under the empty name."""
    found = {preset.id: Ground(preset.ground) for preset in camera.preset if preset.ground}
    return found | ({"": Ground(camera.ground)} if camera.ground else {})


def digest(settings: Settings, camera: Camera) -> str:
    """Identifies what a camera was analysed with, apart from the model."""
    parts = [
        camera.rules,
        settings.file.analysis,
        camera.decode,
        scores(settings, camera),
        camera.kind,
        camera.place,
        camera.ground,
        camera.preset,
        camera.face,
        settings.file.faces.originals,
        learned(settings, camera).digest,
    ]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def lane_maker(
    settings: Settings, camera: Camera, model: OnnxDetector, clock: Clock, full: bool = False
) -> Callable[[Sink, Policy], Lane]:
    """Makes lanes for replays of the camera, each with a loop of its own."""

    def make(sink: Sink, policy: Policy) -> Lane:
        return Lane(camera.id, loop(settings, camera, model, Meter(thread_cpu_ns), full), sink, policy, clock)

    return make
