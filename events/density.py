"""What targets usually do in one view: weighted histograms that forget, by place and kind of object.

The joint density is taken apart by the chain rule, so that each part has a name that a person understands:

    place       P(cell)                        how many come here at all
    class       P(group | cell)                of these, how many are of this kind
    speed       P(speed >= v | group, cell)    upper tail
    direction   P(sector | group, cell)        mass of the sectors that are as rare or rarer
    size        P(size | group, cell)          two tails
    dwell       P(stay >= t | group, cell)     upper tail
    hour        P(hour | group)                rate of passes, by how long that hour was watched

One attribute at a time, each calibrated by itself (`events/rarity.py`), follows the attribute-based method of
Reiss and Hoshen (arXiv 2212.00789). Their Gaussian mixtures and nearest neighbours keep samples; histograms
are small, learn from one pass at a time and forget. A score is -log10 of a tail probability, in hundredths.

The picture has 8 x 6 cells. A point asks the four cells around it (bilinear), then the 2 x 2 block, then the
whole picture, then a prior, each weighing as `BACKOFF` passes against the finer one (Dirichlet smoothing). A
pass weighs `UNIT` in each cell that it visited, however long it was there. Weights are whole numbers, so a
snapshot is small and exact.
"""

from collections.abc import Mapping, Sequence
from math import log10

import msgspec

from events.doings import (
    CELLS,
    COLUMNS,
    FIRST_SECTOR,
    ROWS,
    SECTORS,
    SIZE,
    SPEED,
    STAY,
    WIDTH,
    Doing,
    Passed,
    Scale,
    cell_of,
    sector_of,
    unpacked,
)
from events.media import TICKS

UNIT = 64
"""The weight of one pass."""
BACKOFF = 3.0
"""Passes that a coarser level weighs against a finer one."""
STEPS = 8
"""In so many steps of watched time a weight halves."""
_FADE = 0.5 ** (1 / STEPS)
ENOUGH = 5
"""Passes from which percentiles are told."""
LEAST_STAY_S = 10.0
"""Who stays for less is in nobody's way, however rare it is."""
HOUR = 3600 * TICKS
LEAST_HOURS = 2.0
"""An hour of the day must have been watched this long before anything can be unusual in it."""


class DensityState(msgspec.Struct):
    """All that was learned. Weights are in `UNIT`s, times in ticks."""

    tables: dict[str, dict[int, list[int]]] = {}
    """Group -> cell -> visits, then the bins of speed, sector, size and stay."""
    hours: dict[str, list[int]] = {}
    """Group -> passes by hour of the day."""
    watched: list[int] = msgspec.field(default_factory=lambda: [0] * 24)
    """Ticks watched, by hour of the day."""


Table = Sequence[int]
_NOTHING: list[int] = [0] * WIDTH


class Density:
    """Learns passes and says how rare a moment is. `groups`: the kinds of objects that there may be."""

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = tuple(sorted(set(groups)))
        self.state = DensityState()

    @property
    def state(self) -> DensityState:
        """All that was learned."""
        return self._state

    @state.setter
    def state(self, state: DensityState) -> None:
        self._state = state
        self._rebuild()

    def _rebuild(self) -> None:
        """What follows from the state: sums over the picture, and visits of all groups by cell."""
        self._sums = {
            group: [sum(column) for column in zip(*tables.values(), strict=True)]
            for group, tables in self._state.tables.items()
            if tables
        }
        self._visits = [
            sum(tables.get(cell, _NOTHING)[0] for tables in self._state.tables.values())
            for cell in range(CELLS)
        ]

    # --- learning

    def learn(self, passed: Passed, weight: int) -> None:
        """Add a pass; a negative weight takes it back. UNIT is one pass."""
        tables = self._state.tables.setdefault(passed.group, {})
        sums = self._sums.setdefault(passed.group, [0] * WIDTH)
        totals: dict[int, int] = {}
        for packed, count in passed.samples.items():
            cell = unpacked(packed)[0]
            totals[cell] = totals.get(cell, 0) + count
        for cell in totals:
            table = tables.setdefault(cell, [0] * WIDTH)
            before = table[0]
            _add(table, sums, 0, weight)
            self._visits[cell] += table[0] - before
        for packed, count in passed.samples.items():
            cell, speed, sector, size = unpacked(packed)
            part = int(weight * count / totals[cell])
            table = tables[cell]
            if speed >= 0:
                _add(table, sums, SPEED.first + speed, part)
            if sector >= 0:
                _add(table, sums, FIRST_SECTOR + sector, part)
            if size >= 0:
                _add(table, sums, SIZE.first + size, part)
        for cell, stay in passed.stays.items():
            if cell in totals:
                _add(tables[cell], sums, STAY.first + stay, weight)
        hours = self._state.hours.setdefault(passed.group, [0] * 24)
        hours[passed.hour] = max(0, hours[passed.hour] + weight)

    def watch(self, hour: int, ticks: int) -> None:
        """So much time of that hour of the day was watched."""
        self._state.watched[hour] += ticks

    def fade(self) -> None:
        """One step of forgetting; after `STEPS` of them all weighs half. What has faded away is dropped."""
        state = self._state
        for group in sorted(state.tables):
            kept = {cell: faded(table) for cell, table in state.tables[group].items()}
            state.tables[group] = {cell: table for cell, table in kept.items() if any(table)}
        state.tables = {group: tables for group, tables in state.tables.items() if tables}
        kept_hours = {group: faded(hours) for group, hours in state.hours.items()}
        state.hours = {group: hours for group, hours in kept_hours.items() if any(hours)}
        state.watched = faded(state.watched)
        self._rebuild()

    def drop_speeds(self) -> None:
        """Forget the speeds: they are in another unit from now on."""
        for tables in self._state.tables.values():
            for table in tables.values():
                table[SPEED.first : SPEED.first + SPEED.bins] = [0] * SPEED.bins
        self._rebuild()

    # --- scoring

    def scores(self, doing: Doing) -> list[int]:
        """How rare each attribute is: -log10 of its tail probability, in hundredths, as `ATTRIBUTES`."""
        levels = self.levels(doing)
        found = (
            1.0 if doing.speed is None else self._above(SPEED, levels, doing.speed),
            1.0 if doing.heading is None else as_rare(sectors(levels), sector_of(doing.heading)),
            1.0 if doing.size is None else self._either(levels, doing.size),
            1.0 if doing.stay_s < LEAST_STAY_S else self._above(STAY, levels, doing.stay_s),
            self._place(doing),
            self._class(doing),
            self._hour(doing),
        )
        return [round(-100 * log10(min(max(p, 1e-8), 1.0))) for p in found]

    def levels(self, doing: Doing) -> "Levels":
        """Weighted tables of the group, from the whole picture to the point's own surroundings."""
        tables = self._state.tables.get(doing.group, {})
        return (
            [(1.0, self._sums.get(doing.group, _NOTHING))],
            [(1.0, tables[cell]) for cell in _block(doing.x, doing.y) if cell in tables],
            [(w, tables[cell]) for w, cell in around(doing.x, doing.y) if cell in tables],
        )

    def _above(self, scale: Scale, levels: "Levels", value: float) -> float:
        """P(at least this). The prior falls by half with each doubling."""
        position = scale.position(value)
        return _tail(scale, levels, position, 2.0 ** (-position / scale.octave))

    def _either(self, levels: "Levels", size: float) -> float:
        position = SIZE.position(size)
        upper = _tail(SIZE, levels, position, 1 - position / SIZE.bins)
        return 2 * min(upper, 1 - upper)

    def _place(self, doing: Doing) -> float:
        """Share of the visits that go to cells as little visited as this place."""
        here = sum(w * self._visits[cell] for w, cell in around(doing.x, doing.y))
        rare = [v for v in self._visits if v <= here]
        return (sum(rare) / UNIT + 1) / (sum(self._visits) / UNIT + 1)

    def _class(self, doing: Doing) -> float:
        shares = self.shares(doing)
        return as_rare([shares[group] for group in sorted(shares)], sorted(shares).index(doing.group))

    def shares(self, doing: Doing) -> dict[str, float]:
        """Probability of each group at this place."""
        groups = self._groups if doing.group in self._groups else (*self._groups, doing.group)
        share = dict.fromkeys(groups, 1 / len(groups))
        tables = self._state.tables
        block, near = _block(doing.x, doing.y), around(doing.x, doing.y)
        visits: list[Mapping[str, float]] = [
            {group: float(self._sums.get(group, _NOTHING)[0]) for group in groups},
            {g: sum(tables[g][c][0] for c in block if c in tables[g]) for g in groups if g in tables},
            {g: sum(w * tables[g][c][0] for w, c in near if c in tables[g]) for g in groups if g in tables},
        ]
        for level in visits:
            n = sum(level.values()) / UNIT
            share = {g: (level.get(g, 0.0) / UNIT + BACKOFF * share[g]) / (n + BACKOFF) for g in groups}
        return share

    def _hour(self, doing: Doing) -> float:
        """Share of the passes in hours as quiet as this one; one pass more, for what was not seen yet."""
        rates = self.rates(doing.group)
        here = rates[int(doing.hour) % 24]
        known = [rate for rate in rates if rate is not None]
        if here is None or len(known) < 2:
            return 1.0
        once = len(known) * HOUR / sum(self._state.watched)
        return (sum(rate for rate in known if rate <= here) + once) / (sum(known) + once)

    def rates(self, group: str) -> list[float | None]:
        """Passes an hour, by hour of the day, each together with its neighbours; None: not watched enough."""
        counts, watched = self._state.hours.get(group, [0] * 24), self._state.watched
        rates: list[float | None] = []
        for h in range(24):
            near = ((h - 1) % 24, h, h, (h + 1) % 24)
            passes, span = sum(counts[i] for i in near) / UNIT, sum(watched[i] for i in near) / HOUR
            rates.append(passes / span if watched[h] >= LEAST_HOURS * HOUR else None)
        return rates

    # --- what is usual

    def headings(self, doing: Doing) -> list[float]:
        """Passes by sector at the finest level that knows enough."""
        found = [1.0] * SECTORS
        for level in self.levels(doing):
            counts = [sum(w * t[FIRST_SECTOR + k] for w, t in level) for k in range(SECTORS)]
            if sum(counts) >= ENOUGH * UNIT:
                found = counts
        return found

    def visited(self, x: float, y: float) -> tuple[float, list[float]]:
        """Share of all visits, in percent, that this place has, and that each cell has."""
        total = sum(self._visits) or 1
        here = sum(w * self._visits[cell] for w, cell in around(x, y))
        return 100 * here / total, [100 * v / total for v in self._visits]

    def usual(self, scale: Scale, doing: Doing) -> tuple[float, float]:
        """5th and 95th percentile of what the group does here, at the finest level that knows enough."""
        low, high = 0.0, float(scale.bins)
        for level in self.levels(doing):
            counts = [sum(w * t[scale.first + k] for w, t in level) for k in range(scale.bins)]
            if sum(counts) >= ENOUGH * UNIT:
                low, high = _quantile(counts, 0.05), _quantile(counts, 0.95)
        return scale.value(low), scale.value(high)


Levels = tuple[list[tuple[float, Table]], list[tuple[float, Table]], list[tuple[float, Table]]]


def sectors(levels: Levels) -> list[float]:
    """Probability of each sector, each smoothed with its neighbours."""
    share = [1 / SECTORS] * SECTORS
    for level in levels:
        counts = [0.0] * SECTORS
        for weight, table in level:
            for k in range(SECTORS):
                counts[k] += weight * table[FIRST_SECTOR + k]
        n = sum(counts) / UNIT
        near = [(counts[k - 1] + 2 * counts[k] + counts[(k + 1) % SECTORS]) / 4 for k in range(SECTORS)]
        share = [(c / UNIT + BACKOFF * s) / (n + BACKOFF) for c, s in zip(near, share, strict=True)]
    return share


def as_rare(shares: Sequence[float], index: int) -> float:
    """Mass of what is as rare as this or rarer."""
    here = shares[index] * (1 + 1e-9)
    return sum(share for share in shares if share <= here)


def faded(weights: Sequence[int]) -> list[int]:
    """One step of forgetting. Rounded down, so that nothing stays for ever."""
    return [int(weight * _FADE) for weight in weights]


def _add(table: list[int], sums: list[int], index: int, weight: int) -> None:
    before = table[index]
    table[index] = max(0, before + weight)
    sums[index] += table[index] - before


def _tail(scale: Scale, levels: Levels, position: float, prior: float) -> float:
    """Mass above a position, backed off from the point's surroundings to the prior."""
    whole = int(position)
    first, at, end = scale.first, scale.first + whole, scale.first + scale.bins
    part = 1 - (position - whole)
    tail = prior
    for level in levels:
        above, n = 0.0, 0.0
        for weight, table in level:
            above += weight * (sum(table[at + 1 : end]) + part * table[at])
            n += weight * sum(table[first:end])
        tail = (above / UNIT + BACKOFF * tail) / (n / UNIT + BACKOFF)
    return tail


def _quantile(counts: Sequence[float], share: float) -> float:
    """Position below which this share lies."""
    wanted = share * sum(counts)
    for k, count in enumerate(counts):
        if count and wanted <= count:
            return k + wanted / count
        wanted -= count
    return float(len(counts))


def _block(x: float, y: float) -> tuple[int, int, int, int]:
    """The 2 x 2 cells that a point's cell belongs to."""
    cell = cell_of(x, y)
    row, column = cell // COLUMNS // 2 * 2, cell % COLUMNS // 2 * 2
    first = row * COLUMNS + column
    return first, first + 1, first + COLUMNS, first + COLUMNS + 1


def around(x: float, y: float) -> list[tuple[float, int]]:
    """The cells around a point and their bilinear weights."""
    u = min(max(x * COLUMNS - 0.5, 0.0), COLUMNS - 1.0)
    v = min(max(y * ROWS - 0.5, 0.0), ROWS - 1.0)
    column, row = min(int(u), COLUMNS - 2), min(int(v), ROWS - 2)
    u, v = u - column, v - row
    first = row * COLUMNS + column
    return [
        ((1 - u) * (1 - v), first),
        (u * (1 - v), first + 1),
        ((1 - u) * v, first + COLUMNS),
        (u * v, first + COLUMNS + 1),
    ]
