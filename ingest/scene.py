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

import base64
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from events.media import TICKS
from ingest import faults
from ingest.faults import Field
from ingest.gate import Luma

LEARN = 5
"""Keyframes of which the first reference is the mean."""

SHIFT = 0.03
"""Share of the picture's width from which a steady shift is a turn."""

SHAKE = 0.5
"""Cells from keyframe to keyframe that are shaking."""

FOLLOW_S = 10.0
"""How often the reference follows the picture; where the scene is not seen, six times more rarely."""

ABSORB_S = 3600.0
"""How long a new view has to stand to become the camera's view."""

_SLOWNESS = 16
_EDGED = 0.06
_NOISE = 0.0054
"""Edges of four times the noise in the grid, over the square of the noise in the picture."""

_SEEN = 0.4
_BLANK = 0.3
_LEFT = 0.15
_BRIGHT = 232
_DARK = 50.0
"""Where all but a fifth of the scene has become darker than this, nothing is said of it."""

_SURE = 8.0
_BETTER = 0.1
_OVERLAP = 0.3
_WIDE = 8.0
"""Cells over which nothing shakes."""
_DULL = 0.45
_FLAT = 0.5
_LIT = 6.0
_MATCH = 0.04
"""Less by which the edges may match until the shift is measured; half a cell makes it 0.08."""

_FEW = 6
"""Blocks with edges, or tiles with steps, that are needed to judge at all."""

Levels = NDArray[np.float32]


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
        self._sharp = np.zeros(faults.TILES, np.float32)
        """How sharp each tile usually is; 0: not known."""
        self._usual = 0.0
        """How well the edges usually match, from -1 to 1."""
        self._step = 0.0
        """How high a large step usually is."""
        self._other: Luma | None = None
        """The new view of a turned camera, while it is."""
        self._other_s = 0.0
        self.begin()

    def begin(self) -> None:
        """A new epoch: the scene is kept."""
        self._shifts: list[tuple[int, float, float]] = []
        self._followed = self._slowly = -1
        self._other_at = -1
        self._cells: Luma | None = None
        self._seen_blocks: NDArray[np.bool_] | None = None
        self._drawn = False

    def resized(self) -> None:
        """The same scene in pixels of another size: how sharp these are is not known."""
        self._sharp[:], self._step = 0, 0.0

    @property
    def known(self) -> bool:
        """Whether there is a reference."""
        return self._learnt >= LEARN

    def look(self, pts: int, coarse: Luma, picture: Luma) -> Sight:
        """One keyframe and its grid. Changes nothing but the history of shifts."""
        self._cells = coarse
        self._seen_blocks = None
        reference = self._reference
        self._tiles = faults.sharpness(picture)
        if reference is None or reference.shape != coarse.shape or not self.known:
            return BLIND
        self._draw(reference)
        field, structure, light, match = self._compare(coarse)
        valid = self._structure >= max(_EDGED, _NOISE * self._tiles.noise**2)
        count = int(np.count_nonzero(valid))
        if count < _FEW or self._dark:
            self._shifts.clear()
            return BLIND
        left = structure / np.maximum(self._structure, _EDGED)
        # The light may have gone down everywhere.
        whole = min(1.0, float(np.sort(left[valid])[count * 9 // 10]))
        seen = (match >= _SEEN) & (left >= _LEFT * whole)
        blank = ~seen & (left < _BLANK)
        self._seen_blocks = seen | ~valid
        share_seen = np.count_nonzero(seen & valid) / count
        covered = bool(np.count_nonzero(blank & valid) >= 0.6 * count and share_seen <= 0.35)
        dazzled = np.count_nonzero((light >= _BRIGHT) & (self._light < _BRIGHT))
        gone = bool(share_seen <= 0.25 and not _in_part(seen, valid))
        aside = self._shift(pts, field)
        shaken, since = self._shaking()
        off = np.sort(np.abs(light - self._light), axis=None)[light.size // 2]
        return Sight(
            glare=bool(dazzled >= 0.2 * light.size and share_seen <= 0.55),
            covered=covered,
            turned=None if aside is None else not covered and (aside or gone),
            shaken=shaken,
            defocused=self._defocused(bool(off <= _LIT)),
            shift=(self._shifts[-1][1] / faults.GRID, self._shifts[-1][2] / faults.GRID) if aside else (0, 0),
            shaken_since=since,
        )

    def _draw(self, reference: Luma) -> None:
        """The reference's edges, once for each reference."""
        if self._drawn:
            return
        self._field, length = faults.edges(reference)
        means = _block_means(length, length * length, reference.astype(np.float32))
        self._structure, self._power, self._light = means[..., 0], means[..., 1], means[..., 2]
        self._dark = float(np.sort(self._light, axis=None)[self._light.size * 4 // 5]) < _DARK
        self._spectrum = faults.spectrum(self._field)
        self._drawn = True

    def _compare(self, coarse: Luma) -> tuple[Field, Levels, Levels, Levels]:
        """Its edges; and of each block its structure, its light, and how well its edges match."""
        field, length = faults.edges(coarse)
        product = field * self._field
        both = product[..., 0] + product[..., 1]
        means = _block_means(length, length * length, both, coarse.astype(np.float32))
        powers = means[..., 1] * self._power
        whole = float(means[..., 2].sum()) / (float(means[..., 1].sum() * self._power.sum()) ** 0.5 + 1e-6)
        self._match = whole
        return field, means[..., 0], means[..., 3], means[..., 2] / np.sqrt(powers + 1e-6)

    def _shift(self, pts: int, field: Field) -> bool | None:
        """Is the picture shifted far? None: it comes and goes, and is rather shaken. Remembers the shift."""
        if self._match >= self._usual - _MATCH:
            dx = dy = 0.0  # as well as ever: it need not be measured
        else:
            dx, dy, sure = faults.shift(faults.spectrum(field), self._spectrum)
            if sure < _SURE:
                return False
            # Planks and fences look alike after a step, so the edges must match better there than here.
            x, y = round(dx), round(dy)
            better = self._match + _BETTER if x or y else 0.0
            if faults.overlap(field, self._field, x, y) < max(better, _OVERLAP):
                return False
        self._shifts.append((pts, dx, dy))
        del self._shifts[:-5]
        return self._aside()

    def _steps(self) -> list[float]:
        """How far it went from keyframe to keyframe, in cells."""
        pairs = zip(self._shifts, self._shifts[1:], strict=False)
        return [max(abs(a[1] - b[1]), abs(a[2] - b[2])) for a, b in pairs]

    def _aside(self) -> bool | None:
        """Is it shifted far? None: it comes and goes, and is rather shaken."""
        _, dx, dy = self._shifts[-1]
        far = max(abs(dx), abs(dy)) >= SHIFT * faults.GRID
        step = self._steps()[-1] if len(self._shifts) > 1 else 0.0
        if step < SHAKE or max(abs(dx), abs(dy)) > _WIDE:
            return far
        _, x, y = self._shifts[-2]
        begins = far and max(abs(x), abs(y)) < SHAKE
        return True if begins else None

    def _shaking(self) -> tuple[bool, int]:
        """Is it, and when did it begin?"""
        steps = self._steps()[-4:]
        first = next((n for n, step in enumerate(steps) if step >= SHAKE), 0)
        shaken = sum(SHAKE <= step < _WIDE for step in steps) >= 3 and steps[-1] >= SHAKE / 2
        return shaken, self._shifts[-len(steps) + first][0] if shaken else -1

    def _defocused(self, as_lit: bool) -> bool | None:
        """`as_lit`: the blocks are as light as the reference's; blur leaves them so."""
        sharp, count, step, _ = self._tiles
        if not count.any():
            return True if as_lit and step < _FLAT * self._step else None
        known = (self._sharp > 0) & (count >= 4)
        tiles = int(np.count_nonzero(known))
        if tiles < _FEW:
            return None
        return bool(np.count_nonzero(sharp[known] < _DULL * self._sharp[known]) >= 0.7 * tiles)

    # --- learning

    def learn(self, pts: int, well: bool) -> None:
        """After `look`: take the keyframe in. `well`: nothing is wrong with it, nor seems to be."""
        coarse = self._cells
        if coarse is None:
            return
        if self._reference is None or self._reference.shape != coarse.shape:
            self._reference, self._learnt = coarse.copy(), 1
            self._sharp[:], self._step, self._usual = 0, 0.0, 0.0
            self._drawn = False
        elif not self.known:
            self._learnt += 1
            mean = self._reference + (coarse.astype(np.float32) - self._reference) / self._learnt
            self._reference = np.rint(mean).astype(np.uint8)
            self._drawn = False
        elif well:
            self._follow(pts, self._reference, coarse)
        else:
            self._followed = pts
            return
        self._learn_sharpness()

    def _learn_sharpness(self) -> None:
        sharp, count, step, _ = self._tiles
        self._step += (step - self._step) * (0.02 if self._step else 1)
        enough = count >= 4
        fresh = enough & (self._sharp == 0)
        share = np.float32(1 / self._learnt if not self.known else 0.02)
        self._sharp += np.where(enough & ~fresh, (sharp - self._sharp) * share, 0).astype(np.float32)
        self._sharp[fresh] = sharp[fresh]

    def _follow(self, pts: int, reference: Luma, coarse: Luma) -> None:
        if self._followed < 0:
            self._followed = self._slowly = pts
        self._usual += (self._match - self._usual) * (0.05 if self._usual else 1)
        if pts - self._followed < FOLLOW_S * TICKS:
            return
        self._followed = pts
        off = coarse.astype(np.int16) - reference
        step = -((-off) // _SLOWNESS) * (off > 0) + (off // _SLOWNESS) * (
            off < 0
        )  # away from 0, by one at least
        if pts - self._slowly >= 6 * FOLLOW_S * TICKS:
            self._slowly = pts
        elif self._seen_blocks is not None:
            step *= _spread(self._seen_blocks, coarse.shape)
        self._reference = (reference + step.astype(np.int16)).astype(np.uint8)
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
        if not _alike(coarse, self._other):
            self._other, self._other_s = coarse.copy(), 0.0
            return False
        self._other = (self._other + np.sign(coarse.astype(np.int16) - self._other)).astype(np.uint8)
        if self._other_s < ABSORB_S:
            return False
        self._reference, self._learnt, self._drawn = self._other, LEARN, False
        self._usual = 0.0
        self.resized()
        self._shifts.clear()
        self.returned()
        return True

    def returned(self) -> None:
        """The camera is not turned any more."""
        self._other, self._other_s, self._other_at = None, 0.0, -1

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "reference": _packed(self._reference),
            "learnt": self._learnt,
            "step": self._step,
            "usual": self._usual,
            "sharp": [float(v) for v in self._sharp.ravel()],
            "other": _packed(self._other),
            "other_s": self._other_s,
            "at": [self._followed, self._slowly, self._other_at],
            "shifts": self._shifts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        self._reference, self._other = _unpacked(state["reference"]), _unpacked(state["other"])
        self._learnt, self._other_s = state["learnt"], state["other_s"]
        self._step, self._usual = state["step"], state["usual"]
        self._sharp = np.array(state["sharp"], np.float32).reshape(faults.TILES)
        self._followed, self._slowly, self._other_at = state["at"]
        self._shifts = [(pts, dx, dy) for pts, dx, dy in state["shifts"]]
        self._cells, self._drawn = None, False


def _in_part(seen: NDArray[np.bool_], valid: NDArray[np.bool_]) -> bool:
    """Is the scene there in some half of the picture? Then something stands before the rest."""
    rows, columns = seen.shape
    halves = (np.s_[: rows // 2], np.s_[rows // 2 :], np.s_[:, : columns // 2], np.s_[:, columns // 2 :])
    for half in halves:
        edged = int(np.count_nonzero(valid[half]))
        if edged >= _FEW and np.count_nonzero(seen[half] & valid[half]) >= 0.5 * edged:
            return True
    return False


def _block_means(*channels: Levels) -> Levels:
    return faults.block_means(np.asarray(cv2.merge(channels), np.float32))


def _alike(a: Luma, b: Luma) -> bool:
    """Whether two grids show the same scene."""
    (fa, la), (fb, lb) = faults.edges(a), faults.edges(b)
    power = faults.block_means(la * la) * faults.block_means(lb * lb)
    match = faults.block_means(fa[..., 0] * fb[..., 0] + fa[..., 1] * fb[..., 1]) / np.sqrt(power + 1e-6)
    edged = faults.block_means(lb) >= _EDGED
    return bool(2 * np.count_nonzero(match[edged] >= _SEEN) > np.count_nonzero(edged))


def _spread(blocks: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A value for each block as one for each cell."""
    rows = np.arange(shape[0]) * blocks.shape[0] // shape[0]
    columns = np.arange(shape[1]) * blocks.shape[1] // shape[1]
    return np.asarray(blocks[rows[:, None], columns], np.bool_)


def _packed(grid: Luma | None) -> list[Any] | None:
    return None if grid is None else [*grid.shape, base64.b64encode(grid.tobytes()).decode()]


def _unpacked(packed: list[Any] | None) -> Luma | None:
    if packed is None:
        return None
    height, width, text = packed
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)
