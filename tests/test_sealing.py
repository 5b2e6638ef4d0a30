"""Sealed originals: only the identity opens them, and only its passphrase opens the identity."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main as linli
from cli.settings import load
from events.errors import AccessDenied, ConfigError, StorageError
from storage.captures import FacesSettings
from storage.sealing import check_recipient, new_identity, read_identity, seal, unseal
from tests.facekeys import IDENTITY, PASSPHRASE, RECIPIENT

OTHER = "age135dahwvshygec8y5jzg63kyy40x2k9hynw8d29tvf44qmqgpvc5sl8he3m"
SITE = '[site]\nid = "x"\n[[camera]]\nid = "c"\nurl = "rtsp://192.0.2.1/main"\n'


@given(st.binary(max_size=200_000))
@settings(max_examples=20, deadline=None)
def test_what_is_sealed_comes_out_as_it_went_in(data: bytes) -> None:
    assert unseal(seal(data, RECIPIENT), IDENTITY, PASSPHRASE) == data


def test_each_picture_has_a_key_of_its_own() -> None:
    """The same picture twice gives two headers (the wrapped key) and two bodies, and shows in neither."""
    data = bytes(range(256)) * 20
    first, second = (seal(data, RECIPIENT) for _ in range(2))
    assert first.startswith(b"age-encryption.org/v1\n-> X25519 ")
    (head, _, body), (other_head, _, other_body) = (s.partition(b"\n--- ") for s in (first, second))
    assert head != other_head
    assert not {body[i : i + 8] for i in range(len(body))} & {other_body[i : i + 8] for i in range(len(body))}
    assert not any(data[i : i + 8] in first for i in range(256))


@given(st.integers(0, 10**9), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_found_out(place: int, change: int) -> None:
    sealed = bytearray(seal(b"face" * 100, RECIPIENT))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(StorageError, match="another recipient, or its file is damaged"):
        unseal(bytes(sealed), IDENTITY, PASSPHRASE)


@pytest.mark.parametrize("wrong", ["", "correct horse batter", "Correct horse battery", "x" * 1000])
def test_a_wrong_passphrase_opens_nothing_and_is_not_shown(wrong: str) -> None:
    with pytest.raises(AccessDenied) as refused:
        unseal(seal(b"face", RECIPIENT), IDENTITY, wrong)
    assert str(refused.value) == "the passphrase does not open the identity file"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_another_identity_does_not_open_it() -> None:
    with pytest.raises(StorageError, match="sealed for another recipient"):
        unseal(seal(b"face", OTHER), IDENTITY, PASSPHRASE)


@pytest.mark.parametrize("file", [b"", b"age", IDENTITY[:200], seal(b"face", RECIPIENT)])
def test_a_file_that_is_no_identity_is_named_so(file: bytes) -> None:
    with pytest.raises(StorageError, match="linli faces keygen"):
        unseal(seal(b"face", RECIPIENT), file, PASSPHRASE)


def test_an_identity_that_is_not_there_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="identity file of \\[faces\\] cannot be read: No such file"):
        read_identity(tmp_path / "none")


def test_an_identity_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.age"
    path.write_bytes(b"x")
    path.chmod(0o640)
    with pytest.raises(StorageError, match=r"chmod 600 identity\.age"):
        read_identity(path)
    path.chmod(0o600)
    assert read_identity(path) == b"x"


@pytest.mark.parametrize(
    "wrong", ["", "age1", RECIPIENT[:-1], RECIPIENT.replace("age1", "bge1"), "ssh-ed25519 A"]
)
def test_what_is_no_recipient_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="not an age X25519 recipient"):
        check_recipient(wrong)


def test_an_identity_in_the_site_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = "AGE-SECRET-KEY-1QQPQZRFRZQ0MZX0FQQ5S4ZQGGPVS3YXW7K3Q6MZ2"
    path = tmp_path / "site.toml"
    path.write_text(f'{SITE}[faces]\noriginals = "sealed"\nrecipient = "{secret}"\n')
    with pytest.raises(ConfigError, match="secret half") as refused:
        load(path)
    assert secret not in str(refused.value)


def test_sealing_needs_a_recipient(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(f'{SITE}[faces]\noriginals = "sealed"\n')
    with pytest.raises(ConfigError, match=r'in faces: originals = "sealed" needs a recipient.*keygen'):
        load(path)
    path.write_text(f'{SITE}[faces]\noriginals = "sealed"\nrecipient = "{RECIPIENT}"\n')
    assert load(path).file.faces.recipient == RECIPIENT


def test_an_original_is_not_kept_longer_than_its_crop() -> None:
    with pytest.raises(ValueError, match="sealed_days must be at most keep_days"):
        FacesSettings(keep_days=2, sealed_days=3)
    assert FacesSettings().originals == "none"


def test_a_capture_area_is_a_face_camera_s(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    area = "[camera.face]\narea = [[0, 0], [1, 0], [1, 1]]\n"
    path.write_text(SITE + area)
    with pytest.raises(ConfigError, match='write kind = "face"'):
        load(path)
    path.write_text(SITE + 'kind = "face"\n' + area)
    assert load(path).file.camera[0].face.area == ((0, 0), (1, 0), (1, 1))
    path.write_text(SITE + 'kind = "face"\n' + "[camera.face]\narea = [[0, 0], [1, 1], [1, 0], [0, 1]]\n")
    with pytest.raises(ConfigError, match="neither crosses nor touches"):
        load(path)


def test_keygen_s_file_opens_what_is_sealed_for_its_recipient(tmp_path: Path) -> None:
    """The real thing, with its real work: this test takes seconds."""
    out = tmp_path / "identity.age"
    asked = f"{PASSPHRASE}\n{PASSPHRASE}\n"
    done = CliRunner().invoke(linli, ["faces", "keygen", "--out", str(out)], input=asked)
    assert done.exit_code == 0, done.output
    recipient = done.stdout.strip().splitlines()[-1]
    check_recipient(recipient)
    assert PASSPHRASE not in done.output
    assert "AGE-SECRET" not in done.output
    assert b"AGE-SECRET" not in out.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert unseal(seal(b"face", recipient), out.read_bytes(), PASSPHRASE) == b"face"
    again = CliRunner().invoke(linli, ["faces", "keygen", "--out", str(out)], input=asked)
    assert again.exit_code == 2
    assert "never overwritten" in again.output


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(ConfigError, match="fewer than 12 characters") as refused:
        new_identity("sesame open")
    assert "sesame" not in str(refused.value)
