"""Identity: event ids that the same footage always gives again, and sequence numbers.

An event's id is the first 130 bits of BLAKE2b over what makes it one, as 26 base-32 characters. A replay,
or a worker that resumes after a kill, derives the same id from the same packets; nothing is drawn by chance.

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


def next_epoch(now_us: int, last: int) -> int:
    """The number of a new stream epoch: the wall clock in microseconds, forced above the last one.

    Unique for a camera even if the clock was set back, and (by the clock) after its disk was replaced.
    """
    return max(now_us, last + 1)
