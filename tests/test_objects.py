"""Objects in a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StorageError
from storage.objects import FolderObjects, Objects
from tests.contracts.objects import ObjectsContract


class TestFolderObjects(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> Objects:
        return FolderObjects(tmp_path / "objects")


def test_half_an_object_left_by_a_kill_is_no_object(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.put("a/b", b"whole")
    (tmp_path / "a" / ".c.123.half").write_bytes(b"ha")
    (tmp_path / "a" / "clip.mp4.tmp").write_bytes(b"ha")
    assert list(objects.keys()) == ["a/b"]


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
