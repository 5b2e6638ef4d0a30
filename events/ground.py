"""From pixels to the ground: a homography from point pairs, checked, and what it gives."""

from typing import Annotated

import msgspec

from events.events import Place

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]


class PointPair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point on the ground that can be seen in the picture, and where it is."""

    picture: tuple[Share, Share]
    """x and y as fractions of the picture."""
    place: tuple[Longitude, Latitude]
    """Degrees, WGS 84."""


class Ground:
    """Maps points of one view to places."""

    def place(self, x: float, y: float) -> Place | None:
        """Longitude and latitude of the ground at x, y (fractions of the picture); None above the horizon."""
        raise NotImplementedError
