"""The vault on SQLite and PostgreSQL: what is sealed can be read until its key is destroyed, never after."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.errors import ConfigError, StorageError
from storage.city.master import MASTER_BYTES, make_master, read_master
from storage.city.vault import Vault

MASTER = bytes(range(MASTER_BYTES))
Opening = Callable[..., Vault]


@pytest.fixture(params=["sqlite", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Opens a vault on one and the same database, again and again."""
    where: Path | str = tmp_path / "vault.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("database")
    made: list[Vault] = []

    def open_it(master: bytes = MASTER) -> Vault:
        made.append(Vault(where, master))
        return made[-1]

    yield open_it
    for vault in made:
        vault.close()


def test_what_was_sealed_is_read_again_by_another_process(opening: Opening) -> None:
    sealed = opening().seal("person:1", b"Synthetic Wang")
    assert b"Wang" not in sealed
    assert opening().open("person:1", sealed) == b"Synthetic Wang"
    assert opening().seal("person:1", b"Synthetic Wang") != sealed


def test_each_entry_has_a_key_of_its_own(opening: Opening) -> None:
    vault = opening()
    sealed = vault.seal("person:1", b"one")
    vault.seal("person:2", b"two")
    with pytest.raises(StorageError, match="person:2 was sealed for another entry"):
        vault.open("person:2", sealed)
    with pytest.raises(StorageError, match="damaged"):
        vault.open("person:1", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(StorageError, match="was not sealed by a vault"):
        vault.open("person:1", b"plain text")
    assert vault.open("person:3", sealed) is None


def test_an_erased_entry_is_never_read_again_nor_written(opening: Opening) -> None:
    vault = opening()
    sealed = vault.seal("person:1", b"one")
    other = vault.seal("person:2", b"two")
    assert vault.erase("person:1")
    assert not vault.erase("person:1")
    for again in (vault, opening()):
        assert again.open("person:1", sealed) is None
        assert again.open("person:2", other) == b"two"
        with pytest.raises(StorageError, match="was erased"):
            again.seal("person:1", b"one")


def test_an_entry_without_a_key_can_be_erased_beforehand(opening: Opening) -> None:
    vault = opening()
    assert not vault.erase("person:9")
    with pytest.raises(StorageError, match="was erased"):
        vault.seal("person:9", b"nine")


def test_thousands_at_once_and_some_of_them_twice(opening: Opening) -> None:
    vault = opening()
    entries = [f"person:{n % 6000}" for n in range(7000)]
    plains = [f"{n}".encode() for n in range(7000)]
    sealed = vault.seal_many(entries, plains)
    assert opening().open_many(entries, sealed) == plains
    assert vault.open_many(entries[:2], [sealed[6000], sealed[6001]]) == [b"6000", b"6001"]


def test_another_master_key_is_refused_and_nothing_is_told(opening: Opening) -> None:
    opening().seal("person:1", b"one")
    with pytest.raises(ConfigError, match="begun with another key") as refused:
        opening(bytes(MASTER_BYTES))
    assert MASTER.hex() not in str(refused.value)
    assert MASTER.hex() not in repr(opening())


def test_rewrapped_keys_read_the_same_and_the_old_master_reads_nothing(opening: Opening) -> None:
    vault, new = opening(), bytes(reversed(range(MASTER_BYTES)))
    sealed = [vault.seal(f"person:{n}", b"%d" % n) for n in range(20)]
    vault.erase("person:3")
    blind = vault.blind("x")
    assert vault.rewrap(new) == 19
    assert vault.blind("x") != blind
    again = opening(new)
    assert [again.open(f"person:{n}", body) for n, body in enumerate(sealed)] == [
        None if n == 3 else b"%d" % n for n in range(20)
    ]
    with pytest.raises(ConfigError, match="another key"):
        opening()


def test_the_blind_index_finds_the_same_text_and_no_other(opening: Opening) -> None:
    vault = opening()
    assert vault.blind("11010519491231002X") == opening().blind("11010519491231002X")
    assert vault.blind("11010519491231002X") != vault.blind("110105194912310021")
    assert len(vault.blind("")) == 16


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plain=st.binary(max_size=300),
    entry=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40),
)
def test_whatever_is_sealed_is_opened(tmp_path: Path, plain: bytes, entry: str) -> None:
    vault = Vault(tmp_path / "v.db", MASTER)
    assert vault.open(entry, vault.seal(entry, plain)) == plain
    vault.close()


def test_after_erasing_the_wrapped_key_is_in_no_file(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db", MASTER)
    for n in range(50):
        vault.seal(f"person:{n}", b"x")
    raw = vault._engine.raw_connection()
    (wrapped,) = raw.cursor().execute("SELECT wrapped FROM vault_keys WHERE entry = 'person:7'").fetchone()
    raw.close()

    def places() -> list[str]:
        return [path.name for path in sorted(tmp_path.iterdir()) if wrapped[12:] in path.read_bytes()]

    assert places() != []
    vault.erase("person:7")
    assert places() == []
    vault.close()
    assert places() == []


def test_the_master_key_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "vault.key"
    make_master(path)
    assert len(read_master(path)) == MASTER_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="never overwritten"):
        make_master(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_master(path)
    path.chmod(0o600)
    path.write_text("secret words")
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as refused:
        read_master(path)
    assert "secret words" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_master(tmp_path / "none")


def test_the_vaults_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db", os.urandom(MASTER_BYTES))
    vault.seal("one", b"words")
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert modes == {"vault.db": 0, "vault.db-wal": 0, "vault.db-shm": 0}
    vault.close()
