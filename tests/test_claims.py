"""Two boxes that read one camera: what they say twice counts once, in whatever order it arrives."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.events import Crossing, Event
from storage.claims import Claim, Claims
from storage.postgres import PostgresStore
from storage.store import SqliteStore, Store
from testbed.postgis import PostGIS
from testbed.store_content import Content, content, differences
from tests.contracts.examples import EPOCH
from tests.contracts.store import LOG, records
from tests.handovers import Queue, handovers, merged
from tests.storeworks import empty, new_store


def filled(store: Store, sent: list[Event], step: int) -> None:
    """Applied in batches; some records come twice."""
    given = records(sent)
    for n in range(0, len(given), step):
        store.apply(LOG, given[max(n - 1, 0) : n + step])


def sqlite_content(path: Path, sent: list[Event], step: int) -> Content:
    store = SqliteStore(path, synchronous="OFF")
    filled(store, sent, step)
    store.close()
    return content(path)


@settings(max_examples=200, deadline=None)
@given(said=handovers(), chance=st.randoms(use_true_random=False), step=st.integers(1, 20))
def test_any_order_of_arrival_gives_the_store_of_the_sorted_order(
    said: tuple[list[Queue], list[Event]],
    chance: random.Random,
    step: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    queues, in_order = said
    folder = tmp_path_factory.mktemp("claims")
    sorted_ = sqlite_content(folder / "sorted.db", in_order, 500)
    any_order = sqlite_content(folder / "any.db", merged(queues, chance), step)
    assert differences(sorted_, any_order) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=handovers(), chance=st.randoms(use_true_random=False), step=st.integers(1, 20))
def test_so_it_does_on_postgresql(
    said: tuple[list[Queue], list[Event]],
    chance: random.Random,
    step: int,
    store: tuple[PostgresStore, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    queues, in_order = said
    sorted_ = sqlite_content(tmp_path_factory.mktemp("claims") / "sorted.db", in_order, 500)
    there, dsn = store
    empty(dsn)
    filled(there, merged(queues, chance), step)
    assert differences(sorted_, content(dsn)) == []


@settings(max_examples=60, deadline=None)
@given(
    said=handovers(),
    chance=st.randoms(use_true_random=False),
    step=st.integers(1, 20),
    horizons=st.lists(st.integers(0, 40), min_size=1, max_size=4),
)
def test_what_was_pruned_breaks_nothing(
    said: tuple[list[Queue], list[Event]],
    chance: random.Random,
    step: int,
    horizons: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nothing counts less than it should by what is still known, and nothing twice."""
    sent = merged(said[0], chance)
    store = SqliteStore(tmp_path_factory.mktemp("claims") / "store.db", synchronous="OFF")
    given = records(sent)
    for n in range(0, len(given), step):
        store.apply(LOG, given[n : n + step])
        store.prune(EPOCH + horizons[n % len(horizons)] * 1_000_000)
    assert all(total.count > 0 for total in store.totals())
    crossings = sum(isinstance(e.data, Crossing) for e in sent)
    assert sum(total.count for total in store.totals()) <= crossings
    before = store.totals(), store.alerts(), store.counts(), store.faces(), store.views()
    store.apply("again", given)
    assert before == (store.totals(), store.alerts(), store.counts(), store.faces(), store.views())
    store.close()


def test_a_box_s_own_later_claim_supersedes_nothing() -> None:
    claims = Claims([Claim("c", 1, 1, "a", 10), Claim("c", 2, 2, "a", 20)])
    assert claims.end_us("c", 1) is None
    claims.add(Claim("c", 3, 3, "b", 30))
    assert [claims.end_us("c", epoch) for epoch in (1, 2, 3)] == [30, 30, None]
    claims.add(Claim("c", 4, 4, "a", 25))
    assert [claims.end_us("c", epoch) for epoch in (1, 2, 3)] == [30, 30, 25], "it was b's from 30 on"


def test_an_epoch_that_nobody_claimed_counts_unless_its_claim_was_pruned() -> None:
    known = [Claim("c", 5, 7, "b", 30)]
    assert Claims(known).end_us("c", 3) is None
    forgotten = Claims(known, {"c": 3})
    assert [forgotten.end_us("c", epoch) for epoch in (2, 3, 4)] == [30, 30, None]


def test_of_two_claims_of_one_epoch_the_earlier_is_its_own() -> None:
    every = [Claim("c", 1, 1, "a", 0), Claim("c", 1, 9, "a", 50), Claim("c", 2, 5, "b", 20)]
    for claims in (Claims(every), Claims(every[::-1])):
        assert [claims.end_us("c", epoch) for epoch in (1, 2)] == [20, 50]


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresStore, str]]:
    """An empty store on PostgreSQL, and where it is."""
    server: PostGIS = request.getfixturevalue("postgis")
    dsn = new_store(server)
    store = PostgresStore(dsn)
    yield store, dsn
    store.close()
    server.drop_database(dsn)
