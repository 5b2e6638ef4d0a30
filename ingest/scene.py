"""Does the camera still see its scene? Keyframes against a reference that follows the scene slowly. Pure.

The reference is one grid, 80 cells across. It is compared in 6 x 8 blocks; those in which it has edges are
each *seen* (the edges are there), *blank* (hardly any edge is left) or *other* (other edges). Then

* **glare**: a fifth of the picture is at the end of white where it was not, and half of it is not seen;
* **covered**: most blocks are blank;
* **turned**: few blocks are seen in any half, and there are other edges; or the whole grid is shifted by 3 %
  of the width or more, by the same way each time;
* **shaken**: the shift differs by more than half a cell (0.6 % of the width) from keyframe to keyframe;
* **defocused**: at most tiles the steps of the pixel rows are less than 0.45 times as sharp as they were.

Edges have no amplitude here, so the light may change as it likes. Half a picture of people or of a lorry
leaves the other half seen. The reference follows blocks that are seen by a sixteenth of the difference
every ten seconds, the others every minute, and stands still while anything is wrong.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.media import TICKS
from ingest import blocks, faults
from ingest.blocks import Levels
from ingest.faults import Field
from ingest.focus import Focus
from ingest.gate import Luma
from ingest.shifts import Shifts

LEARN = 15
"""Keyframes of which the first reference is the mean; in the last ten it is tried which blocks stay."""

_TRY = 5
_TRUST = 0.65
"""Share of the keyframes at which a block must be seen for its edges to belong to the scene."""

_OFTEN = 0.03
"""Weight of one keyframe in these shares."""

FOLLOW_S = 10.0
"""How often the reference follows the picture; where the scene is not seen, six times more rarely."""

ABSORB_S = 3600.0
"""How long a new view has to stand to become the camera's view."""

_SLOWNESS = 16
_NOISE = 0.0054
"""Edges of four times the noise in the grid, over the square of the noise in the picture."""

_BLANK = 0.3
_LEFT = 0.15
_BRIGHT = 232
_DARK = 50.0
"""Where all but a fifth of the scene has become darker than this, nothing is said of it."""

_LIT = 6.0


class Sight(msgspec.Struct, frozen=True):
    """What one keyframe says; None: it cannot be told."""

    glare: bool | None = None
    covered: bool | None = None
    turned: bool | None = None
    shaken: bool | None = None
    defocused: bool | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    """To the right and down, as shares of the picture's width; where `turned` by a shift."""
    shaken_since: int = -1
    """Media time of the first large step, where `shaken`."""


BLIND = Sight()


class Scene:
    """One camera's scene."""

    def __init__(self) -> None:
        self.moved()

    def moved(self) -> None:
        """The camera looks elsewhere on purpose: its scene is learned anew."""
        self._reference: Luma | None = None
        self._learnt = 0
        self._focus = Focus()
        self._trust = np.zeros(blocks.BLOCKS, np.float32)
        """At which share of the keyframes each block is seen."""
        self._usual = 0.0
        """How well the edges usually match, from -1 to 1."""
        self._other: Luma | None = None
        """The new view of a turned camera, while it is."""
        self._other_s = 0.0
        self.begin()

    def begin(self) -> None:
        """A new epoch: the scene is kept."""
        self._shifts = Shifts()
        self._followed = self._slowly = -1
        self._other_at = -1
        self._cells: Luma | None = None
        self._seen: NDArray[np.bool_] | None = None
        self._drawn = False

    def resized(self) -> None:
        """The same scene in pixels of another size: how sharp these are is not known."""
        self._focus = Focus()

    @property
    def known(self) -> bool:
        """Whether there is a reference."""
        return self._learnt >= LEARN

    def look(self, pts: int, coarse: Luma, picture: Luma) -> Sight:
        """One keyframe and its grid. Changes nothing but the history of shifts."""
        self._cells = coarse
        self._seen = None
        reference = self._reference
        self._tiles = faults.sharpness(picture)
        if reference is None or reference.shape != coarse.shape:
            return BLIND
        self._draw(reference)
        field, structure, light, match = self._compare(coarse)
        edged = self._structure >= max(blocks.EDGED, _NOISE * self._tiles.noise**2)
        left = structure / np.maximum(self._structure, blocks.EDGED)
        # The light may have gone down everywhere.
        whole = (
            min(1.0, float(np.sort(left[edged])[np.count_nonzero(edged) * 9 // 10])) if edged.any() else 1.0
        )
        seen = self._seen = edged & (match >= blocks.SEEN) & (left >= _LEFT * whole)
        valid = edged & (self._trust >= _TRUST)
        count = int(np.count_nonzero(valid))
        if not self.known or self._dark or count < blocks.FEW:
            self._shifts = Shifts()
            return BLIND
        blank = ~seen & (left < _BLANK)
        share_seen = np.count_nonzero(seen & valid) / count
        share_blank = np.count_nonzero(blank & valid) / count
        dazzled = np.count_nonzero((light >= _BRIGHT) & (self._light < _BRIGHT))
        gone = bool(share_seen <= 0.25 and not blocks.in_part(seen, valid))
        covered = bool((share_blank >= 0.6 and share_seen <= 0.35) or (share_blank >= 0.45 and gone))
        known = self._shifts.measure(pts, field, (self._field, self._spectrum), (self._match, self._usual))
        aside = self._shifts.aside() if known else False
        shaken = self._shifts.shaking()
        off = np.sort(np.abs(light - self._light), axis=None)[light.size // 2]
        return Sight(
            glare=bool(dazzled >= 0.2 * light.size and share_seen <= 0.55),
            covered=covered,
            turned=None if aside is None else not covered and (aside or gone),
            shaken=shaken is not None,
            defocused=self._focus.lost(self._tiles, bool(off <= _LIT)),
            shift=self._shifts.last if aside else (0.0, 0.0),
            shaken_since=-1 if shaken is None else shaken,
        )

    def _draw(self, reference: Luma) -> None:
        """The reference's edges, once for each reference."""
        if self._drawn:
            return
        field, length = faults.edges(reference)
        means = blocks.block_means(length, length * length, reference.astype(np.float32))
        self._structure, self._power, self._light = means[..., 0], means[..., 1], means[..., 2]
        self._dark = float(np.sort(self._light, axis=None)[self._light.size * 4 // 5]) < _DARK
        # What came and went while the reference was made has left its traces there.
        self._lasting = self._trust >= _TRUST
        self._whole = field
        self._field = (
            field * blocks.spread(self._lasting, reference.shape)[..., None] if self.known else field
        )
        self._spectrum = faults.spectrum(self._field)
        self._drawn = True

    def _compare(self, coarse: Luma) -> tuple[Field, Levels, Levels, Levels]:
        """Its edges; and of each block its structure, its light, and how well its edges match."""
        field, length = faults.edges(coarse)
        product = field * self._whole
        both = product[..., 0] + product[..., 1]
        means = blocks.block_means(length, length * length, both, coarse.astype(np.float32))
        powers = means[..., 1] * self._power
        power = float((means[..., 1] * self._lasting).sum() * (self._power * self._lasting).sum())
        self._match = float((means[..., 2] * self._lasting).sum()) / (power**0.5 + 1e-6)
        return field, means[..., 0], means[..., 3], means[..., 2] / np.sqrt(powers + 1e-6)

    # --- learning

    def learn(self, pts: int, well: bool) -> None:
        """After `look`: take the keyframe in. `well`: nothing is wrong with it, nor seems to be."""
        coarse = self._cells
        if coarse is None:
            return
        if self._reference is None or self._reference.shape != coarse.shape:
            self._reference, self._learnt = coarse.copy(), 1
            self._trust[:], self._usual = 0, 0.0
            self._focus = Focus()
            self._drawn = False
        elif not self.known:
            self._learnt += 1
            mean = self._reference + (coarse.astype(np.float32) - self._reference) / self._learnt
            self._reference = np.rint(mean).astype(np.uint8)
            self._drawn = False
            if self._learnt > _TRY and self._seen is not None:
                self._believe(self._seen, 1 / (self._learnt - _TRY))
        elif well:
            if self._seen is not None and not self._dark:
                self._believe(self._seen, _OFTEN)
            self._follow(pts, self._reference, coarse)
        else:
            self._followed = pts
            return
        self._focus.learn(self._tiles, 0 if self.known else self._learnt)

    def _believe(self, seen: NDArray[np.bool_], weight: float) -> None:
        """Learn which blocks show lasting edges."""
        self._trust += (seen - self._trust) * np.float32(weight)
        if not np.array_equal(self._trust >= _TRUST, self._lasting):
            self._drawn = False

    def _follow(self, pts: int, reference: Luma, coarse: Luma) -> None:
        if self._followed < 0:
            self._followed = self._slowly = pts
        self._usual += (self._match - self._usual) * (0.05 if self._usual else 1)
        if pts - self._followed < FOLLOW_S * TICKS:
            return
        self._followed = pts
        off = coarse.astype(np.int16) - reference
        step = np.sign(off) * ((np.abs(off) + _SLOWNESS - 1) // _SLOWNESS)
        if pts - self._slowly >= 6 * FOLLOW_S * TICKS:
            self._slowly = pts
        elif self._seen is not None:
            step *= blocks.spread(self._seen | (self._structure < blocks.EDGED), coarse.shape)
        self._reference = (reference + step).astype(np.uint8)
        self._drawn = False

    def settle(self, pts: int) -> bool:
        """While the camera is turned: has its new view stood so long that it is the camera's view now?"""
        coarse = self._cells
        if coarse is None:
            return False
        if self._other is None or self._other.shape != coarse.shape:
            self._other, self._other_s, self._other_at = coarse.copy(), 0.0, pts
            return False
        if self._other_at >= 0:
            self._other_s += max(0, pts - self._other_at) / TICKS
        self._other_at = pts
        if not blocks.alike(coarse, self._other):
            self._other, self._other_s = coarse.copy(), 0.0
            return False
        self._other = (self._other + np.sign(coarse.astype(np.int16) - self._other)).astype(np.uint8)
        if self._other_s < ABSORB_S:
            return False
        self._reference, self._learnt, self._drawn = self._other, _TRY, False
        self._trust[:], self._usual = 0, 0.0
        self.resized()
        self._shifts = Shifts()
        self.returned()
        return True

    def returned(self) -> None:
        """The camera is not turned any more."""
        self._other, self._other_s, self._other_at = None, 0.0, -1

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "reference": blocks.packed(self._reference),
            "learnt": self._learnt,
            "usual": self._usual,
            "focus": self._focus.snapshot(),
            "trust": [float(v) for v in self._trust.ravel()],
            "other": blocks.packed(self._other),
            "other_s": self._other_s,
            "at": [self._followed, self._slowly, self._other_at],
            "shifts": self._shifts.found,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        self._reference, self._other = blocks.unpacked(state["reference"]), blocks.unpacked(state["other"])
        self._learnt, self._other_s = state["learnt"], state["other_s"]
        self._usual = state["usual"]
        self._focus.restore(state["focus"])
        self._trust = np.array(state["trust"], np.float32).reshape(blocks.BLOCKS)
        self._followed, self._slowly, self._other_at = state["at"]
        self._shifts = Shifts()
        self._shifts.found = [(pts, dx, dy) for pts, dx, dy in state["shifts"]]
        self._cells, self._drawn = None, False
