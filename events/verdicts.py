"""What becomes of a pass that raised an alert: it is not learned until somebody judges it.

    verdict   learned    counts for the limit    besides
    (none)    no         yes                     after `PATIENCE` watched it is learned as a quarter of a pass
    true      never      no
    false     yes        yes                     the limit rises for this attribute at this place
    ignore    yes        yes                     this attribute is not alerted for this kind at this place

What nobody judges is learned a little, and late: a change that stays (a new path, a stall that is there to
stay) would else alarm for ever, and one incident that nobody judged makes too little of a habit to hide the
next. As it counts for the limit at once, there are about `rate` alerts a day even where nobody judges. A
later verdict takes back what the earlier one did. Of the newest `RECORDS` alerts alone it is known what was
learned; the verdict on an older one changes nothing.
"""

from collections.abc import Sequence

import msgspec

from events.density import UNIT, Density, faded
from events.doings import ATTRIBUTES, CELLS, Passed
from events.media import TICKS
from events.rarity import Rarity
from events.watch import Verdict

PATIENCE = 86_400 * TICKS
"""Watched time for which an alert may be judged before it is learned a little."""
LITTLE = UNIT // 4
RECORDS = 32
MARGIN = 50
"""Hundredths of a score by which a limit rises where an alert was false."""
MOST_MARGIN = 200

_WEIGHTS: dict[Verdict | None, tuple[int, int]] = {
    None: (0, UNIT),
    "true": (0, 0),
    "false": (UNIT, UNIT),
    "ignore": (UNIT, UNIT),
}
"""With which weight a pass with an alert is learned, and counts for the limit."""


class Record(msgspec.Struct):
    """A pass that raised an alert."""

    group: str
    attribute: int
    cell: int
    passed: Passed | None = None
    """None: it is not over."""
    peaks: list[int] = []
    ended: int = 0
    """Watched ticks."""
    verdict: Verdict | None = None
    expired: bool = False
    """Nobody judged it in time."""
    learned: int = 0
    """The weight with which it is in the density, and in the limits."""
    counted: int = 0
    eased: bool = False
    """The limit was raised, by `margin`."""
    margin: int = 0
    muted: bool = False


class VerdictsState(msgspec.Struct):
    """All that is remembered of alerts."""

    records: dict[str, Record] = {}
    """By alert, the oldest first."""
    margins: dict[int, int] = {}
    """By attribute and cell, hundredths."""
    muted: dict[str, int] = {}
    """By attribute, group and cell: how many verdicts ask for it."""


class Verdicts:
    """Keeps the records of one rule, and makes density and limits agree with what was judged."""

    def __init__(self, density: Density, rarity: Rarity) -> None:
        self.state = VerdictsState()
        self._density = density
        self._rarity = rarity

    def margin(self, attribute: int, cells: Sequence[int]) -> int:
        """By how much the limit is higher in any of these cells."""
        if not self.state.margins:
            return 0
        return max(self.state.margins.get(attribute * CELLS + cell, 0) for cell in cells)

    def mutes(self, attribute: int, group: str, cells: Sequence[int]) -> bool:
        """Whether alerts about this are not wanted in any of these cells."""
        muted = self.state.muted
        return bool(muted) and any(_silent(attribute, group, cell) in muted for cell in cells)

    def keep(self, alert: str, record: Record) -> None:
        """Remember a record. The oldest gives way, as if it had waited long enough."""
        records = self.state.records
        while len(records) >= RECORDS:
            self._give_up(records.pop(next(iter(records))))
        records[alert] = record

    def over(self, alert: str, passed: Passed, peaks: list[int], watched: int) -> None:
        """The alert's pass is over."""
        record = self.state.records.get(alert)
        if record is not None:
            record.passed, record.peaks, record.ended = passed, peaks, watched
            self._settle(record)

    def judge(self, alert: str, verdict: Verdict) -> bool:
        """Somebody said what it was; answers whether that changes anything."""
        record = self.state.records.get(alert)
        if record is None or record.verdict == verdict:
            return False
        record.verdict = verdict
        self._settle(record)
        return True

    def expire(self, watched: int) -> None:
        """Time was watched: nobody will judge the oldest any more."""
        for record in self.state.records.values():
            if record.passed is not None and watched - record.ended >= PATIENCE:
                self._give_up(record)

    def _give_up(self, record: Record) -> None:
        if record.verdict is None and not record.expired:
            record.expired = True
            self._settle(record)

    def fade(self) -> None:
        """One step of forgetting, together with density and limits."""
        state = self.state
        left = zip(state.margins, faded(list(state.margins.values())), strict=True)
        state.margins = {key: margin for key, margin in left if margin > 0}
        for record in state.records.values():
            weights = faded((record.learned, record.counted, record.margin))
            record.learned, record.counted, record.margin = weights

    def _settle(self, record: Record) -> None:
        """Make what was learned from a pass agree with its verdict."""
        if record.passed is not None:
            learned, counted = _WEIGHTS[record.verdict]
            if record.verdict is None and record.expired:
                learned = LITTLE
            self._density.learn(record.passed, learned - record.learned)
            self._rarity.add(record.peaks, counted - record.counted)
            record.learned, record.counted = learned, counted
        self._ease(record)
        self._silence(record)

    def _ease(self, record: Record) -> None:
        """Raise the limit where an alert was false, or undo that."""
        if record.eased == (record.verdict == "false"):
            return
        record.eased = not record.eased
        margins, key = self.state.margins, record.attribute * CELLS + record.cell
        now = margins.get(key, 0)
        change = min(MARGIN, MOST_MARGIN - now) if record.eased else -min(record.margin, now)
        record.margin = max(0, change)
        margins[key] = now + change

    def _silence(self, record: Record) -> None:
        """Say no more where an alert is not wanted, or undo that."""
        if record.muted == (record.verdict == "ignore"):
            return
        record.muted = not record.muted
        muted, key = self.state.muted, _silent(record.attribute, record.group, record.cell)
        muted[key] = muted.get(key, 0) + (1 if record.muted else -1)
        if not muted[key]:
            del muted[key]


def _silent(attribute: int, group: str, cell: int) -> str:
    return f"{ATTRIBUTES[attribute]} {group} {cell}"
