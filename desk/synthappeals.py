"""Appeals of a synthetic city: two channels, a mix of kinds, bursts, and the same thing said twice.

Nine in ten are of their own; a few hundred bursts (a day without water or heating in one place) make some of
the rest; of the others the same person tries the second channel, or a neighbour complains of the same place.
"""

from collections.abc import Iterator

import numpy as np

from desk.synthground import Floats, Ground, Ints, generator
from desk.synthhomes import Buildings
from desk.synthtable import Columns, moments, pick, spans
from desk.synthwords import ANSWERED, HELPS, MIX

_DAY = 86_400
_SAME, _NEIGHBOUR, _BURST = 0.03, 0.04, 0.03
_BURSTS = tuple(n for n, one in enumerate(HELPS) if one.code in ("water", "heating", "light"))
_HOURS = np.array([1, 1, 1, 1, 1, 2, 5, 10, 18, 20, 18, 14, 9, 10, 15, 16, 15, 13, 11, 10, 9, 6, 3, 2])


class Appeals:
    """All appeals by the time they came in.

    Attributes:
        at: seconds since 1970.
        twin: number of the appeal that it repeats (or that began its burst), -1: its own.
        person: number of who asks.
    """

    def __init__(self, ground: Ground, built: Buildings, seed: int, end_day: int) -> None:
        plan = ground.plan
        rng = generator(seed, "appeals")
        count = plan.appeals
        own = max(1, round(count * (1 - _SAME - _NEIGHBOUR - _BURST)))
        more = count - own
        end = end_day * _DAY
        first = end - plan.days * _DAY
        # 0: the same person again, 1: a neighbour, 2: one of a burst
        way = rng.choice(3, more, p=np.array((_SAME, _NEIGHBOUR, _BURST)) / (_SAME + _NEIGHBOUR + _BURST))
        at = first + _when(rng, own, plan.days)
        kind = rng.choice(len(MIX), own, p=[kind[2] for kind in MIX])
        shares = np.array([one.share for one in HELPS])
        category = rng.choice(len(HELPS), own, p=shares / shares.sum())
        building = rng.integers(0, len(built), own)
        person = rng.integers(0, plan.persons, own)
        heads = rng.integers(0, own, max(1, plan.days // 5))
        category[heads] = rng.choice(_BURSTS, len(heads))
        kind[heads] = 0
        twin = np.where(way == 2, heads[rng.integers(0, len(heads), more)], rng.integers(0, own, more))
        later = (rng.exponential(np.where(way == 2, 0.25, 0.8), more) * _DAY).astype(np.int64) + 60
        self.at: Ints = np.minimum(np.concatenate([at, at[twin] + later]), end - 1)
        self.kind: Ints = np.concatenate([kind, kind[twin]])
        self.category: Ints = np.concatenate([category, category[twin]])
        near = np.clip(building[twin] + np.where(way == 0, 0, rng.integers(-1, 2, more)), 0, len(built) - 1)
        self.building: Ints = np.concatenate([building, near])
        other = rng.integers(0, plan.persons, more)
        self.person: Ints = np.concatenate([person, np.where(way == 0, person[twin], other)])
        self.twin: Ints = np.concatenate([np.full(own, -1), twin])
        online = rng.random(own) < 0.3
        # Who tries again tries the other channel.
        again = np.where(way == 0, ~online[twin], rng.random(more) < 0.3)
        self.online = np.concatenate([online, again])
        self._draw(rng, built, end)
        self._sort()

    def __len__(self) -> int:
        return len(self.at)

    def _draw(self, rng: np.random.Generator, built: Buildings, end: int) -> None:
        count = len(self)
        corners = built.corners[self.building]
        u, v = rng.random((2, count, 1))
        low = corners[:, 0] * (1 - u) + corners[:, 1] * u
        high = corners[:, 3] * (1 - u) + corners[:, 2] * u
        self.place: Floats = np.round(low * (1 - v) + high * v, 7)
        draw = rng.random(count)
        self.placed = draw >= 0.10
        self.addressed = draw >= 0.02
        self.at_once = rng.random(count) < ANSWERED
        days = np.exp(rng.normal(1.0, 0.9, count))
        took = np.where(self.at_once, 120 + rng.random(count) * 600, days * _DAY).astype(np.int64)
        closed = self.at + took
        self.closed: Ints = np.where((closed < end) & (rng.random(count) < 0.9995), closed, 0)
        # Called back, solved by the citizen's word, satisfied: each is less than the one before.
        asked = (self.closed > 0) & (rng.random(count) < 0.7)
        solved = asked & (rng.random(count) < 0.8)
        satisfied = rng.random(count) < np.where(solved, 0.9, 0.2)
        self.verdict: Ints = np.where(~asked, 0, np.where(solved, 1, 3) + ~satisfied)
        self.words: Ints = rng.integers(0, 6, count)

    def _sort(self) -> None:
        order = np.argsort(self.at, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        self.twin = np.where(self.twin >= 0, rank[np.maximum(self.twin, 0)], -1)
        for name, values in vars(self).items():
            setattr(self, name, values[order])


def _when(rng: np.random.Generator, count: int, days: int) -> Ints:
    """Seconds from the first day on: more by day and in the week, and from year to year."""
    weekly = np.where(np.arange(days) % 7 < 5, 1.0, 0.6) * (1 + 0.2 * np.arange(days) / days)
    day = rng.choice(days, count, p=weekly / weekly.sum())
    hour = rng.choice(24, count, p=_HOURS / _HOURS.sum())
    # The profile is of local time, eight hours ahead.
    seconds: Ints = day * _DAY + hour * 3600 + rng.integers(0, 3600, count) - 8 * 3600
    return np.maximum(seconds, 0)


VERDICTS = ("", "solved;satisfied", "solved;dissatisfied", "unsolved;satisfied", "unsolved;dissatisfied")


def appeals(built: Buildings, all_: Appeals) -> Iterator[Columns]:
    """Chunks of a hotline's records."""
    departments = [f"合成{one.name}主管部门" for one in HELPS]
    for span in spans(len(all_)):
        category, building = all_.category[span], all_.building[span]
        serial = np.arange(span.start + 1, span.stop + 1)
        addresses = pick(built.addresses, building)
        addressed = all_.addressed[span].tolist()
        placed, place = all_.placed[span].tolist(), all_.place[span].tolist()
        closed = all_.closed[span]
        ended = moments(closed)
        at_once = all_.at_once[span]
        yield {
            "reference": [f"SYN{n:08}" for n in serial.tolist()],
            "received": moments(all_.at[span]),
            "channel": pick(("hotline", "online"), all_.online[span].astype(np.int64)),
            "kind": pick([kind[0] for kind in MIX], all_.kind[span]),
            "category": pick([one.code for one in HELPS], category),
            "words": [
                HELPS[c].words[w % len(HELPS[c].words)].format(a if has else "")
                for c, w, a, has in zip(
                    category.tolist(), all_.words[span].tolist(), addresses, addressed, strict=True
                )
            ],
            "address": [a if has else "" for a, has in zip(addresses, addressed, strict=True)],
            "lon": [str(p[0]) if has else "" for p, has in zip(place, placed, strict=True)],
            "lat": [str(p[1]) if has else "" for p, has in zip(place, placed, strict=True)],
            "name": [f"合成人{n + 1}" for n in all_.person[span].tolist()],
            "phone": [f"100{n + 1:08}" for n in all_.person[span].tolist()],
            "answered_at_once": pick(("no", "yes"), at_once.astype(np.int64)),
            "handled_by": [
                "" if once else d
                for once, d in zip(at_once.tolist(), pick(departments, category), strict=True)
            ],
            "closed": [text if c else "" for text, c in zip(ended, closed.tolist(), strict=True)],
            "verdict": pick(VERDICTS, all_.verdict[span]),
            "answer": [
                "已答复" if once and c else "已办理" if c else ""
                for once, c in zip(at_once.tolist(), closed.tolist(), strict=True)
            ],
        }


def truth(all_: Appeals) -> Iterator[Columns]:
    """Chunks of the pairs that are the same matter said twice: what finding duplicates is measured by."""
    pairs = np.flatnonzero(all_.twin >= 0)
    for span in spans(len(pairs)):
        later = pairs[span]
        yield {
            "reference": [f"SYN{n:08}" for n in (later + 1).tolist()],
            "of": [f"SYN{n:08}" for n in (all_.twin[later] + 1).tolist()],
            "same_person": pick(
                ("no", "yes"), (all_.person[later] == all_.person[all_.twin[later]]).astype(np.int64)
            ),
        }
