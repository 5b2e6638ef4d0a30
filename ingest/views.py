"""Where a dome looks: settled at a preset, moving, or at no known place. Pure and deterministic.

Each picture is registered (`ingest/registration.py`) against an *anchor*, the picture of what stood there
when the camera was last seen at rest. While it is at rest the anchor follows daylight slowly; a shift or zoom
beyond `MOVED`, or a picture in which all at once nothing stands where it stood, is a move, at the first
picture that shows it. While it moves the anchor is the last picture that differed; once pictures have agreed
with it for `SETTLE_S` the camera rests, and is compared with the presets' references.

What seems to have moved is first compared with the preset's reference: somebody who stood close when the
camera settled and walks on leaves the rest where it was. Something large that comes before the camera covers
it bit by bit; then the view is kept for `HOLD_S`, unless all that shows moves as one or is another preset:
that is taken for a move, but not soon for an unknown place.
A dome's own word (ONVIF) is a second witness:
`moving` is believed at once, and a preset whose learned position is another one is not recognised.

What cannot be told: a camera that turns while it is wholly covered or shows nothing with structure in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import msgspec
import numpy as np

from events.media import ticks
from events.views import View
from ingest.blocks import packed, unpacked
from ingest.gate import Luma, shrink
from ingest.presets import NOWHERE, Found, Presets
from ingest.registration import ENOUGH, Fit, Floats, Reference, prepared

SEEN = 0.3
"""Least share of the anchor's blocks that must be found to say where they went."""
PLACED = 0.2
"""Least share of the reference's blocks that must be found, just where they were, to stay settled."""
WHOLE = 0.5
"""Least share of a covered view's blocks that move as one when the camera does."""
MOVED = 0.4
"""Cells (160 across) of displacement from which the camera is taken to move: 0.25 % of the width."""
STAYS = 0.25
"""Share of the blocks that speak against a move from which it is not believed: they are where they were."""
STILL = 0.3
"""Cells of displacement up to which two pictures show the same view."""

SETTLE_S = 0.5
"""So long without displacement before a preset is recognised."""
UNKNOWN_S = 1.5
"""So long without displacement before a place is called unknown."""
HOLD_S = 15.0
"""So long a covered view is kept."""
REFRESH_S = 4.0
"""How often the anchor takes in an eighth of what it sees, and is compared with the preset's references."""
RETRY_S = 1.0
"""How often an unknown or covered view is compared with the presets."""
WITNESS_S = 10.0
"""So long a position holds after it was told."""

PAN, TILT, ZOOMED = 0.02, 0.03, 0.05
"""By how much a position may differ from the one learned with a preset, in ONVIF's generic spaces."""

State = Literal["", "settled", "moving", "unknown"]


class PtzPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dome says that it looks (ONVIF PTZ status, generic spaces)."""

    pan: float
    """-1 to 1."""
    tilt: float
    """-1 to 1."""
    zoom: float
    """0 to 1."""
    moving: bool = False

    def agrees(self, other: "PtzPosition") -> bool:
        """Whether the two are the same place. Pan goes round: -1 and 1 are one direction."""
        pan = abs(self.pan - other.pan)
        return (
            min(pan, 2 - pan) <= PAN
            and abs(self.tilt - other.tilt) <= TILT
            and abs(self.zoom - other.zoom) <= ZOOMED
        )


class Views:
    """One camera's view. `begin` or `restore` first, then `see` pictures in order of their time."""

    def __init__(
        self,
        references: Mapping[str, Sequence[Luma]],
        positions: Mapping[str, PtzPosition] | None = None,
    ) -> None:
        """
        Args:
            references: of each preset, low-resolution luma pictures of it, [h, w]; none: every view at which
                the camera rests is unknown.
            positions: where a preset lies, of those that were learned with a position.
        """
        self._presets = Presets(references)
        self._positions = dict(positions or {})
        self.begin()

    def begin(self) -> None:
        """A stream epoch begins: nothing is known."""
        self._state: State = ""
        self._found = NOWHERE
        self._last = -1
        self._anchor: Reference | None = None
        self._since = self._refreshed = self._tried = 0
        self._agree = 1.0
        self._lost: int | None = None
        self._position: PtzPosition | None = None
        self._told = 0

    @property
    def settled(self) -> str:
        """The preset at which the camera rests; empty while it moves or at no preset."""
        return self._found.preset if self._state == "settled" and not self._contradicted() else ""

    def told(self, position: PtzPosition) -> None:
        """The camera said where it looks."""
        self._position = position
        self._told = max(self._last, 0)

    def see(self, pts: int, picture: Luma) -> View | None:
        """Look at a picture (the whole Y plane; it is not kept); a View if something changed.

        A picture that is not newer than the last one is passed over.
        """
        if pts <= self._last:
            return None
        self._last = pts
        cells = shrink(picture)
        self._presets.fit_to(cells)
        if self._anchor is not None and self._anchor.cells.shape != cells.shape:
            self._anchor = None
        flat = prepared(cells)
        if self._contradicted() or self._anchor is None:
            return self._leave(pts, cells)
        if self._state in ("settled", "unknown"):
            return self._at_rest(pts, cells, flat, self._anchor)
        return self._on_the_way(pts, cells, flat, self._anchor)

    # --- moving

    def _on_the_way(self, pts: int, cells: Luma, flat: Floats, anchor: Reference) -> View | None:
        if not self._still(anchor, cells, flat):
            return self._leave(pts, cells)
        rests = pts - self._since
        if rests < ticks(SETTLE_S):
            return None
        found = self._presets.recognise(flat, self._elsewhere)
        if found is not None:
            return self._settle(pts, cells, found)
        covered = self._lost is not None and pts - self._lost < ticks(HOLD_S)
        if rests < ticks(UNKNOWN_S) or covered:
            return None
        return self._settle(pts, cells, NOWHERE)

    @staticmethod
    def _still(anchor: Reference, cells: Luma, flat: Floats) -> bool:
        if anchor.blocks < ENOUGH:  # a wall, fog, black: at rest for as long as nothing more shows
            return Reference(cells).blocks < 2 * ENOUGH
        fit = anchor.fit(flat)
        return fit.agree >= SEEN and (fit.off <= STILL or fit.stays >= STAYS)

    def _settle(self, pts: int, cells: Luma, found: Found) -> View:
        self._state = "settled" if found.preset else "unknown"
        self._found = found
        self._refreshed = self._tried = pts
        self._lost = None
        self._hold(cells)
        return View(pts=pts, state=self._state, preset=found.preset, score=round(found.score, 3))

    def _leave(self, pts: int, cells: Luma) -> View | None:
        """The picture shows that the camera moves, or the first one is here."""
        first = self._anchor is None and not self._contradicted()
        was, self._state = self._state, "" if first else "moving"
        self._found = NOWHERE
        self._anchor, self._since = Reference(cells), pts
        return View(pts=pts, state="moving") if self._state == "moving" != was else None

    # --- at rest

    def _at_rest(self, pts: int, cells: Luma, flat: Floats, anchor: Reference) -> View | None:
        if anchor.blocks < ENOUGH:
            return None if self._still(anchor, cells, flat) else self._leave(pts, cells)
        if self._lost is not None:
            return self._behind(pts, cells, flat, anchor)
        fit = anchor.fit(flat)
        before, self._agree = self._agree, fit.agree
        gone = fit.agree < SEEN
        if gone or _displaced(fit):
            shows = self._presets.in_place(self._found, flat, MOVED)
            if shows >= SEEN:  # something large that stood in the anchor went away
                self._hold(cells)
            elif shows < PLACED and (not gone or fit.agree < before / 3):
                return self._leave(pts, cells)
            else:
                self._hold(cells)
                self._lost = pts if self._state == "settled" else None
                self._agree = shows
            return None
        if pts - self._refreshed >= ticks(REFRESH_S):
            self._refreshed = pts
            if self._presets.crept(self._found.preset, flat):
                return self._leave(pts, cells)
            self._anchor = Reference(np.asarray(cv2.addWeighted(anchor.cells, 0.875, cells, 0.125, 0)))
        return self._retry(pts, cells, flat) if self._state == "unknown" else None

    def _behind(self, pts: int, cells: Luma, flat: Floats, anchor: Reference) -> View | None:
        """Little or nothing shows of the preset; the anchor is the picture before this one."""
        assert self._lost is not None
        before, shows = self._agree, self._presets.in_place(self._found, flat, MOVED)
        if shows >= SEEN:
            self._lost = None
            self._hold(cells)
            return None
        if shows >= PLACED:
            self._lost = pts
        else:
            fit = anchor.fit(flat)
            whole = _displaced(fit) and fit.agree >= WHOLE  # the dome, or what stands before it drives on
            if whole or (before >= PLACED and shows < before / 3) or self._elsewhere_now(pts, flat):
                return self._leave(pts, cells)
            if pts - self._lost >= ticks(HOLD_S):
                return self._settle(pts, cells, NOWHERE)
        self._anchor, self._agree = Reference(cells), shows
        return None

    def _elsewhere_now(self, pts: int, flat: Floats) -> bool:
        """Whether another preset shows; tried now and then."""
        if pts - self._tried < ticks(RETRY_S):
            return False
        self._tried = pts
        found = self._presets.recognise(flat, self._elsewhere)
        return found is not None and found.preset != self._found.preset

    def _hold(self, cells: Luma) -> None:
        """The view is still the same, and this is what it looks like now."""
        self._anchor, self._agree = Reference(cells), 1.0

    def _retry(self, pts: int, cells: Luma, flat: Floats) -> View | None:
        if pts - self._tried < ticks(RETRY_S):
            return None
        self._tried = pts
        found = self._presets.recognise(flat, self._elsewhere)
        return None if found is None else self._settle(pts, cells, found)

    # --- the second witness

    def _contradicted(self) -> bool:
        """Whether the camera's own word says that it moves, or is not where it is taken to be."""
        position = self._witness()
        return position is not None and (position.moving or self._elsewhere(self._found.preset))

    def _elsewhere(self, preset: str) -> bool:
        position, learned = self._witness(), self._positions.get(preset)
        return position is not None and learned is not None and not position.agrees(learned)

    def _witness(self) -> PtzPosition | None:
        return self._position if self._last - self._told <= ticks(WITNESS_S) else None

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "state": self._state,
            "found": msgspec.to_builtins(self._found),
            "last": self._last,
            "anchor": packed(self._anchor.cells if self._anchor is not None else None),
            "since": self._since,
            "refreshed": self._refreshed,
            "tried": self._tried,
            "agree": self._agree,
            "lost": self._lost,
            "position": msgspec.to_builtins(self._position),
            "told": self._told,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit. Of a preset that is not there any more nothing is known."""
        self.begin()
        found = msgspec.convert(state["found"], Found)
        if found.preset and found.preset not in self._presets:
            return
        self._state, self._found = state["state"], found
        self._last, self._since = state["last"], state["since"]
        self._refreshed, self._tried = state["refreshed"], state["tried"]
        self._agree, self._lost, self._told = state["agree"], state["lost"], state["told"]
        cells = unpacked(state["anchor"])
        self._anchor = Reference(cells) if cells is not None else None
        self._position = msgspec.convert(state["position"], PtzPosition | None)


def _displaced(fit: Fit) -> bool:
    """Whether the whole picture has moved, not only something large in it."""
    return fit.off > MOVED and fit.stays < STAYS
