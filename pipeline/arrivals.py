"""When messages without a time of their own came, so that one that comes again is the same reading.

Kept in the journal, in the transaction of the readings: a ring of batches, each written once.
"""

from collections import deque

import msgspec

BATCHES = 256
_PREFIX = "sensors/arrivals/"


class Arrivals:
    """The arrival of each of the last batches' messages, by `ingest.deliveries.key_of`."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        """`kept`: what the journal has under `sensors/arrivals/`."""
        batches = sorted(msgspec.msgpack.decode(body, type=_Batch) for body in kept.values())
        self._batches: deque[_Batch] = deque(batches, maxlen=BATCHES)
        self._next = batches[-1].number + 1 if batches else 0
        self._known = {key: time for batch in batches for key, time in batch.times.items()}
        self._new: dict[bytes, int] = {}

    def find(self, key: bytes) -> int | None:
        """When it came first, microseconds since 1970; None if it is not known."""
        return self._new.get(key) or self._known.get(key)

    def add(self, key: bytes, time_us: int) -> None:
        """A message of the batch at hand."""
        self._new[key] = time_us

    def close_batch(self) -> list[tuple[str, bytes]]:
        """What is to be kept of the batch at hand, for `Journal.record`; the next one begins."""
        if not self._new:
            return []
        batch = _Batch(self._next, self._new)
        if len(self._batches) == BATCHES:
            for key, time in self._batches[0].times.items():
                if self._known.get(key) == time:
                    del self._known[key]
        self._batches.append(batch)
        self._known |= self._new
        self._next, self._new = self._next + 1, {}
        return [(f"{_PREFIX}{batch.number % BATCHES}", msgspec.msgpack.encode(batch))]


class _Batch(msgspec.Struct, order=True):
    number: int
    times: dict[bytes, int]
