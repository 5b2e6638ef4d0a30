"""What the engine shows its rules at one moment."""

from collections.abc import Sequence
from typing import NamedTuple

from events.events import AnyPayload, Place
from events.ground import Ground
from events.ids import event_id
from events.targets import Target


class Scene(NamedTuple):
    """The targets and the times at one moment."""

    epoch: int
    pts: int
    """Media time of the epoch, ticks."""
    watched: int
    """Analysed media time, ticks: it does not pass while frames are shed, and goes on from epoch to epoch.
    All of the rules' timers run on it."""
    capture_us: int
    size: tuple[int, int]
    """Width and height of the analysed picture."""
    seen: Sequence[Target] = ()
    """Those that are there, by serial."""
    gone: Sequence[int] = ()
    """Serials that will not come back."""
    fresh: bool = False
    """True: a frame was analysed. False: only time passed."""
    ground: Ground | None = None
    """Maps pixels to places; None: the camera (or the dome's present view) is not calibrated."""

    def place(self, x: float, y: float) -> Place | None:
        """Where on the ground the pixel x, y is; None without a calibration, or beyond it."""
        return self.ground.place(x / self.size[0], y / self.size[1]) if self.ground is not None else None

    def speed_mps(self, target: Target) -> float | None:
        """How fast the target goes on the ground; None without a calibration, or beyond it."""
        if self.ground is None:
            return None
        w, h = self.size
        return self.ground.speed_mps((target.x / w, target.y / h), (target.vx / w, target.vy / h))


class Draft(NamedTuple):
    """An event before it gets its envelope."""

    id: str
    data: AnyPayload


class Naming(NamedTuple):
    """Makes the ids of one rule's events."""

    site: str
    camera: str
    rule: str
    preset: str = ""
    """The view that the rule belongs to."""

    def id(self, epoch: int, first_us: int, key: int, phase: str, occurrence: int) -> str:
        """The id of an event about `key` (a target's serial, an interval, a place) since `first_us`."""
        return event_id(self.site, self.camera, epoch, self.rule, first_us, key, phase, occurrence)
