"""How often is something this rare? Turns scores into alerts a day.

Each pass leaves, for each attribute, the highest score that it held (`events/learned.py`), taken before
anything was learned from it. Their histogram over watched time tells how many passes a day reach a score, and
so the score at which about so many alerts a day are to be expected: the limit. The tail is an exponential
fitted to the `TAIL` highest passes (peaks over threshold; Davison and Smith 1990, with shape 0), so that a
limit can lie beyond what was ever seen.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import msgspec

from events.density import UNIT, faded
from events.doings import ATTRIBUTES
from events.media import TICKS

BIN = 10
"""Hundredths of a score in a bin."""
BINS = 81
TAIL = 20.0
MEAN = 4.3
"""Least mean by which the tail's passes exceed its beginning, in bins: a tenth of them for each whole score
further, as of a probability."""
PRIOR = 10.0
"""So many passes the least mean weighs: a few alerts do not silence an attribute, a dozen do."""
LEAST = 200
"""No limit is below this score: one in a hundred is nothing unusual."""
DAY = 86_400 * TICKS


class Limit(NamedTuple):
    """Above this score something is unusual. Hundredths."""

    score: int
    fold: int
    """So much further, it is e times as rare."""


class RarityState(msgspec.Struct):
    """What the passes reached, by attribute as in `ATTRIBUTES`."""

    peaks: list[list[int]] = msgspec.field(default_factory=lambda: [[0] * BINS for _ in ATTRIBUTES])
    """Weight of the passes by the bin of their highest score."""
    watched: int = 0
    """Ticks, fading like the weights."""


class Rarity:
    """Counts the highest scores of passes."""

    def __init__(self) -> None:
        self.state = RarityState()

    def add(self, peaks: Sequence[int], weight: int = UNIT) -> None:
        """Count a pass; a negative weight takes it back."""
        for counts, peak in zip(self.state.peaks, peaks, strict=True):
            bin = min(peak // BIN, BINS - 1)
            counts[bin] = max(0, counts[bin] + weight)

    def fade(self) -> None:
        """One step of forgetting, as `Density.fade`."""
        self.state.peaks = [faded(counts) for counts in self.state.peaks]
        (self.state.watched,) = faded((self.state.watched,))

    def limit(self, index: int, a_day: float) -> Limit:
        """The score that about `a_day` passes a day reach in this attribute."""
        wanted = a_day * self.state.watched / DAY
        counts = self.state.peaks[index]
        reached, excess = 0.0, 0.0
        for bin in range(BINS - 1, 0, -1):
            reached += counts[bin] / UNIT
            excess += reached  # each that is above has gone one bin further
            if reached >= max(TAIL, wanted):
                break
        if not 0 < wanted < reached:
            return Limit(LEAST, round(MEAN * BIN))
        mean = max(MEAN, (excess - reached / 2 + PRIOR * MEAN) / (reached + PRIOR)) * BIN
        return Limit(max(LEAST, round(bin * BIN + mean * log(reached / wanted))), round(mean))

    def percentile(self, index: int, score: int) -> float:
        """Share of the passes that stayed below this score, percent; never quite 100."""
        counts = self.state.peaks[index]
        n = sum(counts) / UNIT
        above = sum(counts[min(score // BIN, BINS - 1) :]) / UNIT
        return 100 * (1 - (above + 1) / (n + 1)) if n else 0.0
