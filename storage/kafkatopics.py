"""Topics on real brokers against what is declared (`events/topics.py`): compared, made, set right.

The number of partitions is never changed, nor is anything deleted: with another number a camera's events
would be in two places, and overtake each other. That is a person's to mend; what is wrong says how.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from kafka import errors as k
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from events.errors import BusAway
from events.topics import CLAIMS, SHARES, Topic
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told, trouble

TIMEOUT_MS = 30_000
CONNECTED_MS = 10_000
READY_MS = 60_000
"""How long new topics are waited for, until each partition has a leader."""

LOOK_S = 0.1
SHOWN_S = 10.0
"""How long it is waited for that the brokers show what was set."""

APPLY = "run `linli topics apply SITE`"
_ACL = "add an ACL for {} on the topic (deploy/kafka/acls.sh has the roles)"

Done = Callable[[str, str], None]
"""Is told of a topic and what was done to it."""


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """What of a topic is not as declared."""

    topic: str
    what: str
    """`topic`, `partitions`, `replication`, or a setting by Kafka's name."""
    found: str
    wanted: str
    mend: str
    settable: bool = False
    """`apply` mends it."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} {self.found}, wanted {self.wanted}; {self.mend}"


class _Found(msgspec.Struct, frozen=True):
    """A topic as the brokers have it."""

    partitions: int
    replication: int
    """Of the partition that has the fewest copies."""


def check(brokers: Brokers, wanted: Sequence[Topic], replication: int) -> list[Wrong]:
    """What is not as declared; empty: nothing. Changes nothing.

    Args:
        replication: copies of each partition; more of them are right, too.

    Raises:
        BusError: the brokers refuse, or do not answer (BusAway).
    """
    with _admin(brokers) as admin:
        return _compare(admin, wanted, replication)


def apply(
    brokers: Brokers, wanted: Sequence[Topic], replication: int, tell: Done = lambda topic, did: None
) -> list[Wrong]:
    """Make what is missing and set what is set wrong; what is right is left alone.

    Answers what is still wrong.

    Args:
        replication: copies of each partition of a new topic.
        tell: hears of each topic.

    Raises:
        BusError: the brokers refuse, or do not answer (BusAway). What was told was done.
    """
    by_name = {topic.name: topic for topic in wanted}
    with _admin(brokers) as admin:
        wrong = _compare(admin, wanted, replication)
        missing = [by_name[one.topic] for one in wrong if one.what == "topic" and one.settable]
        refused = _make(admin, missing, replication, tell) if missing else []
        settings: dict[str, list[Wrong]] = {}
        for one in wrong:
            if one.settable and one.what != "topic":
                settings.setdefault(one.topic, []).append(one)
        for name, several in settings.items():
            refused += _set(admin, by_name[name], several, tell)
        left = [one for one in wrong if not one.settable] + refused
        for name in by_name:
            if name not in {one.topic for one in wrong}:
                tell(name, "is as it has to be")
    return sorted(left, key=lambda one: list(by_name).index(one.topic))


@contextlib.contextmanager
def _admin(brokers: Brokers) -> Iterator[Any]:
    with told(brokers):
        admin = opened(
            KafkaAdminClient,
            **arguments(brokers),
            request_timeout_ms=TIMEOUT_MS,
            bootstrap_timeout_ms=CONNECTED_MS,
        )
        with contextlib.closing(admin):
            yield admin


def _compare(admin: Any, wanted: Sequence[Topic], replication: int) -> list[Wrong]:
    found, wrong = _look(admin, wanted)
    settings = _settings(admin, [topic for topic in wanted if topic.name in found])
    for topic in wanted:
        if topic.name in found:
            wrong += _differences(topic, found[topic.name], settings.get(topic.name, {}), replication)
    order = {topic.name: place for place, topic in enumerate(wanted)}
    return sorted(wrong, key=lambda one: order[one.topic])


def _look(admin: Any, wanted: Sequence[Topic]) -> tuple[dict[str, _Found], list[Wrong]]:
    """Those that are there, and what is wrong with the others."""
    found: dict[str, _Found] = {}
    wrong: list[Wrong] = []
    by_name = {topic.name: topic for topic in wanted}
    for one in admin.describe_topics(list(by_name)):
        error, topic = k.for_code(one["error_code"]), by_name[one["name"]]
        if error is k.NoError:
            copies = min((len(part["replica_nodes"]) for part in one["partitions"]), default=0)
            found[topic.name] = _Found(len(one["partitions"]), copies)
        elif error is k.UnknownTopicOrPartitionError:
            wrong.append(_missing(topic))
        elif error is k.TopicAuthorizationFailedError:
            wrong.append(_wrong(topic, "not to be seen, or not there", _ACL.format("Create and Describe")))
        else:
            raise trouble(error(topic.name))
    return found, wrong


def _settings(admin: Any, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    """Their settings; of those that this user may not ask for nothing."""
    if not topics:
        return {}
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, dict.fromkeys(topic.settings(1)))
        for topic in topics
    ]
    answered = admin.describe_configs(resources, config_filter="all").get("topic", {})
    return {
        name: {key: str(value["value"]) for key, value in values.items()} for name, values in answered.items()
    }


def _differences(topic: Topic, found: _Found, settings: dict[str, str], replication: int) -> Iterator[Wrong]:
    if found.partitions < topic.partitions or (topic.exact and found.partitions != topic.partitions):
        yield Wrong(
            topic=topic.name,
            what="partitions",
            found=str(found.partitions),
            wanted=str(topic.partitions),
            mend=_mend_partitions(topic, found.partitions),
        )
    if found.replication < replication:
        yield Wrong(
            topic=topic.name,
            what="replication",
            found=str(found.replication),
            wanted=str(replication),
            mend="move it with kafka-reassign-partitions.sh, or set [bus] replication to what is there",
        )
    if not settings:
        yield Wrong(
            topic=topic.name,
            what="settings",
            found="not to be seen",
            wanted="as declared",
            mend=_ACL.format("DescribeConfigs"),
        )
        return
    for name, value in topic.settings(found.replication).items():
        if not _same(settings.get(name, ""), value):
            yield Wrong(
                topic=topic.name,
                what=name,
                found=settings.get(name) or "not set",
                wanted=value,
                mend=APPLY,
                settable=True,
            )


def _same(found: str, wanted: str) -> bool:
    return sorted(found.split(",")) == sorted(wanted.split(","))


def _mend_partitions(topic: Topic, found: int) -> str:
    delete = f"delete the topic and {APPLY}"
    if topic.what == SHARES:
        return (
            f"set [cluster] shares = {found} in every site file; or stop the boxes, {delete} (it holds no "
            "records)"
        )
    if topic.what == CLAIMS:
        return f"stop the boxes, {delete}: tokens of two partitions cannot be compared"
    return f"while nothing is in it: {delete}; otherwise begin anew under another [bus] prefix"


def _missing(topic: Topic) -> Wrong:
    return msgspec.structs.replace(_wrong(topic, "missing", APPLY), settable=True)


def _wrong(topic: Topic, found: str, mend: str) -> Wrong:
    wanted = _counted(topic.partitions)
    return Wrong(topic=topic.name, what="topic", found=found, wanted=wanted, mend=mend)


def _counted(partitions: int) -> str:
    return f"{partitions} partition{'' if partitions == 1 else 's'}"


def _make(admin: Any, topics: Sequence[Topic], replication: int, tell: Done) -> list[Wrong]:
    """Create them; answers those that were refused, each with the reason."""
    new = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": replication,
            "configs": topic.settings(replication),
        }
        for topic in topics
    }
    answered = admin.create_topics(new, raise_errors=False)["topics"]
    by_name = {topic.name: topic for topic in topics}
    made, refused = [], []
    for one in answered:
        error, topic = k.for_code(one["error_code"]), by_name[one["name"]]
        if error is k.NoError:
            made.append(topic)
        elif error is not k.TopicAlreadyExistsError:  # somebody else made it meanwhile
            refused.append(_refusal(admin, topic, error, str(one.get("error_message") or ""), replication))
    try:
        admin.wait_for_topics([topic.name for topic in made], timeout_ms=READY_MS)
    except k.KafkaTimeoutError:
        raise BusAway(
            f"the brokers took {len(made)} new topics and have no leader for them within "
            f"{READY_MS // 1000} s; look after the brokers, then run this again"
        ) from None
    for topic in made:
        copies = f", {replication} copies" if replication > 1 else ""
        tell(topic.name, f"made, {_counted(topic.partitions)}{copies}")
    return refused


def _refusal(admin: Any, topic: Topic, error: type[k.KafkaError], said: str, replication: int) -> Wrong:
    """Why a topic was not made, with the mend."""
    if error in (k.TopicAuthorizationFailedError, k.ClusterAuthorizationFailedError):
        return _wrong(topic, "missing, and this user may not make it", _ACL.format("Create"))
    if error is k.InvalidReplicationFactorError:
        there = len(admin.describe_cluster().get("brokers", ()))
        few = f"{there} broker{'' if there == 1 else 's'}"
        return _wrong(
            topic,
            f"missing: {replication} copies of it cannot be on {few}",
            f"set [bus] replication to {there} at most, or start more brokers",
        )
    if isinstance(error, type) and issubclass(error, k.RetriableError):
        raise trouble(error(topic.name))
    return _wrong(
        topic, f"missing, and refused: {error.__name__} {said[:200]}".rstrip(), "ask who runs the brokers"
    )


def _set(admin: Any, topic: Topic, wrong: Sequence[Wrong], tell: Done) -> list[Wrong]:
    """Set a topic's settings; answers what was refused."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, {one.what: one.wanted for one in wrong})
    said = admin.alter_configs([resource], raise_on_unknown=False)["topic"][topic.name]
    if said == "OK":
        _await(admin, topic, wrong)
        for one in wrong:
            tell(topic.name, f"{one.what} set from {one.found} to {one.wanted}")
        return []
    denied = k.TopicAuthorizationFailedError.__name__ in said or "Authorization" in said
    mend = _ACL.format("AlterConfigs") if denied else f"Kafka says: {said[:200]}"
    return [msgspec.structs.replace(one, mend=mend, settable=False) for one in wrong]


def _await(admin: Any, topic: Topic, wrong: Sequence[Wrong]) -> None:
    """Until the brokers show what was set: they take it first, and learn it from each other after that."""
    for _ in range(int(SHOWN_S / LOOK_S)):
        shown = _settings(admin, [topic]).get(topic.name, {})
        if all(_same(shown.get(one.what, ""), one.wanted) for one in wrong):
            return
        time.sleep(LOOK_S)
