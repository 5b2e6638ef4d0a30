"""Homes and persons of a synthetic city: who lives where, is registered where, holds a home as what.

Identity numbers follow GB 11643 with a division code that is given to nobody; no two are the same.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desk.synthground import DIVISION, Floats, Ground, Ints, generator
from desk.synthhomes import Buildings
from desk.synthtable import Columns, dates, pick, spans, texts

SURVEY_DAY = 20_453
"""2025-12-31, in days since 1970: everything holds as of then."""

_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_CHECKS = np.array(list("10X98765432"))
_POWERS = 10 ** np.arange(16, -1, -1)
_SIZES = (0.08, 0.17, 0.27, 0.24, 0.13, 0.08, 0.03)
"""Share of the homes with so many people, before it is brought to the number wanted."""
_ADULT = 18


def check_digits(numbers: Ints) -> NDArray[np.str_]:
    """Of the first seventeen digits: ISO 7064 MOD 11-2, as GB 11643 has it."""
    digits = (numbers[:, None] // _POWERS) % 10
    checks: NDArray[np.str_] = _CHECKS[(digits @ _WEIGHTS) % 11]
    return checks


class People:
    """All persons, by home.

    Attributes:
        home: number of the home of each; `place`: its number in it, 0 for the head.
        size: how many live in its home.
        age, born: years; day since 1970. `male`.
        number: seventeen digits of the identity number; 0: it has none (infants, foreigners).
    """

    def __init__(self, ground: Ground, buildings: Buildings, seed: int) -> None:
        plan = ground.plan
        rng = generator(seed, "persons")
        sizes = _to_sum(rng.choice(len(_SIZES), plan.homes, p=_SIZES), plan.persons, rng)
        self.sizes = sizes
        self.home: Ints = np.repeat(np.arange(plan.homes), sizes)
        self.place: Ints = np.arange(len(self.home)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.size: Ints = sizes[self.home]
        self.building: Ints = buildings.of_homes()
        self._grow(rng)
        self._number(rng)
        self._settle(rng)

    def __len__(self) -> int:
        return len(self.home)

    def _grow(self, rng: np.random.Generator) -> None:
        count = len(self)
        draw: Floats = rng.random(count)
        starts = np.cumsum(self.sizes) - self.sizes
        heads = 24 + 66 * draw**1.3
        head = heads[starts[self.home]]
        self.head_age = head
        child = np.where((head > 60) & (draw < 0.5), head - 52 - 8 * draw, head - 22 - 14 * draw)
        age = np.where(self.place == 0, head, np.where(self.place == 1, head - 4 + 8 * draw, child))
        age = np.where(self.place >= 4, head + 22 + 10 * draw, age)
        self.age: Ints = np.clip(age, 0, 99).astype(np.int64)
        male = rng.random(count) < 0.5
        self.male = np.where(self.place == 1, ~male[starts[self.home]], male)
        self.born: Ints = SURVEY_DAY - self.age * 365 - self.age // 4 - rng.integers(1, 365, count)

    def _number(self, rng: np.random.Generator) -> None:
        """Sequence numbers are odd for men and run within one day's births."""
        count = len(self)
        order = np.lexsort((self.male, self.born))
        key = (self.born * 2 + self.male)[order]
        nth = np.empty(count, np.int64)
        nth[order] = np.arange(count) - np.searchsorted(key, key, side="left")
        if nth.max(initial=0) >= 499:
            raise ValueError("more births on one day than identity numbers have room for")
        days = self.born.astype("datetime64[D]")
        years = days.astype("datetime64[Y]")
        months = days.astype("datetime64[M]")
        ymd = (
            (years.astype(np.int64) + 1970) * 10_000
            + ((months - years).astype(np.int64) + 1) * 100
            + (days - months).astype(np.int64)
            + 1
        )
        number = int(DIVISION) * 10**11 + ymd * 1000 + nth * 2 + 1 + (~self.male)
        self.foreign = rng.random(count) < 0.002
        without = ((self.age < 1) & (rng.random(count) < 0.5)) | self.foreign
        self.number: Ints = np.where(without, 0, number)

    def _settle(self, rng: np.random.Generator) -> None:
        """Registration is another thing than residence: here, in another home of the city, outside."""
        count = len(self)
        draw = rng.random(count)
        elsewhere = rng.integers(0, len(self.sizes), count)
        self.registered: Ints = np.where(draw < 0.78, self.home, np.where(draw < 0.93, elsewhere, -1))
        stay = np.minimum(rng.integers(30, 9000, count), SURVEY_DAY - self.born)
        self.since: Ints = SURVEY_DAY - np.maximum(stay, 1)
        self.disabled = rng.random(count) < 0.01
        self.phone = (self.age >= 14) & (rng.random(count) < 0.95)


def _to_sum(sizes: Ints, total: int, rng: np.random.Generator) -> Ints:
    """The sizes, some one more or one less, so that they make the total."""
    most = len(_SIZES) + 1
    while (missing := total - int(sizes.sum())) != 0:
        able = np.flatnonzero((sizes > 0) & (sizes < most) if missing > 0 else sizes > 1)
        chosen = rng.permutation(able)[: abs(missing)]
        sizes[chosen] += 1 if missing > 0 else -1
    return sizes


def home_codes(buildings: Buildings, homes: Ints, building: Ints) -> list[str]:
    """Codes of homes: the building's, then stair, floor and door."""
    stair, room = _doors(buildings, homes, building)
    return [
        f"{code}U{s}R{r}" for code, s, r in zip(pick(buildings.codes, building), stair, room, strict=True)
    ]


def _doors(buildings: Buildings, homes: Ints, building: Ints) -> tuple[list[str], list[str]]:
    nth = homes - buildings.first[building]
    floor, rest = np.divmod(nth, buildings.stairs[building] * 2)
    stair, door = np.divmod(rest, 2)
    return texts(stair + 1), texts((floor + 1) * 100 + door + 1, "04d")


def homes(ground: Ground, buildings: Buildings, seed: int) -> Iterator[Columns]:
    """Chunks of the table of homes."""
    rng = generator(seed, "rooms")
    building = buildings.of_homes()
    area = rng.integers(45, 150, ground.plan.homes)
    for span in spans(ground.plan.homes):
        of = building[span]
        stair, room = _doors(buildings, np.arange(span.start, span.stop), of)
        yield {
            "home": home_codes(buildings, np.arange(span.start, span.stop), of),
            "building": pick(buildings.codes, of),
            "stair": stair,
            "room": room,
            "address": [
                f"{address}{s}单元{r}室"
                for address, s, r in zip(pick(buildings.addresses, of), stair, room, strict=True)
            ],
            "area_m2": texts(area[span]),
            "use": ["residential"] * len(of),
        }


def persons(buildings: Buildings, people: People) -> Iterator[Columns]:
    """Chunks of the table of persons, with where they live and are registered."""
    for span in spans(len(people)):
        home, place = people.home[span], people.place[span]
        registered = people.registered[span]
        numbers = people.number[span]
        checks = check_digits(numbers).tolist()
        serial = np.arange(span.start + 1, span.stop + 1)
        yield {
            "person": texts(serial, "08d"),
            "name": [f"合成人{n}" for n in serial.tolist()],
            "sex": pick(("female", "male"), people.male[span].astype(np.int64)),
            "born": dates(people.born[span]),
            "identity": [f"{n}{c}" if n else "" for n, c in zip(numbers.tolist(), checks, strict=True)],
            "phone": [
                f"100{n:08}" if has else ""
                for n, has in zip(serial.tolist(), people.phone[span].tolist(), strict=True)
            ],
            "household": texts(home + 1, "07d"),
            "relation": pick(RELATIONS, np.minimum(place, 2) + (place >= 4)),
            "home": home_codes(buildings, home, people.building[home]),
            "since": dates(people.since[span]),
            "registration": _registration(buildings, people, registered),
            "tenure": _tenure(home, place),
            "care": _care(people, span),
        }


RELATIONS = ("head", "spouse", "child", "parent")


def _registration(buildings: Buildings, people: People, registered: Ints) -> list[str]:
    inside = np.maximum(registered, 0)
    codes = home_codes(buildings, inside, people.building[inside])
    return [code if r >= 0 else "outside" for code, r in zip(codes, registered.tolist(), strict=True)]


def _tenure(home: Ints, place: Ints) -> list[str]:
    """The head owns or rents; a fifth of the homes are rented."""
    rented = (home * 2_654_435_761 % 2**32) < 2**32 // 5
    return pick(("owner", "tenant", ""), np.where(place == 0, rented.astype(np.int64), 2))


def _care(people: People, span: slice) -> list[str]:
    age, size, place = people.age[span], people.size[span], people.place[span]
    left = (age < 16) & (place >= 2) & (people.head_age[span] > 60)
    tags: list[Any] = [
        ((age >= 65) & (size == 1), "living-alone"),
        (age >= 80, "aged-80"),
        (left, "left-behind-child"),
        (people.disabled[span], "disabled"),
    ]
    found = [""] * len(age)
    for which, tag in tags:
        for n in np.flatnonzero(which).tolist():
            found[n] = f"{found[n]};{tag}" if found[n] else tag
    return found
