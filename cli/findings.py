"""What `linli doctor` finds in the settings of domes, face cameras, calibrations and sensors."""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from cli import analysing, wiring
from cli.ground import calibrations
from cli.sensors import secrets
from cli.settings import Camera, Settings
from detectors import models
from events.clock import Clock
from events.errors import ConfigError
from events.ground import Ground
from ingest import onvif

GROUND_WARN_M = 1.0
"""A calibration that is off by more than this is worth a second look."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str
    figures: dict[str, float | str] = {}


def faces(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """The face cameras' model, and what becomes of the pictures.

    Raises:
        ModelError: the model is missing or does not fit.
    """
    model = analysing.face_detector(settings)
    name = settings.file.faces.model
    if name.endswith(".toml"):
        name = str(settings.path.parent / name)
    speed = models.bench(name, clock, rounds=8, threads=settings.threads)
    kept = settings.file.faces
    text = f"{model.manifest.name} ({model.manifest.licence}), its checksum fits, {speed.total_ms:.1f} ms; "
    text += f"pixelated crops are kept {kept.keep_days:g} days, originals "
    text += "not at all" if kept.originals == "none" else f"{kept.sealed_days:g} days, encrypted"
    yield Finding(what="faces", state="ok", text=text, figures={"ms": round(speed.total_ms, 2)})
    if kept.identity and not (settings.path.parent / kept.identity).is_file():
        raise ConfigError(
            f"faces.identity: {settings.path.parent / kept.identity} is not there; make it with "
            "`linli faces keygen`, or leave `identity` out where originals are not to be opened"
        )


def copies(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The object store that the site copies to. Raises ConfigError."""
    from cli import shipping  # needs a client that a box without an object store need not have
    from storage import s3setup

    place = shipping.s3_place(settings, environ)
    for seen in s3setup.check(place, shipping.wanted(settings)):
        yield Finding(what=f"objects/{seen.what}", state=seen.state, text=seen.text)


def presets(settings: Settings, camera: Camera) -> Iterator[Finding]:
    """Whether a dome knows the presets that its rules belong to."""
    what = f"camera {camera.id}/presets"
    learned = analysing.learned(settings, camera)
    used = {rule.preset for rule in camera.rules}
    missing = [preset.id for preset in camera.preset if not learned.pictures.get(preset.id)]
    for preset in missing:
        text = f"{preset!r} is not learned, so "
        text += "none of its rules is ever applied" if preset in used else "it is never recognised"
        learn = f"linli presets learn SITE --camera {camera.id} --preset {preset}"
        yield Finding(what=what, state="warn", text=f"{text}; turn the camera there and call `{learn}`")
    for text in learned.damaged:
        yield Finding(what=what, state="fail", text=text)
    if not camera.preset:
        text = "no [[camera.preset]]: a dome without presets is recorded and never analysed"
        yield Finding(what=what, state="warn", text=text)
    elif len(missing) < len(camera.preset):
        counts = {id: len(shown) for id, shown in sorted(learned.pictures.items())}
        known = ", ".join(f"{id} ({count})" for id, count in counts.items())
        yield Finding(what=what, state="ok", text=f"learned, with so many pictures: {known}")


def grounds(camera: Camera) -> Iterator[Finding]:
    """How well its calibrations fit."""
    for preset, pairs in calibrations(camera):
        fit = Ground(pairs)
        what = f"camera {camera.id}/ground" + (f"/{preset}" if preset else "")
        figures: dict[str, float | str] = {"error_m": round(fit.error_m, 3), "pairs": len(pairs)}
        if len(pairs) == 4:
            text = "four pairs always fit; add a fifth to have a check"
            yield Finding(what=what, state="ok", text=text, figures=figures)
            continue
        state: Literal["ok", "warn"] = "warn" if fit.error_m > GROUND_WARN_M else "ok"
        text = f"{len(pairs)} pairs, off by {fit.error_m:.2f} m"
        if state == "warn":
            text += "; `linli ground` shows which pair is the worst"
        yield Finding(what=what, state=state, text=text, figures=figures)


def position(settings: Settings, camera: Camera) -> Iterator[Finding]:
    """Whether a dome with `onvif` tells where it looks.

    Raises:
        SourceError: it does not, or refuses the login.
    """
    told = onvif.ask(camera.onvif, wiring.secret(camera.credentials, settings.path.parent))
    text = f"it tells where it looks: pan {told.pan:g}, tilt {told.tilt:g}, zoom {told.zoom:g}"
    yield Finding(what=f"camera {camera.id}/onvif", state="ok", text=text)


def sensors(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether anything brings the sensors' readings here.

    Raises:
        ConfigError: a password or token cannot be read.
    """
    file = settings.file
    secrets(settings, environ)
    ways = [f"{broker.host}:{broker.port}" for broker in file.sensors.mqtt]
    ways += [f"http://{file.sensors.http.host}:{file.sensors.http.port}"] if file.sensors.http.port else []
    if not ways:
        text = "readings come by no way; add [[sensors.mqtt]], or a port in [sensors.http]"
        yield Finding(what="sensors", state="fail", text=text)
    else:
        text = f"{len(file.sensor)} sensors; readings come by {', '.join(ways)}"
        yield Finding(what="sensors", state="ok", text=text)
