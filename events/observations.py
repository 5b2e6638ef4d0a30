"""What is seen at one moment: plain values between the detector's floor and the rules."""

import msgspec

from events.media import TICKS


class Box(msgspec.Struct, frozen=True):
    """A box in pixels of the analysed picture; the origin is the upper left corner."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if not (self.x1 <= self.x2 and self.y1 <= self.y2):
            raise ValueError(f"not a box: {self.x1}, {self.y1}, {self.x2}, {self.y2}")

    @property
    def foot(self) -> tuple[float, float]:
        """Where the object stands: the middle of the lower edge."""
        return (self.x1 + self.x2) / 2, self.y2

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        w = min(self.x2, other.x2) - max(self.x1, other.x1)
        h = min(self.y2, other.y2) - max(self.y1, other.y1)
        if w <= 0 or h <= 0:
            return 0.0
        return w * h / (self.area + other.area - w * h)


class Track(msgspec.Struct, frozen=True):
    """A tracked object as seen (or predicted) in one frame."""

    ordinal: int
    """Counts the tracks of one stream epoch from 1; never reused within it."""
    label: str
    """Class name, e.g. person, car."""
    score: float
    """Confidence of the detection, 0 to 1; 0 where the box is only predicted."""
    box: Box
    seen: bool = True
    """False: not detected in this frame, the box is a prediction."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """All confirmed tracks of one analysed frame, and which tracks ended since the last one."""

    pts: int
    """Media time, ticks of 1/90000 s within the epoch."""
    capture_us: int
    width: int
    height: int
    """Size of the analysed picture in pixels."""
    tracks: tuple[Track, ...] = ()
    ended: tuple[int, ...] = ()
    """Ordinals that the tracker has given up for good."""

    @property
    def t(self) -> float:
        """Media time in seconds."""
        return self.pts / TICKS


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """The best picture that a track gave of a face."""

    track: int
    """The track's ordinal."""
    first_pts: int
    """Media time of the track's first detection."""
    last_pts: int
    pts: int
    """Media time of the chosen picture."""
    box: Box
    """Of the face in that picture, pixels."""
    size: tuple[int, int]
    """Width and height of that picture."""
    quality: float
    """0 to 1."""
    measures: dict[str, float] = {}
