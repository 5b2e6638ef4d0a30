"""Who may see what. Nothing without a grant."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from console.access import (
    COOKIE,
    MIN_TOKEN,
    SESSION_S,
    AccessPolicy,
    Grant,
    PrivacySettings,
    Sessions,
    Viewer,
    check_bind,
    identify,
    is_loopback,
    read_policy,
)
from console.accesslog import AccessLog
from events.clock import ManualClock
from events.errors import ConfigError
from events.events import Access

TOKEN = "a-token-of-fair-length"


def policy(*grants: Grant, environ: dict[str, str] | None = None, base: Path = Path()) -> AccessPolicy:
    return read_policy(PrivacySettings(grant=grants), environ or {}, base)


def connection(client: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "client": (client, 5), "headers": raw, "path": "/"})


LOOPBACK = Grant(who="demo", loopback=True, rights=("alerts",))
OFFICE = Grant(who="office", token_env="OFFICE", rights=("alerts", "plain"))


def sessions() -> Sessions:
    return Sessions(ManualClock())


def test_without_a_grant_nobody_is_known() -> None:
    assert identify(connection(), policy(), sessions()) is None


def test_the_site_files_table_is_read_as_written() -> None:
    text = """
    pixelate = ["person", "dog"]
    [[grant]]
    who = "demo viewer"
    loopback = true
    rights = ["alerts", "live"]
    """
    settings = msgspec.toml.decode(text, type=PrivacySettings)
    assert read_policy(settings, {}, Path()) == AccessPolicy(
        pixelate=("person", "dog", "face"), loopback=Viewer("demo viewer", frozenset({"alerts", "live"}))
    )


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ('[[grant]]\nwho="x"\nrights=["alerts"]', "exactly one of"),
        ('[[grant]]\nwho="x"\nrights=["alerts"]\nloopback=true\ntoken_env="T"', "exactly one of"),
        ('[[grant]]\nwho=" "\nrights=[]\nloopback=true', "name the person"),
        ('[[grant]]\nwho="x"\nrights=["everything"]\nloopback=true', "everything"),
        ('[[grant]]\nwho="x"\nrights=[]\nloopbak=true', "loopbak"),
        ('[[grant]]\nwho="x"\nrights=[]\nloopback=true', "gives nothing"),
        ('[[grant]]\nwho="x"\nloopback=true\nrole="clerk"', "go together"),
        ('[[grant]]\nwho="x"\nloopback=true\nplace="370481"', "go together"),
        ('[[grant]]\nwho="x"\nloopback=true\nrole="clerk"\nplace="37048"', "6, 9 or 12 digits"),
        ('[[grant]]\nwho="x"\nloopback=true\nrole="clerk"\nplace="**"', "the whole city"),
        ('[[grant]]\nwho="x"\nloopback=true\nrole="handler"\nplace="*"', "needs `org`"),
        ('[[grant]]\nwho="x"\nloopback=true\nrole="system"\nplace="*"', "system"),
        ('pixelated=["person"]', "pixelated"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(text: str, mend: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=mend):
        msgspec.toml.decode(text, type=PrivacySettings)


@pytest.mark.parametrize("client", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_let_in_by_its_grant(client: str) -> None:
    found = identify(connection(client), policy(LOOPBACK), sessions())
    assert found == Viewer("demo", frozenset({"alerts"}))


@pytest.mark.parametrize("client", ["10.0.0.4", "192.168.1.1", "::2", "testclient", ""])
def test_the_loopback_grant_is_for_loopback_alone(client: str) -> None:
    assert identify(connection(client), policy(LOOPBACK), sessions()) is None


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_what_a_proxy_passes_on_is_not_loopback(header: str) -> None:
    assert identify(connection(**{header: "127.0.0.1"}), policy(LOOPBACK), sessions()) is None


def test_a_wrong_token_is_nobody_even_from_loopback() -> None:
    both = policy(LOOPBACK, OFFICE, environ={"OFFICE": TOKEN})
    assert identify(connection(authorization=f"Bearer {TOKEN}"), both, sessions()) == both.bearer(TOKEN)
    for wrong in (f"Bearer {TOKEN}x", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, ""):
        assert identify(connection(authorization=wrong), both, sessions()) is None


@given(st.text(max_size=40))
def test_only_the_token_itself_opens(text: str) -> None:
    office = policy(OFFICE, environ={"OFFICE": TOKEN})
    assert (office.bearer(text) is not None) == (text == TOKEN)


def test_tokens_are_not_kept() -> None:
    assert TOKEN not in repr(policy(OFFICE, environ={"OFFICE": TOKEN}))


def test_a_session_lasts_its_time_and_ends_on_request() -> None:
    clock = ManualClock()
    open_ = Sessions(clock)
    viewer = Viewer("office", frozenset({"alerts"}))
    one, two = open_.start(viewer), open_.start(viewer)
    assert identify(connection("10.0.0.4", cookie=f"{COOKIE}={one}"), policy(), open_) == viewer
    open_.end(one)
    assert open_.viewer(one) is None
    clock.advance(SESSION_S - 1)
    assert open_.viewer(two) == viewer
    clock.advance(1)
    assert open_.viewer(two) is None


def test_sessions_are_bounded() -> None:
    open_ = sessions()
    names = [open_.start(Viewer("x", frozenset())) for _ in range(1200)]
    assert sum(open_.viewer(name) is not None for name in names) == 1000
    assert open_.viewer(names[-1]) is not None


def test_token_files_must_be_private_and_there(tmp_path: Path) -> None:
    grant = Grant(who="office", token_file="gate.token", rights=("alerts",))
    with pytest.raises(ConfigError, match=r"office.*gate\.token"):
        policy(grant, base=tmp_path)
    file = tmp_path / "gate.token"
    file.write_text(f"{TOKEN}\n")
    os.chmod(file, 0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        policy(grant, base=tmp_path)
    os.chmod(file, 0o600)
    assert policy(grant, base=tmp_path).bearer(TOKEN) is not None


def test_a_missing_or_weak_or_shared_token_is_named_but_not_shown() -> None:
    with pytest.raises(ConfigError, match="environment variable OFFICE"):
        policy(OFFICE)
    weak = "s3cret"
    with pytest.raises(ConfigError, match=str(MIN_TOKEN)) as error:
        policy(OFFICE, environ={"OFFICE": weak})
    assert weak not in str(error.value)
    other = Grant(who="desk", token_env="DESK", rights=("alerts",))
    with pytest.raises(ConfigError, match=r"desk.*same token"):
        policy(OFFICE, other, environ={"OFFICE": TOKEN, "DESK": TOKEN})
    with pytest.raises(ConfigError, match="keep one"):
        policy(LOOPBACK, LOOPBACK)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_on_loopback_any_policy_may_serve(host: str) -> None:
    assert is_loopback(host)
    check_bind(host, policy(LOOPBACK))
    check_bind(host, policy())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gate.example", ""])
def test_the_network_needs_tokens_and_no_loopback_grant(host: str) -> None:
    tokens = {"OFFICE": TOKEN}
    check_bind(host, policy(OFFICE, environ=tokens))
    with pytest.raises(ConfigError, match="token_file"):
        check_bind(host, policy())
    with pytest.raises(ConfigError, match="token_file"):
        check_bind(host, policy(LOOPBACK))
    with pytest.raises(ConfigError, match="remove loopback"):
        check_bind(host, policy(LOOPBACK, OFFICE, environ=tokens))


class Notes:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[Access] = []

    def note(self, source: str, data: Access, time_us: int) -> None:
        assert source == "/site/box/console"
        assert time_us > 0
        self.notes.append(data)


def test_a_look_is_noted_once_while_it_lasts_and_again_later() -> None:
    notes, clock = Notes(), ManualClock()
    log = AccessLog(notes, clock, "/site/box/console")
    for _ in range(5):
        log.look("office", "clip", "a1")
        clock.advance(10)
    log.look("office", "clip", "a2")
    log.look("desk", "clip", "a1")
    assert [(n.who, n.object) for n in notes.notes] == [("office", "a1"), ("office", "a2"), ("desk", "a1")]
    clock.advance(15)
    log.look("office", "clip", "a1")
    assert len(notes.notes) == 4


def test_plain_looks_are_never_merged() -> None:
    notes = Notes()
    log = AccessLog(notes, ManualClock(), "/site/box/console")
    log.plain("office", "clip", "a1", "case 7")
    log.plain("office", "clip", "a1", "case 7")
    expected = Access(who="office", what="clip", object="a1", plain=True, purpose="case 7", allowed=True)
    assert notes.notes == [expected] * 2


def test_a_strangers_refusals_cannot_fill_the_disk() -> None:
    notes, clock = Notes(), ManualClock()
    log = AccessLog(notes, clock, "/site/box/console")
    for n in range(50_000):
        log.refusal("unknown 10.0.0.4", "clip", f"guess{n}", False)
        clock.advance(0.001)
    assert len(notes.notes) == 1
    assert not notes.notes[0].allowed
