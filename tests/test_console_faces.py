"""Captured faces on the console: who may see, open and delete them, and that it is written down before."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from console.access import Grant, PrivacySettings
from console.problems import Problem
from console.unsealing import WITHIN_S, WRONG, Opener
from events.clock import ManualClock, SystemClock
from events.errors import AccessDenied, StorageError
from events.events import Access, FaceCaptured, FaceDeleted
from storage.captures import FacesSettings, keys_of
from storage.journal import Journal
from storage.sealing import seal
from tests.console_stage import DESK_TOKEN, OFFICE_TOKEN, Stage
from tests.facekeys import IDENTITY, PASSPHRASE, RECIPIENT

SETTINGS = FacesSettings(originals="sealed", recipient=RECIPIENT, filing_at=90_000)
PRIVACY = PrivacySettings(
    grant=(
        Grant(who="privacy officer", token_env="OFFICE", rights=("alerts", "faces", "plain")),
        Grant(who="front desk", token_env="DESK", rights=("alerts", "faces")),
        Grant(who="guard", loopback=True, rights=("alerts", "live", "plain")),
    ),
)
PLAIN = b"\xff\xd8\xff a plain original of a face, as JPEG"
CROP = b"\xff\xd8\xff a crop in blocks"
WHY = "police report 4711"
START_US = SystemClock().wall_us() // 1_000_000 * 1_000_000 - 60_000_000
DAY_S = 86_400


def face(n: int) -> FaceCaptured:
    crop, original = keys_of("gate", f"capture{n}")
    at = START_US + n * 1_000_000
    return FaceCaptured(
        capture=f"capture{n}",
        track=n,
        since_us=at - 1_000_000,
        until_us=at + 1_000_000,
        at_us=at,
        box=(0.4, 0.3, 0.5, 0.5),
        quality=0.72,
        measures={"size": 0.9, "width_px": 55.0},
        picture=crop,
        sealed=original,
    )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Three captures with their pictures; the second one's original is gone already."""
    identity = tmp_path / "identity.age"
    identity.write_bytes(IDENTITY)
    identity.chmod(0o600)
    with Stage(tmp_path, PRIVACY, faces=SETTINGS, identity=identity) as opened:
        for n in (1, 2, 3):
            data = face(n)
            opened.happens(data, time_us=data.at_us)
            for key, content in ((data.picture, CROP), (data.sealed, seal(PLAIN, RECIPIENT))):
                path = opened.objects / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        (opened.objects / face(2).sealed).unlink()
        opened.happens(FaceDeleted(capture="capture2", what="sealed", reason="expired"))
        opened.settled()
        yield opened


@pytest.fixture
def officer(stage: Stage) -> Iterator[httpx.Client]:
    with stage.client(OFFICE_TOKEN) as client:
        yield client


@pytest.fixture
def desk(stage: Stage) -> Iterator[httpx.Client]:
    with stage.client(DESK_TOKEN) as client:
        yield client


def looks(stage: Stage) -> list[Access]:
    """What is on disk at this moment: nothing is waited for."""
    records = stage.journal.read(0, 999, ("access",))
    return [r.event.data for r in records if isinstance(r.event.data, Access)]


def asks(client: httpx.Client, n: int = 1, **body: Any) -> httpx.Response:
    return client.post(f"/api/faces/capture{n}/open", json={"purpose": WHY, "passphrase": PASSPHRASE, **body})


def test_the_list_says_what_is_there_and_how_much_is_held(stage: Stage, desk: httpx.Client) -> None:
    (stage.objects / face(3).picture).unlink()  # not made yet
    body = desk.get("/api/faces").raise_for_status().json()
    assert [(f["capture"], f["picture"], f["sealed"], f["state"]) for f in body["faces"]] == [
        ("capture3", None, True, "kept"),
        ("capture2", "/api/faces/capture2.jpg", False, "unsealed"),
        ("capture1", "/api/faces/capture1.jpg", True, "kept"),
    ]
    one = body["faces"][2]
    assert (one["camera"], one["at"], one["since"], one["until"]) == (
        "gate",
        START_US + 1_000_000,
        START_US,
        START_US + 2_000_000,
    )
    assert (one["quality"], one["measures"]["width_px"], one["box"]) == (0.72, 55.0, [0.4, 0.3, 0.5, 0.5])
    holding = body["holding"]
    assert (holding["pictures"], holding["sealed"], holding["filing_at_persons"]) == (3, 2, 90_000)
    assert "of a capture, not of a person" in holding["note"]
    assert holding["opens_here"] is True


def test_the_list_is_asked_by_camera_and_page(desk: httpx.Client) -> None:
    def names(query: str) -> list[str]:
        found = desk.get(f"/api/faces?{query}").raise_for_status().json()["faces"]
        return [one["capture"] for one in found]

    assert names("limit=1") == ["capture3"]
    assert names(f"before={START_US + 3_000_000}") == ["capture2", "capture1"]
    assert names("camera=plaza") == []
    assert len(names("camera=gate")) == 3
    assert desk.get("/api/faces?camera=nowhere").status_code == 404
    assert desk.get("/api/faces?limit=501").status_code == 400


def test_a_crop_goes_out_when_the_look_is_on_disk(stage: Stage, desk: httpx.Client) -> None:
    answer = desk.get("/api/faces/capture1.jpg")
    assert (answer.status_code, answer.content) == (200, CROP)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert looks(stage) == [
        Access(who="front desk", what="face", object="capture1", plain=False, purpose="", allowed=True)
    ]


def test_an_original_goes_out_when_the_look_is_on_disk(stage: Stage, officer: httpx.Client) -> None:
    answer = asks(officer)
    assert (answer.status_code, answer.content) == (200, PLAIN)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert looks(stage) == [
        Access(
            who="privacy officer", what="original", object="capture1", plain=True, purpose=WHY, allowed=True
        )
    ]


def test_a_look_that_cannot_be_written_down_does_not_happen(
    stage: Stage, officer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(Journal, "flush", full)
    for answer in (
        officer.get("/api/faces/capture1.jpg"),
        asks(officer),
        officer.delete("/api/faces/capture1"),
    ):
        assert answer.status_code == 503
        assert CROP not in answer.content
        assert PLAIN not in answer.content
    assert (stage.objects / face(1).picture).exists()
    assert (stage.objects / face(1).sealed).exists()


@pytest.mark.parametrize("purpose", ["", "  x ", "x" * 201, "a\x00bcd"])
def test_a_purpose_has_to_be_stated(officer: httpx.Client, purpose: str) -> None:
    answer = asks(officer, purpose=purpose)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "purpose")


def test_a_wrong_passphrase_is_refused_and_each_one_noted(stage: Stage, officer: httpx.Client) -> None:
    for _ in range(2):
        answer = asks(officer, passphrase="correct horse")
        assert answer.status_code == 403
        assert answer.json()["detail"] == "the passphrase does not open the identity file"
    refused = Access(
        who="privacy officer", what="original", object="capture1", plain=True, purpose=WHY, allowed=False
    )
    assert looks(stage) == [refused, refused]


def test_who_guesses_has_to_wait(stage: Stage, officer: httpx.Client) -> None:
    for n in range(WRONG):
        assert asks(officer, passphrase=f"guess number {n}").status_code == 403
    answer = asks(officer)  # the right one
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= WITHIN_S
    assert len(looks(stage)) == WRONG


def test_guesses_count_for_whom_they_are_of_and_for_so_long(tmp_path: Path) -> None:
    identity = tmp_path / "identity.age"
    identity.write_bytes(IDENTITY)
    identity.chmod(0o600)
    clock = ManualClock(START_US)
    opener = Opener(identity, clock)
    sealed = seal(PLAIN, RECIPIENT)

    async def tries() -> None:
        for n in range(WRONG):
            clock.advance(10)
            with pytest.raises(AccessDenied):
                await opener.open("a", sealed, f"guess {n}")
        with pytest.raises(Problem) as refused:
            await opener.open("a", sealed, PASSPHRASE)
        assert refused.value.status == 429
        assert await opener.open("b", sealed, PASSPHRASE) == PLAIN
        clock.advance(int(refused.value.headers["retry-after"]))
        assert await opener.open("a", sealed, PASSPHRASE) == PLAIN
        with pytest.raises(AccessDenied):
            await opener.open("a", sealed, "guess")
        with pytest.raises(Problem):
            await opener.open("a", sealed, PASSPHRASE)

    anyio.run(tries)


def test_one_is_opened_at_a_time_and_the_rest_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = tmp_path / "identity.age"
    identity.write_bytes(IDENTITY)
    identity.chmod(0o600)
    opener = Opener(identity, ManualClock(START_US))
    running: list[int] = []

    def slow(*_: object) -> bytes:
        running.append(1)
        assert len(running) == 1
        time.sleep(0.1)
        running.pop()
        return PLAIN

    monkeypatch.setattr("console.unsealing.unseal", slow)
    done: list[int] = []

    async def one() -> None:
        try:
            await opener.open("a", b"", PASSPHRASE)
            done.append(200)
        except Problem as e:
            done.append(e.status)

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(7):
                tasks.start_soon(one)

    anyio.run(many)
    assert sorted(done) == [200] * 4 + [503] * 3


def test_the_passphrase_is_nowhere(
    officer: httpx.Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in an answer, a log, or a file; also where the request is malformed."""
    caplog.set_level(logging.DEBUG)
    secret = "tr0ub4dor and three"
    answers = [
        asks(officer, passphrase=secret),
        asks(officer, passphrase=secret, more=1),
        asks(officer, passphrase=secret, purpose=1),
        asks(officer, n=9, passphrase=secret),
        officer.post("/api/faces/capture1/open", json={secret: secret}),
        officer.post("/api/faces/capture1/open", json=secret),
        officer.post("/api/faces/capture1/open", content=f'{{"passphrase": "{secret}"', headers=JSON),
        asks(officer, passphrase=[secret]),
    ]
    assert [a.status_code for a in answers] == [403, 400, 400, 404, 400, 400, 400, 400]
    assert asks(officer).status_code == 200
    for text in (secret, PASSPHRASE):
        assert not any(text in a.text for a in answers)
        assert text not in "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("http"))
        for path in (p for p in tmp_path.rglob("*") if p.is_file()):
            assert text.encode() not in path.read_bytes(), path


JSON = {"content-type": "application/json"}


def test_a_capture_without_an_original_or_that_is_not_there(officer: httpx.Client) -> None:
    assert "no original" in asks(officer, n=2).json()["detail"]
    for answer in (
        asks(officer, n=9),
        officer.get("/api/faces/capture9.jpg"),
        officer.get("/api/faces/..%2Fx.jpg"),
        officer.get("/api/faces/Capture1.jpg"),
        officer.delete("/api/faces/capture9"),
    ):
        assert answer.status_code == 404
    assert officer.get("/api/faces/capture1").status_code == 405


def test_a_machine_without_the_identity_opens_nothing(tmp_path: Path) -> None:
    with Stage(tmp_path, PRIVACY, faces=SETTINGS) as stage, stage.client(OFFICE_TOKEN) as client:
        data = face(1)
        stage.happens(data)
        path = stage.objects / data.sealed
        path.parent.mkdir(parents=True)
        path.write_bytes(seal(PLAIN, RECIPIENT))
        stage.settled()
        assert client.get("/api/faces").json()["holding"]["opens_here"] is False
        answer = asks(client)
        assert answer.status_code == 409
        assert "cannot be opened on this machine" in answer.json()["detail"]


def test_rights_are_asked_for_each_thing(stage: Stage, desk: httpx.Client) -> None:
    """`faces` for the list and crops; `plain` as well for originals and deletion; nobody else anything."""
    ways = ("/api/faces", "/api/faces/capture1.jpg")
    assert [desk.get(way).status_code for way in ways] == [200, 200]
    assert asks(desk).status_code == 403
    assert desk.delete("/api/faces/capture1").status_code == 403
    with stage.client() as guard:  # plain, but not faces
        assert [guard.get(way).status_code for way in ways] == [403, 403]
        assert asks(guard).status_code == 403
        assert guard.delete("/api/faces/capture1").status_code == 403
    with stage.client("nobody-knows-this-token") as stranger:
        assert [stranger.get(way).status_code for way in ways] == [401, 401]
        assert asks(stranger).status_code == 401
        assert stranger.delete("/api/faces/capture1").status_code == 401
    assert (stage.objects / face(1).picture).exists()
    stage.journal.flush()
    refused = {(a.who.split()[0], a.what, a.plain) for a in looks(stage) if not a.allowed}
    assert refused == {
        ("front", "original", True),
        ("front", "deletion", True),
        ("guard", "faces", False),
        ("guard", "face", False),
        ("guard", "original", False),
        ("guard", "deletion", False),
        ("unknown", "faces", False),
        ("unknown", "face", False),
        ("unknown", "original", False),
        ("unknown", "deletion", False),
    }


def test_a_capture_is_deleted_when_somebody_asks(stage: Stage, officer: httpx.Client) -> None:
    answer = officer.delete("/api/faces/capture1")
    assert answer.status_code == 200
    assert "own retention" in answer.json()["footage"]
    assert not (stage.objects / face(1).picture).exists()
    assert not (stage.objects / face(1).sealed).exists()
    faces = [r.event for r in stage.journal.read(0, 99, ("face",))]
    assert faces[-1].data == FaceDeleted(capture="capture1", what="all", reason="asked")
    assert faces[-1].source == "/demo/camera/gate"
    assert looks(stage)[-1].what == "deletion"
    stage.settled()
    shown = {f["capture"]: f for f in officer.get("/api/faces").json()["faces"]}
    assert (shown["capture1"]["state"], shown["capture1"]["picture"]) == ("deleted", None)
    assert shown["capture3"]["picture"]
    assert officer.get("/api/faces/capture1.jpg").status_code == 404
    assert asks(officer).status_code == 404
    assert officer.delete("/api/faces/capture1").status_code == 200
    assert len(stage.journal.read(0, 99, ("face",))) == len(faces)


@pytest.mark.parametrize(("days", "crop", "original"), [(2.9, 200, 200), (3.1, 200, 404), (7.1, 404, 404)])
def test_what_has_had_its_time_is_not_shown_though_its_file_is_still_there(
    stage: Stage, officer: httpx.Client, days: float, crop: int, original: int
) -> None:
    """Files go once an hour, and only while the services run."""
    data = msgspec.structs.replace(face(4), at_us=START_US - int(days * DAY_S * 1e6))
    stage.happens(data, time_us=data.at_us)
    for key, content in ((data.picture, CROP), (data.sealed, seal(PLAIN, RECIPIENT))):
        (stage.objects / key).write_bytes(content)
    stage.settled()
    assert officer.get("/api/faces/capture4.jpg").status_code == crop
    assert asks(officer, 4).status_code == original
    (shown,) = [one for one in officer.get("/api/faces").json()["faces"] if one["capture"] == "capture4"]
    assert (bool(shown["picture"]), shown["sealed"]) == (crop == 200, original == 200)


@pytest.mark.parametrize("way", ["asked", "told"])
def test_what_is_deleted_while_the_original_is_opened_is_not_shown(
    stage: Stage, officer: httpx.Client, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Opening takes seconds, in a queue. The file goes first; or the store knows and the file is there."""

    async def opened(*_: object) -> bytes:
        data = face(1)
        if way == "asked":
            (stage.objects / data.sealed).unlink(missing_ok=True)
        else:
            stage.happens(FaceDeleted(capture="capture1", what="sealed", reason="asked"))
            await anyio.to_thread.run_sync(stage.settled)
        return PLAIN

    monkeypatch.setattr(Opener, "open", opened)
    answer = asks(officer)
    assert answer.status_code == 404
    assert PLAIN not in answer.content
    assert looks(stage) == []
    assert asks(officer, 3).status_code == 200


def test_who_was_captured_under_another_name_of_the_site_can_still_have_it_deleted(
    stage: Stage, officer: httpx.Client
) -> None:
    data = face(5)
    stage.happens(data, time_us=data.at_us, source="/before/camera/gate")
    for key in (data.picture, data.sealed):
        (stage.objects / key).write_bytes(CROP)
    stage.settled()
    assert officer.get("/api/faces/capture5.jpg").status_code == 404
    assert asks(officer, 5).status_code == 404
    assert officer.delete("/api/faces/capture5").status_code == 200
    assert not (stage.objects / data.picture).exists()
    assert not (stage.objects / data.sealed).exists()
    assert officer.delete("/api/faces/capture9").status_code == 404
