"""What payloads are made of."""

import msgspec

NormBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 as fractions of the picture, 0 to 1, rounded to 4 digits."""

Place = tuple[float, float]
"""Longitude and latitude in degrees, WGS 84, rounded to 7 digits."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every payload."""
