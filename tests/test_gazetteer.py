"""Addresses found by the names of the map: the finest that is certain, and nothing that is guessed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from city.features import Feature
from desk.gazetteer import Found, Gazetteer
from storage.city.engine import writing
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.objects import FolderObjects

A, B = "370481001001", "370481001002"


def building(id: str, name: str, parent: str, lon: float) -> Feature:
    point = {"type": "Point", "coordinates": [lon, 35.0]}
    return Feature(id=id, what="building", name=name, parent=parent, geometry=point)


THINGS = (
    Feature(id="370481001", what="jurisdiction", name="东街道 / East Town", level="town"),
    Feature(id=A, what="jurisdiction", name="花园社区", level="community", parent="370481001"),
    Feature(id=B, what="jurisdiction", name="河滨社区", level="community", parent="370481001"),
    Feature(id="E1", what="estate", name="阳光小区", parent=A),
    building("B1", "1号楼", A, 117.01),
    building("B2", "1号楼", B, 117.02),
    building("B3", "11号楼", A, 117.03),
    building("B4", "阳光小区5号楼", f"{A}G01", 117.04),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStore]:
    folder: Path = tmp_path_factory.mktemp("names")
    objects, vault = FolderObjects(folder / "objects"), Vault(folder / "vault.db", bytes(32))
    store = CityStore(folder / "city.db", objects, vault)
    put(store, *THINGS)
    yield store
    store.close()
    vault.close()


def put(store: CityStore, *features: Feature) -> None:
    with writing(store._engine) as connection:
        for feature in features:
            store.features.put(connection, feature.what, [feature])


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("东街道花园社区1号楼2单元", Found(A, (117.01, 35.0), "1号楼")),
        ("东街道 河滨社区 １号楼", Found(B, (117.02, 35.0), "1号楼")),  # full-width, and spaces
        ("花园社区11号楼", Found(A, (117.03, 35.0), "11号楼")),  # not 1号楼
        ("花园社区111号楼", Found(A, None, "花园社区")),
        ("阳光小区5号楼", Found(f"{A}G01", (117.04, 35.0), "阳光小区5号楼")),
        ("阳光小区北门", Found(A, None, "阳光小区")),
        ("1号楼", None),  # which one?
        ("East Town", None),  # a whole town is no place to go to
        ("nowhere", None),
        ("", None),
    ],
)
def test_the_finest_that_is_certain(store: CityStore, address: str, found: Found | None) -> None:
    assert Gazetteer(store.features).find(address) == found


def test_what_is_known_already_decides_among_equal_names(store: CityStore) -> None:
    assert Gazetteer(store.features).find("1号楼", within=B) == Found(B, (117.02, 35.0), "1号楼")


def test_names_are_read_again_when_the_map_has_changed(store: CityStore) -> None:
    names = Gazetteer(store.features)
    assert names.find("新建大厦") is None
    put(store, building("B9", "新建大厦", A, 117.05))
    assert names.find("新建大厦") == Found(A, (117.05, 35.0), "新建大厦")
