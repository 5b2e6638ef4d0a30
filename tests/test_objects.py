"""Objects in a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StorageError
from storage.objects import FolderObjects


def test_put_get_replace_delete(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "objects")
    assert objects.get("alerts/a1/picture.jpg") is None
    objects.put("alerts/a1/picture.jpg", b"one")
    objects.put("alerts/a1/picture.jpg", b"two")
    objects.put("alerts/a2/clip.mp4", bytes(100_000))
    assert objects.get("alerts/a1/picture.jpg") == b"two"
    assert list(objects.keys()) == ["alerts/a1/picture.jpg", "alerts/a2/clip.mp4"]
    assert list(objects.keys("alerts/a2/")) == ["alerts/a2/clip.mp4"]
    objects.delete("alerts/a1/picture.jpg")
    objects.delete("alerts/a1/picture.jpg")
    assert objects.get("alerts/a1/picture.jpg") is None
    assert objects.get("alerts") is None


def test_half_an_object_left_by_a_kill_is_no_object(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.put("a/b", b"whole")
    (tmp_path / "a" / ".c.123.half").write_bytes(b"ha")
    (tmp_path / "a" / "clip.mp4.tmp").write_bytes(b"ha")
    assert list(objects.keys()) == ["a/b"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a b", "a\n"])
def test_a_key_that_could_lead_out_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(StorageError, match="is not a key"):
        FolderObjects(tmp_path).put(key, b"")


@given(st.text(max_size=20))
def test_no_key_leads_out(key: str) -> None:
    root = Path("/srv/objects")
    try:
        path = FolderObjects(root).path(key)
    except StorageError:
        return
    assert path.resolve().is_relative_to(root)


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"file/x/y cannot be used"):
        FolderObjects(tmp_path / "file").put("x/y", b"")
