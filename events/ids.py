"""Identity: event ids that the same footage always gives again, and sequence numbers.

An event's id is the first 130 bits of BLAKE2b over what makes it one, as 26 base-32 characters; a reading's
begins with its time. A replay, or a worker that resumes after a kill, derives the same id from the same
packets; nothing is drawn by chance.

`sequence` counts the events of one (source, family, epoch) from 0 without a hole. Consumers are idempotent
by (source, family, epoch, sequence).
"""

import base64
from hashlib import blake2b


def event_id(*parts: str | int) -> str:
    """A 26-character id from the parts that identify an event, in order.

    For a rule's event: site, camera, epoch, rule, first capture time, track ordinal, phase, occurrence.
    """
    digest = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=17).digest()
    return base64.b32hexencode(digest).decode().lower()[:26]


def timed_id(time_us: int, *parts: str | int) -> str:
    """As `event_id` over the parts and the time, but ids sort by time: 55 bits of it, then 75 of the digest.

    For what comes by the thousand: a database's index over such ids grows at its end, and not everywhere.

    Args:
        time_us: microseconds since 1970; what lies before counts as 1970 in the order.
    """
    digest = blake2b("\x1f".join(map(str, (*parts, time_us))).encode(), digest_size=10).digest()
    whole = (min(max(time_us, 0), (1 << 55) - 1) << 81) | (int.from_bytes(digest) >> 5 << 6)
    return base64.b32hexencode(whole.to_bytes(17)).decode().lower()[:26]


def next_epoch(now_us: int, last: int) -> int:
    """The number of a new stream epoch: the wall clock in microseconds, forced above the last one.

    Unique for a camera even if the clock was set back, and (by the clock) after its disk was replaced.
    """
    return max(now_us, last + 1)
