"""Who gets which share: kafka-python's cooperative sticky assignor, which here also knows what is read at
present.

A box that was cut off reads on, but in Kafka's eyes it holds nothing any more. When all boxes were cut off at
once (their switch was restarted), the plain assignor would deal the shares anew, and every stream of the city
would begin anew. So each box also says which shares it reads, and under which tokens; what nobody holds goes,
if that is even, to whoever reads it already, and of several to the one with the latest token.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyAssignmentExecutor,
    StickyAssignorMemberMetadataV1,
)
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from kafka.structs import TopicPartition

Reads = Mapping[int, int]
"""Share -> the newest token under which its cameras are read."""


class ShareAssignor(CooperativeStickyAssignor):  # type: ignore[misc]
    """`reads`: what this box reads now; called by the client's own thread. `name` stays
    cooperative-sticky."""

    def __init__(self, reads: Callable[[], Reads]) -> None:
        super().__init__()
        self._reads = reads

    def forget(self) -> None:
        """This box was put out of the group: it holds nothing."""
        self.member_assignment = None

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolSubscription:
        """What this member tells the leader."""
        plain = super().metadata(topics)
        return ConsumerProtocolSubscription(
            version=plain.version,
            topics=plain.topics,
            user_data=msgspec.json.encode(self._reads()),
            owned_partitions=plain.owned_partitions,
        )

    def assign(self, cluster: Any, members: Iterable[Any]) -> dict[str, ConsumerProtocolAssignment]:
        """Each member's share of the partitions; one that moves is given to nobody before it was given up."""
        told = {member.member_id: member.metadata for member in members}
        owner = {tp: name for name, metadata in told.items() for tp in _owned(metadata)}
        keeps: dict[str, list[TopicPartition]] = {name: [] for name in told}
        for tp, name in {**_readers(told), **owner}.items():
            keeps[name].append(tp)
        sticky = StickyAssignmentExecutor(
            cluster,
            {
                name: StickyAssignorMemberMetadataV1(
                    subscription=list(metadata.topics), partitions=sorted(keeps[name]), generation=-1
                )
                for name, metadata in told.items()
            },
        )
        sticky.perform_initial_assignment()
        sticky.balance()
        return {
            name: ConsumerProtocolAssignment(
                self.version,
                [
                    (topic, [n for n in numbers if owner.get(TopicPartition(topic, n), name) == name])
                    for topic, numbers in sorted(sticky.get_final_assignment(name))
                ],
                b"",
            )
            for name in told
        }


def _owned(metadata: Any) -> list[TopicPartition]:
    return [
        TopicPartition(held.topic, n)
        for held in getattr(metadata, "owned_partitions", None) or ()
        for n in held.partitions
    ]


def _readers(told: Mapping[str, Any]) -> dict[TopicPartition, str]:
    """Of each share that somebody says to read, who does so under the latest token."""
    found: dict[TopicPartition, tuple[int, str]] = {}
    for name, metadata in told.items():
        try:
            reads = msgspec.json.decode(metadata.user_data or b"{}", type=dict[int, int])
        except msgspec.DecodeError:  # another kind of client in the group
            continue
        for topic in metadata.topics:
            for share, token in reads.items():
                tp = TopicPartition(topic, share)
                found[tp] = max(found.get(tp, (-1, "")), (token, name))
    return {tp: name for tp, (_, name) in found.items()}
