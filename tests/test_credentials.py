"""Credentials come in by the environment or a closed file, and never come out in a text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import ConfigError
from ingest.credentials import Credentials, from_environment, from_file, mask, split_login, with_login

secrets = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(secrets.filter(lambda s: ":" not in s), secrets)
def test_a_login_goes_through_the_url_unchanged(user: str, password: str) -> None:
    url = with_login("rtsp://10.0.0.7:554/Streaming/Channels/101?a=b", Credentials(user, password))
    assert url.count("@") == 1
    assert split_login(url) == ("rtsp://10.0.0.7:554/Streaming/Channels/101?a=b", Credentials(user, password))


@given(st.text("abcXYZ019@:/!$%.-_", min_size=4, max_size=20).map(lambda s: f"q{s}q"))
def test_no_password_survives_masking_even_unencoded(password: str) -> None:
    text = mask(f"cannot open 'rtsp://admin:{password}@10.0.0.7/h264' twice")
    assert password not in text
    assert "admin" not in text
    assert text.startswith("cannot open 'rtsp://***@10.0.0.7/h264'")


def test_masking_knows_passwords_in_queries_and_leaves_the_rest() -> None:
    assert (
        mask("rtsp://cam/user=admin&password=geheim&channel=1")
        == "rtsp://cam/user=admin&password=***&channel=1"
    )
    assert mask("rtsp://cam:554/a/b failed at 12:30") == "rtsp://cam:554/a/b failed at 12:30"
    assert mask("write to office@example.org") == "write to office@example.org"


def test_credentials_do_not_show_themselves() -> None:
    c = Credentials("guard", "geheim")
    assert "geheim" not in f"{c} {c!r} {[c]}"


def test_a_missing_variable_is_named() -> None:
    assert from_environment("GATE", {"GATE": "guard:ge:heim"}) == Credentials("guard", "ge:heim")
    with pytest.raises(ConfigError, match="YARD is not set"):
        from_environment("YARD", {})
    with pytest.raises(ConfigError, match="user:password") as e:
        from_environment("GATE", {"GATE": "geheim"})
    assert "geheim" not in str(e.value)


def test_a_file_that_others_may_read_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "gate.login"
    path.write_text("guard:geheim\n")
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600") as e:
            from_file(path)
        assert "geheim" not in str(e.value)
    path.chmod(0o600)
    assert from_file(path) == Credentials("guard", "geheim")
    with pytest.raises(ConfigError, match=r"no\.login"):
        from_file(tmp_path / "no.login")
