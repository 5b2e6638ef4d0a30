"""The table of reconnections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import AuthError, SourceError, StreamChanged, UnsupportedStream
from events.media import Discontinuity
from ingest.backoff import DELAYS_S, JITTER, Backoff, Failure, failure_of

failures = st.sampled_from(sorted(DELAYS_S))


def run(seed: str, kinds: list[Failure]) -> list[float]:
    state, delays = Backoff(seed), []
    for kind in kinds:
        state = state.failed(kind)
        delays.append(state.delay_s)
    return delays


@given(st.text(max_size=8), st.lists(failures, max_size=30))
def test_the_same_history_gives_the_same_delays(seed: str, kinds: list[Failure]) -> None:
    assert run(seed, kinds) == run(seed, kinds)


@given(st.text(max_size=8), failures, st.integers(1, 40))
def test_delays_keep_to_the_table_and_its_jitter(seed: str, kind: Failure, times: int) -> None:
    row = DELAYS_S[kind]
    for n, delay in enumerate(run(seed, [kind] * times)):
        base = row[min(n, len(row) - 1)]
        assert base * (1 - JITTER) <= delay <= base * (1 + JITTER)


def test_a_lost_camera_is_tried_at_once_and_wrong_passwords_are_not() -> None:
    assert run("gate", ["lost"])[0] < 1
    assert run("gate", ["lost"] * 20)[-1] <= 75
    assert run("gate", ["auth"])[0] > 20


def test_cameras_behind_one_switch_do_not_come_back_together() -> None:
    delays = [run(f"cam{n}", ["lost"] * 4)[-1] for n in range(100)]
    assert len(set(delays)) == 100
    assert max(delays) - min(delays) > 1


def test_a_long_connection_starts_the_table_anew() -> None:
    state = Backoff("gate")
    for _ in range(6):
        state = state.failed("lost")
    assert state.failed("lost", connected_s=3).delay_s > 10
    assert state.failed("lost", connected_s=3600).delay_s < 1
    assert state.failed("auth").attempt == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthError("x"), "auth"),
        (UnsupportedStream("x"), "unsupported"),
        (StreamChanged("x"), "changed"),
        (Discontinuity(-1), "changed"),
        (SourceError("x"), "lost"),
    ],
)
def test_every_end_of_a_source_has_its_row(error: Exception, kind: Failure) -> None:
    assert failure_of(error) == kind
