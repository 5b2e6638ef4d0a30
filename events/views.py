"""Views: where a dome looks, as the loop and the rules speak of it."""

from typing import Literal

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Where the camera looks from `pts` on."""

    pts: int
    """Media time of the picture that showed it."""
    state: Literal["settled", "moving", "unknown"]
    """unknown: it stands still, but at no preset that was learned."""
    preset: str = ""
    """Where it is settled; empty otherwise."""
    score: float = 0.0
    """How well the picture agrees with the preset's reference, 0 to 1."""
