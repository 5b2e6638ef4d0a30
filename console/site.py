"""What the console knows of the site: frozen values, given once at start."""

import msgspec

from events.events import Place
from events.rules import Rule


class PresetView(msgspec.Struct, frozen=True, kw_only=True):
    """One view of a dome."""

    id: str
    name: str
    view: tuple[Place, ...] | None = None
    """The ground that it sees there, as a polygon; None without a calibration."""


class CameraView(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the page shows it."""

    id: str
    name: str
    kind: str
    """gun, dome or face."""
    stream: str
    """The stream that is analysed and shown live, e.g. sub."""
    rules: tuple[Rule, ...] = ()
    """Coordinates are fractions of the picture, 0 to 1."""
    place: Place | None = None
    """Where the camera is."""
    view: tuple[Place, ...] | None = None
    """The ground that it sees, as a polygon; None without a calibration, and of a dome."""
    presets: tuple[PresetView, ...] = ()
    """Of a dome."""


class SensorView(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor as the page shows it."""

    id: str
    name: str
    place: Place | None = None
    component: str = ""
    """The city component that it belongs to, a manhole for example."""
    camera: str = ""
    """The camera that sees it."""
    zone: str = ""
    """The zone of that camera that it belongs to."""


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """The site, its cameras and its sensors."""

    id: str
    name: str
    cameras: tuple[CameraView, ...]
    sensors: tuple[SensorView, ...] = ()

    def camera(self, id: str) -> CameraView | None:
        """The camera of that id, None if the site has none."""
        return next((c for c in self.cameras if c.id == id), None)

    def sensor(self, id: str) -> SensorView | None:
        """The sensor of that id, None if the site has none."""
        return next((s for s in self.sensors if s.id == id), None)
