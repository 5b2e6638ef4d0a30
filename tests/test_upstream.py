"""The platform above: one suite over both adapters, something real on the other side; then each alone."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk.upstream import (
    MAX_BYTES,
    DueChanged,
    Incoming,
    Order,
    Outgoing,
    Redo,
    Reply,
    Reporter,
    ReturnAsked,
    Signed,
    Upstream,
    read,
    written,
)
from desk.upstreamfiles import FilesUpstream
from desk.upstreamhttp import TRIES, HttpUpstream
from events.clock import ManualClock
from events.errors import ConfigError, UpstreamAway, UpstreamError, UpstreamRefused
from ingest.credentials import Credentials
from testbed.certificates import make_certificates
from testbed.upstream import FilePlatform, Platform

SENT = "2026-03-02T09:00:00+08:00"
LOGIN = ("linli", "a secret")
ORDER = Order(
    message="m-1",
    number="20260302-0001",
    sent=SENT,
    title="井盖破损",
    category="0101",
    due="2026-03-09T18:00:00+08:00",
    place=(117.16, 35.08),
    words="我家门口的井盖坏了",
    reporter=Reporter(name="某某", phone="13800000000"),
)
SIGNED = Signed(message="s-1", number=ORDER.number, sent="2026-03-02T02:00:00Z", by="water company")
REPLY = Reply(message="r-1", number=ORDER.number, sent="2026-03-03T02:00:00Z", by="town", answer="已修好")


class Stage:
    """An adapter, and who is on its other side."""

    def __init__(self, upstream: Upstream, platform: Any) -> None:
        self.upstream = upstream
        self.platform = platform

    def took(self) -> list[Incoming]:
        """Everything is taken."""
        got = []
        for received in self.upstream.fetch(100):
            got.append(read(received.body))
            self.upstream.settle(received.receipt)
        return got


@pytest.fixture(params=["files", "http"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    if request.param == "files":
        yield Stage(FilesUpstream(tmp_path / "exchange"), FilePlatform(tmp_path / "exchange"))
        return
    with Platform(LOGIN) as platform:
        upstream = HttpUpstream(platform.url, ManualClock(), login=Credentials(*LOGIN))
        yield Stage(upstream, platform)
        upstream.close()


def test_a_message_comes_whole_until_it_is_settled(stage: Stage) -> None:
    stage.platform.give(ORDER)
    first = stage.upstream.fetch(10)
    assert [read(r.body) for r in first] == [ORDER]
    assert [r.receipt for r in stage.upstream.fetch(10)] == [r.receipt for r in first]
    stage.upstream.settle(first[0].receipt)
    assert stage.upstream.fetch(10) == []
    stage.upstream.settle(first[0].receipt)  # after a kill one does it again
    assert stage.platform.waiting == 0
    assert stage.platform.aside == {}


def test_messages_come_in_order_and_so_many_at_once(stage: Stage) -> None:
    redo = Redo(message="m-2", number=ORDER.number, sent=SENT, reason="照片不清楚")
    due = DueChanged(message="m-3", number=ORDER.number, sent=SENT, due=SENT)
    for message in (ORDER, redo, due):
        stage.platform.give(message)
    assert len(stage.upstream.fetch(2)) == 2
    assert stage.took() == [ORDER, redo, due]


def test_the_same_one_sent_again_comes_again(stage: Stage) -> None:
    stage.platform.give(ORDER)
    assert stage.took() == [ORDER]
    stage.platform.give(ORDER)
    assert stage.took() == [ORDER]


def test_what_cannot_be_taken_is_set_aside_with_the_reason(stage: Stage) -> None:
    bad = (
        written(ORDER)
        .replace(b'"title":"\xe4\xba\x95', b'"title":7,"x":"\xe4\xba\x95')
        .replace(b"m-1", b"m-0")
    )
    stage.platform.give(bad)
    stage.platform.give(ORDER)
    refused, good = stage.upstream.fetch(10)
    with pytest.raises(UpstreamRefused, match=r"\$\.title") as refusal:
        read(refused.body)
    stage.upstream.settle(refused.receipt, str(refusal.value))
    stage.upstream.settle(refused.receipt, str(refusal.value))
    assert [r.receipt for r in stage.upstream.fetch(10)] == [good.receipt]
    assert list(stage.platform.aside) == ["m-0"]
    assert "$.title" in stage.platform.aside["m-0"]


def test_our_message_arrives_once_however_often_it_is_sent(stage: Stage) -> None:
    asked = ReturnAsked(message="q-1", number="9", sent=SENT, by="town", reason="另一单位", approver="li")
    for message in (SIGNED, SIGNED, REPLY, asked, SIGNED):
        stage.upstream.send(message)
    answers = stage.platform.answers
    assert set(answers) == {"s-1", "r-1", "q-1"}
    signed = {"kind": "signed", "message": "s-1", "number": ORDER.number, "by": "water company"}
    assert answers["s-1"] == signed | {"sent": "2026-03-02T02:00:00Z"}
    assert answers["r-1"]["answer"] == "已修好"
    assert answers["q-1"]["approver"] == "li"


def test_a_platform_that_is_away_loses_nothing(stage: Stage) -> None:
    stage.platform.give(ORDER)
    stage.platform.away()
    with pytest.raises(UpstreamAway):
        stage.upstream.fetch(10)
    with pytest.raises(UpstreamAway):
        stage.upstream.send(SIGNED)
    stage.platform.back()
    assert stage.took() == [ORDER]
    stage.upstream.send(SIGNED)
    assert list(stage.platform.answers) == ["s-1"]


# -- the forms


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not a JSON document"),
        (b"\xb5\xd8", "not a JSON document"),  # GB 18030
        (b"[" * 100_000, "not a "),
        (b"{}", "kind"),
        (b'{"kind":"who knows"}', "kind"),
        (written(ORDER).replace(SENT.encode(), b"yesterday"), "sent is no time"),
        (written(ORDER).replace(b"+08:00", b""), "no time of now with a zone"),
        (written(ORDER).replace(b"2026-03-09T", b"9999-03-09T"), "due is no time"),
        (written(ORDER).replace(b"2026-03-09T", b"0001-03-09T"), "due is no time"),
        (written(ORDER).replace("井盖破损".encode(), b" "), "title or category is empty"),
        (written(ORDER).replace(b"117.16", b"1170"), "place is not longitude"),
        (written(ORDER).replace(b"20260302-0001", b"../../etc"), r"\$\.number"),
        (written(ORDER).replace(b'"area":""', b'"area":"37"'), r"\$\.area"),
        (written(ORDER) + b" " * MAX_BYTES, "larger than 256 KiB"),
    ],
)
def test_a_bad_message_is_refused_with_what_is_wrong(body: bytes, says: str) -> None:
    with pytest.raises(UpstreamRefused, match=says):
        read(body)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_comes_is_a_message_or_is_refused(data: st.DataObject) -> None:
    body = bytearray(written(ORDER))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        message = read(bytes(body))
    except UpstreamRefused:
        return
    assert read(written(message)) == message


def test_a_refusal_shows_nothing_of_the_message() -> None:
    for field in ("severity", "kind", "sent", "number", "area"):
        body = written(ORDER)
        document = {**json.loads(body), field: "某某 13800000000"}
        with pytest.raises(UpstreamRefused) as refusal:
            read(json.dumps(document).encode())
        assert "138" not in str(refusal.value)
        assert "某" not in str(refusal.value)


# -- files alone


def test_half_a_file_is_no_message_yet(tmp_path: Path) -> None:
    upstream = FilesUpstream(tmp_path)
    (tmp_path / "inbox" / "1.half").write_bytes(b'{"kind"')
    (tmp_path / "inbox" / ".2.json").write_bytes(b'{"kind"')
    assert upstream.fetch(10) == []


def test_what_is_no_plain_file_is_refused_and_not_followed(tmp_path: Path) -> None:
    upstream = FilesUpstream(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(written(ORDER))
    (tmp_path / "inbox" / "1.json").symlink_to(secret)
    (tmp_path / "inbox" / "2.json").mkdir()
    for received in upstream.fetch(10):
        assert received.body == b""
        upstream.settle(received.receipt, "no plain file")
    assert upstream.fetch(10) == []
    assert secret.exists()
    assert (tmp_path / "aside" / "1.json.reason.txt").read_text() == "no plain file\n"


def test_only_the_owner_can_read_what_is_exchanged(tmp_path: Path) -> None:
    upstream = FilesUpstream(tmp_path / "exchange")
    upstream.send(REPLY)
    (path,) = (tmp_path / "exchange" / "outbox").iterdir()
    assert path.stat().st_mode & 0o77 == 0
    assert path.parent.stat().st_mode & 0o77 == 0


def test_a_taken_file_leaves_nothing(tmp_path: Path) -> None:
    upstream, platform = FilesUpstream(tmp_path), FilePlatform(tmp_path)
    platform.give(ORDER)
    upstream.settle(upstream.fetch(1)[0].receipt)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


# -- HTTP alone


@pytest.mark.parametrize("fault", ["500", "garbage", "slow-down"])
def test_a_platform_that_answers_badly_is_asked_again(fault: str) -> None:
    clock = ManualClock()
    with Platform() as platform:
        upstream = HttpUpstream(platform.url, clock)
        platform.give(ORDER)
        platform.fault = fault
        with pytest.raises(UpstreamAway):
            upstream.fetch(10)
        assert platform.requests == (1 if fault == "garbage" else TRIES)
        platform.fault = ""
        assert len(upstream.fetch(10)) == 1


def test_an_answer_that_got_lost_is_given_again_and_kept_once() -> None:
    with Platform() as platform:
        upstream = HttpUpstream(platform.url, ManualClock())
        platform.fault = "lost"
        with pytest.raises(UpstreamAway):
            upstream.send(REPLY)
        assert platform.order == ["r-1"]
        platform.fault = ""
        upstream.send(REPLY)
        assert platform.order == ["r-1"]


def test_a_receipt_that_got_lost_is_given_again() -> None:
    with Platform() as platform:
        upstream = HttpUpstream(platform.url, ManualClock())
        platform.give(ORDER)
        platform.fault = "lost"
        with contextlib.suppress(UpstreamAway):  # the second try is told that it is not known any more
            upstream.settle("m-1")
        platform.fault = ""
        upstream.settle("m-1")
        assert platform.waiting == 0


def test_a_silent_platform_is_not_waited_for_for_ever() -> None:
    with Platform() as platform:
        upstream = HttpUpstream(platform.url, ManualClock(), timeout_s=0.2)
        platform.fault = "silent"
        with pytest.raises(UpstreamAway, match="does not answer"):
            upstream.fetch(10)


def test_a_message_that_is_never_taken_is_told_apart() -> None:
    with Platform() as platform:
        upstream = HttpUpstream(platform.url, ManualClock())
        platform.refuses.add(ORDER.number)
        with pytest.raises(UpstreamRefused, match="422"):
            upstream.send(REPLY)
        upstream.send(Signed(message="s-2", number="1", sent=SENT, by="town"))
        with pytest.raises(UpstreamRefused, match="409"):
            upstream.send(Signed(message="s-2", number="1", sent=SENT, by="another"))


def test_a_wrong_login_is_somebody_s_to_mend_and_is_never_shown() -> None:
    with Platform(LOGIN) as platform:
        upstream = HttpUpstream(platform.url, ManualClock(), login=Credentials("linli", "wrong-secret"))
        with pytest.raises(UpstreamError, match="credentials") as refusal:
            upstream.fetch(10)
        assert not isinstance(refusal.value, UpstreamAway | UpstreamRefused)
        assert "wrong-secret" not in str(refusal.value)
        assert platform.requests == 1


def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with Platform(LOGIN, (tmp_path / "server.pem", tmp_path / "server.key")) as platform:
        platform.give(ORDER)
        login = Credentials(*LOGIN)
        trusting = HttpUpstream(platform.url, ManualClock(), login=login, ca=tmp_path / "ca.pem")
        assert len(trusting.fetch(10)) == 1
        for ca in (tmp_path / "other.pem", None):
            with pytest.raises(UpstreamAway, match="certificate"):
                HttpUpstream(platform.url, ManualClock(), login=login, ca=ca).fetch(10)


def test_persons_words_go_to_another_machine_only_over_tls(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="https"):
        HttpUpstream("http://platform.example/api", ManualClock())
    (tmp_path / "no.pem").write_text("no")
    with pytest.raises(ConfigError, match="PEM"):
        HttpUpstream("https://platform.example/api", ManualClock(), ca=tmp_path / "no.pem")


# -- the page for integrators


def test_the_examples_of_the_page_are_messages() -> None:
    page = (Path(__file__).parents[1] / "docs" / "upstream.md").read_text()
    incoming, outgoing = [], []
    for text in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        kind = json.loads(text)["kind"]
        if kind in ("signed", "return", "reply"):
            outgoing.append(msgspec.json.decode(text, type=Outgoing, strict=True))
        else:
            incoming.append(read(text.encode()))
    assert {type(message) for message in incoming} == set(get_args(Incoming))
    assert {type(message) for message in outgoing} == set(get_args(Outgoing))
