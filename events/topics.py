"""The topics on Kafka, declared in one place: families to names, partitions, retention. Nothing connects
here.

**Names** are `PREFIX.family`. The prefix names the jurisdiction, the highest first, and ends with a word for
the product: `tengzhou.beixin.linli` of a street of Tengzhou, `tengzhou.linli` of the city itself. So a city
mirrors its streets without renaming anything, and `everywhere` is the pattern that reads them all.

**Key** of every event is `partitionkey`, the id of the camera, sensor or box, and the partitioner is Kafka's
default (murmur2 of the key), so that other clients put the same camera in the same place (librdkafka and what
is made of it need `partitioner=murmur2_random`). What one camera did is in order within a family, for a
family is a topic and a camera is in one partition of it. *Between* families nothing is in order, so what must
be read in order together is one family: an alert's raising, updates and clearing; a capture and its deletion;
a dome's views. What refers to another family (a judgement to its alert, a count to the claim that it was made
under) is put together by the store, in whatever order it comes.

**Partitions** are never added once a topic is used: a key would move to another partition, and its events
would overtake each other. So there are more from the start than are needed. The families of a camera have
equally many, so that a camera has the same partition number in each.

**Time** of a record is when the broker took it, not when it happened (`message.timestamp.type`): a box that
comes back after a month must not have its events expired at once, and one whose clock is in the future must
not be refused.
"""

import re
from typing import Literal

import msgspec

from events.errors import ConfigError

KEPT = ("case", "place", "register", "desk")
"""What the city's store is built from again: kept for ever, in the journal and on the bus. What is said of
persons in it is an object under a key that is destroyed when its time is up."""

FAMILIES = (
    *("count", "alert", "view", "face", "sensor", "judgement", "health", "segment", "access", "claim"),
    *KEPT,
)
"""Each has a topic of its own. `events.events` has the types."""

DLQ = "dlq"
"""What could not be projected, with the reason (dead letters)."""

SHARES = "shares"
"""Holds no records: which worker has which partition is which box reads which cameras."""

CLAIMS = "claims"
"""A record for each claim of a stream; its offset is the fencing token. One partition, or tokens could not be
compared."""

DEFAULT_PREFIX = "linli"
DEFAULT_SHARES = 24
"""Shares of the cameras, so at most so many boxes that stand in for one another."""

LONGEST_NAME = 249
"""Kafka's bound: a name becomes a folder's."""

_DAY = 86_400_000
_YEAR = 366 * _DAY
_MIB = 1 << 20
_BUSY = 12
_RARE = 3

_WORD = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_WORD}(?:\.{_WORD})*")


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic has to be."""

    name: str = ""
    """On Kafka, with the prefix; empty in the declaration."""
    what: str
    """The family, or dlq, shares, claims."""
    about: str
    """For people."""
    partitions: int
    """It is made with so many; with fewer it is refused."""
    exact: bool = False
    """More partitions are wrong, too."""
    retention_ms: int
    """How long a record is kept, from when the broker took it; -1: for ever."""
    cleanup: Literal["delete", "compact", "compact,delete"] = "delete"
    max_message_bytes: int = _MIB
    """Bound on a batch of records as it is sent (compressed)."""

    def settings(self, replication: int) -> dict[str, str]:
        """The topic's own settings by Kafka's names.

        Args:
            replication: on how many brokers each partition is. From three on, a write is acknowledged once
                two have it, so that one broker may be away.
        """
        return {
            "cleanup.policy": self.cleanup,
            "compression.type": "producer",
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": "2" if replication >= 3 else "1",
            "retention.ms": str(self.retention_ms),
            "unclean.leader.election.enable": "false",
        }


_DECLARED = (
    Topic(
        what="count",
        about="crossings of lines, totals of lines and zones",
        partitions=_BUSY,
        retention_ms=90 * _DAY,
    ),
    Topic(
        what="alert",
        about="alerts of cameras and sensors: raised, updated, cleared",
        partitions=_BUSY,
        retention_ms=_YEAR,
    ),
    Topic(
        what="view",
        about="where domes look",
        partitions=_BUSY,
        retention_ms=30 * _DAY,
    ),
    Topic(
        what="face",
        about="face captures, and their deletion; keys of pictures, never pictures",
        partitions=_BUSY,
        retention_ms=30 * _DAY,
    ),
    Topic(
        what="sensor",
        about="sensors' readings",
        partitions=_BUSY,
        retention_ms=30 * _DAY,
    ),
    Topic(
        what="judgement",
        about="what operators said of alerts",
        partitions=_BUSY,
        retention_ms=_YEAR,
    ),
    Topic(
        what="health",
        about="cameras, sensors, models, disks and boxes: what is wrong and how to mend it",
        partitions=_BUSY,
        retention_ms=90 * _DAY,
    ),
    Topic(
        what="segment",
        about="finished segments of footage",
        partitions=_BUSY,
        retention_ms=90 * _DAY,
    ),
    Topic(
        what="access",
        about="who looked at pictures of people, or was refused",
        partitions=_RARE,
        retention_ms=_YEAR,
    ),
    Topic(
        what="claim",
        about="which box opened which stream epoch under which token",
        partitions=_BUSY,
        # As long as the longest of what it decides about: a store that is built anew needs both.
        retention_ms=_YEAR,
    ),
    Topic(
        what="case",
        about="video alerts at work, grid matters, citizens' appeals: opened and stepped",
        partitions=_BUSY,
        retention_ms=-1,
    ),
    Topic(
        what="place",
        about="the map: jurisdictions, components, buildings, organisations",
        partitions=_RARE,
        retention_ms=-1,
    ),
    Topic(
        what="register",
        about="registers of population and housing: keys of encrypted batches, never what is in them",
        partitions=_RARE,
        retention_ms=-1,
    ),
    Topic(
        what="desk",
        about="ratings of property companies, the working calendar",
        partitions=_RARE,
        retention_ms=-1,
    ),
    Topic(
        what=DLQ,
        about="records that could not be projected, each with the reason",
        partitions=_RARE,
        retention_ms=90 * _DAY,
        max_message_bytes=2 * _MIB,  # a record of the greatest size, and the reason
    ),
    Topic(
        what=SHARES,
        about="no records: who holds a partition reads the cameras of that share",
        partitions=DEFAULT_SHARES,
        exact=True,
        retention_ms=_DAY,
    ),
    Topic(
        what=CLAIMS,
        about="the newest claim of each stream; a record's offset is the fencing token",
        partitions=1,
        exact=True,
        retention_ms=-1,
        cleanup="compact",
    ),
)


def topics(prefix: str = DEFAULT_PREFIX, shares: int = DEFAULT_SHARES) -> tuple[Topic, ...]:
    """All topics under the prefix: a family each, then dlq, shares, claims.

    Args:
        shares: into how many parts the cameras are divided, 1 to 10,000.

    Raises:
        ConfigError: the prefix cannot be one, or the number of shares.
    """
    if not 1 <= shares <= 10_000:
        raise ConfigError(f"{shares} shares of the cameras: give 1 to 10000")
    counts = {SHARES: shares}
    return tuple(
        msgspec.structs.replace(
            topic, name=topic_name(prefix, topic.what), partitions=counts.get(topic.what, topic.partitions)
        )
        for topic in _DECLARED
    )


def topic_name(prefix: str, what: str) -> str:
    """The topic of a family (or of dlq, shares, claims) under the prefix.

    Raises:
        ConfigError: the prefix cannot be one.
    """
    name = f"{checked_prefix(prefix)}.{what}"
    if len(name) > LONGEST_NAME:
        raise ConfigError(
            f"the topic {name[:40]}... has {len(name)} characters, and Kafka takes {LONGEST_NAME}: "
            "shorten the topic prefix"
        )
    return name


def checked_prefix(prefix: str) -> str:
    """The prefix, if it can be one: words of a-z, 0-9 and hyphens with dots between them.

    Kafka would take capitals and `_` as well. But in its metrics `.` and `_` are the same, so it refuses a
    topic whose name differs from another's in that alone; and people mistake names that differ in capitals.

    Raises:
        ConfigError: says which character is wrong.
    """
    if _PREFIX.fullmatch(prefix):
        return prefix
    wrong = sorted({c for c in prefix if not re.match(r"[a-z0-9.-]", c)})
    if "_" in wrong:
        why = "'_' and '.' are the same in Kafka's metrics: write '-' instead of '_'"
    elif wrong:
        why = f"{wrong[0]!r} is not allowed: use a-z, 0-9, '-', and '.' between the tiers"
    else:
        why = "each part between the dots begins and ends with a letter or digit"
    raise ConfigError(f"the topic prefix {prefix[:60]!r} cannot be one: {why}; e.g. tengzhou.beixin.linli")


def family_of(prefix: str, name: str) -> str | None:
    """Which family's (or dlq, shares, claims) the topic is under this prefix; None: it is not one of them."""
    what = name.removeprefix(f"{prefix}.")
    return what if what != name and any(topic.what == what for topic in _DECLARED) else None


def everywhere(prefix: str, what: str) -> str:
    """A regular expression for the topics of a family in this jurisdiction and in all below it.

    With `tengzhou.linli` and `alert`: `tengzhou.linli.alert`, `tengzhou.beixin.linli.alert` ...
    """
    *tiers, product = checked_prefix(prefix).split(".")
    above = "".join(rf"{re.escape(tier)}\." for tier in tiers)
    return rf"^{above}(?:{_WORD}\.)*{re.escape(product)}\.{re.escape(what)}$"
