"""Shares of the cameras, and what a box keeps of those it reads."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StorageError
from pipeline.shares import Held, cameras_of, read_held, share_of, write_held


def test_cameras_go_round_and_round_in_the_order_of_their_ids() -> None:
    assert share_of(["yard", "gate", "hall", "road", "lane"], 2) == {
        "gate": 0,
        "hall": 1,
        "lane": 0,
        "road": 1,
        "yard": 0,
    }
    assert cameras_of(["yard", "gate", "hall"], 0, 2) == ["gate", "yard"]
    assert cameras_of(["yard", "gate"], 2, 3) == []


@given(cameras=st.sets(st.text(min_size=1), max_size=40), shares=st.integers(1, 30))
def test_every_camera_is_in_one_share_and_shares_are_even(cameras: set[str], shares: int) -> None:
    of = [cameras_of(cameras, share, shares) for share in range(shares)]
    assert sorted(camera for some in of for camera in some) == sorted(cameras)
    assert max(map(len, of)) - min(map(len, of)) <= 1


def test_the_order_in_the_file_says_nothing() -> None:
    assert share_of(["a", "b", "c"], 2) == share_of(["c", "a", "b"], 2)


def test_what_is_held_is_kept(tmp_path: Path) -> None:
    held = Held(box="east", shares={0: {"gate": 7}, 3: {}})
    write_held(tmp_path / "held.json", held)
    kept = read_held(tmp_path / "held.json")
    assert kept == held
    assert kept.tokens(0) == {"gate": 7}
    assert kept.tokens(1) == {}


def test_a_share_that_is_cut_otherwise_now_is_not_held() -> None:
    held = Held(box="east", shares={0: {"gate": 7}})
    assert held.of(0, 2, ["gate", "yard"])
    assert not held.of(0, 1, ["gate", "yard"])  # the share has a camera more
    assert not held.of(1, 2, ["gate", "yard"])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_torn_file_is_as_none(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "held.json"
    assert read_held(path) == Held()
    path.write_bytes(body)
    assert read_held(path) == Held()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent/held\.part|held\.json"):
        write_held(tmp_path / "absent" / "held.json", Held())
