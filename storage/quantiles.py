"""Quantiles of a stream of figures in bounded memory: a histogram whose buckets grow by 2 %."""

import math

import msgspec

_GROWTH = math.log(1.02)


class Quantiles(msgspec.Struct, frozen=True):
    """Middle, 99th percentile and largest of `count` figures; zeros if there were none."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Histogram:
    """Counts positive figures by size. Quantiles are right within 2 %, the largest is exact."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._max = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count `value`; what is not above a thousandth counts as a thousandth."""
        bucket = math.ceil(math.log(max(value, 1e-3)) / _GROWTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self._count += times
        self._max = max(self._max, value)

    def quantiles(self) -> Quantiles:
        """The quantiles of all figures so far (nearest rank)."""
        if not self._count:
            return Quantiles()
        return Quantiles(self._count, self._at(0.5), self._at(0.99), self._max)

    def _at(self, share: float) -> float:
        rank = math.ceil(share * self._count)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                break
        return min(math.exp(bucket * _GROWTH), self._max)
