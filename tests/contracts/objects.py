"""The contract of objects (`storage.objects.Objects`) as tests. A module of objects derives from
`ObjectsContract`, named `Test...`, and provides the fixture `objects`: empty ones.
"""

import pytest

from events.errors import StorageError
from storage.objects import Objects

NO_KEYS = ("", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a b", "a\n", "ä", "a\x00b", "a\\b")


class ObjectsContract:
    def test_put_get_replace_delete(self, objects: Objects) -> None:
        assert objects.get("alerts/a1/picture.jpg") is None
        objects.put("alerts/a1/picture.jpg", b"one")
        objects.put("alerts/a1/picture.jpg", b"two")
        objects.put("alerts/a2/clip.mp4", bytes(100_000))
        assert objects.get("alerts/a1/picture.jpg") == b"two"
        assert objects.get("alerts/a2/clip.mp4") == bytes(100_000)
        assert list(objects.keys()) == ["alerts/a1/picture.jpg", "alerts/a2/clip.mp4"]
        assert list(objects.keys("alerts/a2/")) == ["alerts/a2/clip.mp4"]
        objects.delete("alerts/a1/picture.jpg")
        objects.delete("alerts/a1/picture.jpg")
        assert objects.get("alerts/a1/picture.jpg") is None
        assert list(objects.keys()) == ["alerts/a2/clip.mp4"]

    def test_an_empty_object_is_one(self, objects: Objects) -> None:
        objects.put("empty", b"")
        assert objects.get("empty") == b""
        assert list(objects.keys()) == ["empty"]

    def test_the_same_again_is_the_same(self, objects: Objects) -> None:
        for _ in range(3):
            objects.put("a/b.jpg", b"same")
        assert objects.get("a/b.jpg") == b"same"
        assert list(objects.keys()) == ["a/b.jpg"]

    def test_a_part_of_a_key_is_no_object(self, objects: Objects) -> None:
        objects.put("alerts/a1/picture.jpg", b"one")
        assert objects.get("alerts") is None
        assert objects.get("alerts/a1") is None
        assert objects.get("alerts/a1/picture") is None
        objects.delete("alerts/a1")
        assert objects.get("alerts/a1/picture.jpg") == b"one"

    def test_keys_come_in_order_and_by_their_beginning(self, objects: Objects) -> None:
        keys = ["a/1", "a/10", "a/2", "ab/1", "b"]
        for key in reversed(keys):
            objects.put(key, key.encode())
        assert list(objects.keys()) == keys
        assert list(objects.keys("a/")) == ["a/1", "a/10", "a/2"]
        assert list(objects.keys("a/1")) == ["a/1", "a/10"]
        assert list(objects.keys("c")) == []

    @pytest.mark.parametrize("key", NO_KEYS)
    def test_what_is_no_key_is_refused(self, objects: Objects, key: str) -> None:
        with pytest.raises(StorageError, match="is not a key"):
            objects.put(key, b"")
        with pytest.raises(StorageError, match="is not a key"):
            objects.get(key)
        with pytest.raises(StorageError, match="is not a key"):
            objects.delete(key)
