"""Who gets which share: even, moving as little as may be, and to nobody before it was given up."""

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription
from kafka.structs import TopicPartition

from pipeline.assignor import ShareAssignor

TOPIC = "linli.shares"


class Cluster:
    """What the leader asks of the brokers' metadata."""

    def __init__(self, shares: int) -> None:
        self._shares = set(range(shares))

    def topics(self) -> set[str]:
        return {TOPIC}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._shares if topic == TOPIC else None


class Member:
    """As the brokers hand a member's word to the leader."""

    def __init__(self, name: str, owned: set[int], reads: Mapping[int, int] | bytes = b"") -> None:
        told = reads if isinstance(reads, bytes) else msgspec.json.encode(reads)
        plain = assignor({}).metadata([TOPIC])
        owns = [ConsumerProtocolSubscription.TopicPartition(topic=TOPIC, partitions=sorted(owned))]
        self.member_id = name
        self.metadata = ConsumerProtocolSubscription(
            version=plain.version, topics=[TOPIC], user_data=told, owned_partitions=owns if owned else []
        )


def assignor(reads: Mapping[int, int]) -> ShareAssignor:
    return ShareAssignor(lambda: reads)


def dealt(shares: int, *members: Member) -> dict[str, set[int]]:
    found = assignor({}).assign(Cluster(shares), members)
    return {name: {tp.partition for tp in given.partitions()} for name, given in found.items()}


def test_it_is_the_cooperative_sticky_one_to_the_brokers() -> None:
    mine = assignor({3: 17})
    told = mine.metadata([TOPIC])
    assert mine.name == "cooperative-sticky"
    assert msgspec.json.decode(told.user_data, type=dict[int, int]) == {3: 17}
    decoded = ConsumerProtocolSubscription.decode(told.encode())
    assert decoded.user_data == told.user_data


def test_a_newcomer_gets_nothing_that_another_still_has() -> None:
    first = dealt(4, Member("a", {0, 1, 2, 3}), Member("b", set()))
    assert len(first["a"]) == 2
    assert first["b"] == set()
    then = dealt(4, Member("a", first["a"]), Member("b", set()))
    assert then["a"] == first["a"]
    assert then["b"] == {0, 1, 2, 3} - first["a"]


def test_who_was_put_out_gets_back_what_nobody_took() -> None:
    """All were cut off at once: nothing moves."""
    found = dealt(4, Member("x", set(), {0: 5, 3: 8}), Member("y", set(), {1: 6, 2: 7}))
    assert found == {"x": {0, 3}, "y": {1, 2}}


def test_who_holds_it_keeps_it_before_who_only_reads_it() -> None:
    found = dealt(2, Member("gone", set(), {0: 1, 1: 2}), Member("here", {0, 1}, {0: 3, 1: 4}))
    assert found["gone"] == set()
    assert len(found["here"]) == 1  # the other is given up, and then goes


def test_of_two_readers_the_later_claim_has_it() -> None:
    found = dealt(2, Member("old", set(), {0: 1, 1: 9}), Member("new", set(), {0: 7, 1: 2}))
    assert found == {"old": {1}, "new": {0}}


def test_what_another_client_says_is_passed_over() -> None:
    assert dealt(2, Member("x", set(), b"\x00not ours"))["x"] == {0, 1}


def test_who_was_put_out_says_that_it_holds_nothing() -> None:
    mine = assignor({})
    mine.member_assignment = [TopicPartition(TOPIC, 0)]
    assert mine.metadata([TOPIC]).owned_partitions
    mine.forget()
    assert not mine.metadata([TOPIC]).owned_partitions


@given(shares=st.integers(1, 12), draw=st.data())
def test_whatever_they_say_all_is_dealt_evenly_in_a_few_rounds(shares: int, draw: Any) -> None:
    """A member that gives something up asks for the next round; when none does, all is dealt."""
    names = ["a", "b", "c", "d"][: draw.draw(st.integers(1, 4))]
    owner = {n: draw.draw(st.sampled_from([*names, ""])) for n in range(shares)}
    reads = {
        name: draw.draw(st.dictionaries(st.integers(0, shares - 1), st.integers(1, 99))) for name in names
    }
    owned = {name: {n for n, of in owner.items() if of == name} for name in names}
    for _ in range(5):
        found = dealt(shares, *(Member(name, owned[name], reads[name]) for name in names))
        given = [n for some in found.values() for n in some]
        assert len(given) == len(set(given))
        for name in names:
            assert not any(n in owned[other] for n in found[name] for other in names if other != name)
        gave_up = any(owned[name] - found[name] for name in names)
        owned = found
        if not gave_up:
            break
    assert not gave_up
    assert sorted(n for some in owned.values() for n in some) == list(range(shares))
    assert max(map(len, owned.values())) - min(map(len, owned.values())) <= 1
