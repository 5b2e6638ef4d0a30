"""What the console knows of the site: frozen values, given once at start."""

import msgspec

from events.rules import Rule


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


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """The site and its cameras."""

    id: str
    name: str
    cameras: tuple[CameraView, ...]

    def camera(self, id: str) -> CameraView | None:
        """The camera of that id, None if the site has none."""
        return next((c for c in self.cameras if c.id == id), None)
