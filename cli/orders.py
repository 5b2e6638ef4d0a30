"""What `linli export` is asked for, checked before anything is done."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cli.settings import Camera, Settings
from cli.watching import moment
from console.plain import PURPOSE
from detectors import manifest, onnx_detector
from events.errors import ConfigError
from storage.masking import Region, check_region

FACES, PEOPLE, EVERYTHING = "faces", "people", "everything-tracked"
KINDS = (FACES, PEOPLE, EVERYTHING)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, checked."""

    camera: str
    stream: str
    span: tuple[int, int]
    out: Path
    masks: tuple[str, ...]
    """Of KINDS; none: plain."""
    regions: tuple[Region, ...]
    purpose: str

    @property
    def plain(self) -> bool:
        return not self.masks

    @property
    def hides(self) -> str:
        """In words."""
        count = len(self.regions)
        drawn = [f"{count} region{'s' if count > 1 else ''}"] if count else []
        return ", ".join([*self.masks, *drawn]) or "nothing"


def span(from_: str, to: str) -> tuple[int, int]:
    start, end = moment(from_), moment(to)
    assert start is not None
    assert end is not None
    if start >= end:
        raise ConfigError(f"--from {from_} does not lie before --to {to}; exchange them")
    return start, end


def target(out: Path, force: bool) -> Path:
    out = out.absolute()
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else "is in no folder that is there"
        raise ConfigError(f"--out {out} {what}; name a file in a folder that exists")
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already; give another name, or --force to overwrite it")
    return out


def region(text: str) -> Region:
    """
    Raises:
        ConfigError: it is none.
    """
    try:
        pairs = [point.split(",") for point in text.split()]
        region = tuple((float(x), float(y)) for x, y in pairs)
    except ValueError:
        raise ConfigError(
            f'--region {text!r} is not "x1,y1 x2,y2 x3,y3 ..." with fractions of the picture from 0 to 1'
        ) from None
    try:
        check_region(region)
    except ValueError as e:
        raise ConfigError(f"--region {text!r}: {e}") from None
    return region


def purpose(purpose: str, plain: bool) -> str:
    purpose = " ".join(purpose.split())
    least, most = PURPOSE
    if (plain or purpose) and not (least <= len(purpose) <= most and purpose.isprintable()):
        raise ConfigError(
            f"--purpose must say in {least} to {most} characters what the export is for"
            + (": --plain shows people" if plain else "")
        )
    return purpose


def masks(loaded: Settings, camera: Camera, masks: Sequence[str], plain: bool) -> tuple[str, ...]:
    """
    Raises:
        ConfigError: they contradict each other, or the camera's traces cannot know where people are.
    """
    if plain and masks:
        raise ConfigError("--plain hides nobody and --mask does; give one of them")
    chosen = () if plain else tuple(kind for kind in KINDS if kind in (masks or (FACES, PEOPLE)))
    if PEOPLE in chosen and "person" not in _looked_for(loaded, camera):
        why = (
            'of kind "face"'
            if camera.kind == "face"
            else "not asked for people by [privacy] pixelate or a rule"
        )
        raise ConfigError(
            f"camera {camera.id} is {why}: its traces do not know where people are, so they "
            f"cannot be hidden; give --mask {FACES} (bodies stay visible)"
        )
    return chosen


def _looked_for(loaded: Settings, camera: Camera) -> frozenset[str]:
    """The classes that the camera's analysis finds, as the site file is now."""
    if camera.kind == "face":
        return frozenset({"face"})
    name = loaded.file.model.name
    if name.endswith(".toml"):
        known = manifest.read(loaded.path.parent / name)
    else:
        known = manifest.named(onnx_detector.DEFAULT if name == "default" else name)
    asked = {label for one in loaded.file.camera for rule in one.rules for label in rule.labels} - {"face"}
    wanted = asked | set(loaded.file.privacy.pixelate) & set(known.names)
    return frozenset(wanted or known.names) & frozenset(known.names)
