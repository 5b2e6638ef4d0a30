"""Objects in a real S3 store: the contract, whole or not at all, checked end to end, and each refusal."""

import contextlib
import hashlib
import io
import itertools
import os
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import minio.time
import msgspec
import pyrage
import pytest

from events.clock import ManualClock
from events.errors import ConfigError, DiskFull, LinliError, StorageError, StoreAway, StoreDenied
from storage import agefiles
from storage.objects import Objects
from storage.pacing import Bucket, Interrupted
from storage.s3client import S3Place
from storage.s3errors import BucketMissing, Locked
from storage.s3objects import S3Objects
from storage.s3streams import Damaged, Parts
from testbed.s3 import S3
from tests.contracts.objects import ObjectsContract
from tests.servers import started

MIB = 1 << 20
PART = 5 * MIB


def place(s3: S3, bucket: str, **other: Any) -> S3Place:
    given = {"access": s3.access, "secret": s3.secret, "part_bytes": PART} | other
    return S3Place(url=s3.endpoint, bucket=bucket, prefix=given.pop("prefix", "town"), **given)


def content(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def objects(s3: S3, bucket: str) -> S3Objects:
    return S3Objects(place(s3, bucket))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of three parts, the last one short."""
    path = tmp_path / "segment.mp4"
    path.write_bytes(content(2 * PART + 12_345))
    return path


class TestS3Objects(ObjectsContract):
    @pytest.fixture
    def objects(self, s3: S3, bucket: str) -> Objects:
        return S3Objects(place(s3, bucket))


class TestEncrypted(ObjectsContract):
    @pytest.fixture
    def objects(self, s3: S3, bucket: str) -> Objects:
        key = pyrage.x25519.Identity.generate()
        return S3Objects(place(s3, bucket, recipients=(str(key.to_public()),)), identities=[key])


class TestWithoutPrefix(ObjectsContract):
    @pytest.fixture
    def objects(self, s3: S3, bucket: str) -> Objects:
        return S3Objects(place(s3, bucket, prefix=""))


# --- whole, once, and the same


@pytest.mark.parametrize("sse", ["none", "s3", "customer"])
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 12_345])
def test_a_file_comes_back_the_same(s3: S3, bucket: str, tmp_path: Path, sse: str, size: int) -> None:
    objects = S3Objects(place(s3, bucket, sse=sse, sse_key=b"k" * 32 if sse == "customer" else b""))
    data = content(size)
    (tmp_path / "out.mp4").write_bytes(data)
    sent = objects.put_file("footage/gate/1.mp4", tmp_path / "out.mp4", sha(data))
    assert sent.bytes == size
    found = objects.get_file("footage/gate/1.mp4", tmp_path / "deep" / "in.mp4")
    assert found is not None
    assert (found.sha256, found.bytes, found.encrypted) == (sha(data), size, False)
    assert (tmp_path / "deep" / "in.mp4").read_bytes() == data
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["in.mp4"]


def test_the_store_knows_what_it_is(objects: S3Objects, file: Path) -> None:
    objects.put_file("a/b.mp4", file)
    objects.put("a/b.jpg", b"x")
    client = objects._client
    for key, kind in (("town/a/b.mp4", "video/mp4"), ("town/a/b.jpg", "image/jpeg")):
        assert client.stat_object(objects.place.bucket, key).content_type == kind


def test_what_is_there_is_not_sent_again(s3: S3, bucket: str, file: Path) -> None:
    left: list[int] = []
    objects = S3Objects(place(s3, bucket), pace=left.append)
    first = objects.put_file("a/b.mp4", file)
    assert first.bytes == file.stat().st_size
    assert sum(left) == first.bytes
    left.clear()
    assert objects.put_file("a/b.mp4", file).bytes == 0
    assert left == []
    file.write_bytes(content(100_000, seed=8))
    assert objects.put_file("a/b.mp4", file).bytes == 100_000
    assert objects.get("a/b.mp4") == file.read_bytes()


def test_age_is_opened_by_the_identity_alone(s3: S3, bucket: str, file: Path, tmp_path: Path) -> None:
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    sealing = place(s3, bucket, recipients=tuple(str(key.to_public()) for key in keys))
    box = S3Objects(sealing)
    sent = box.put_file("a/b.mp4", file)
    assert sent.sha256 == sha(file.read_bytes())
    assert sent.bytes > file.stat().st_size
    assert box.put_file("a/b.mp4", file).bytes == 0
    assert list(box.keys()) == ["a/b.mp4"]
    plain = S3Objects(place(s3, bucket, prefix=""))
    kept = plain.get("town/a/b.mp4.age")
    assert kept is not None
    assert len(kept) == sent.bytes
    assert kept.startswith(b"age-encryption.org/v1")
    assert file.read_bytes()[:64] not in kept
    with pytest.raises(ConfigError, match="--identity"):
        box.get_file("a/b.mp4", tmp_path / "out")
    stranger = S3Objects(sealing, identities=[pyrage.x25519.Identity.generate()])
    with pytest.raises(StorageError, match="another recipient"):
        stranger.get_file("a/b.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for key in keys:
        S3Objects(sealing, identities=[key]).get_file("a/b.mp4", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == file.read_bytes()
        (tmp_path / "out").unlink()


def test_identities_are_read_from_files_of_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = pyrage.x25519.Identity.generate()
    path.write_text(f"# a comment\n{key}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        agefiles.read_identities(path)
    path.chmod(0o600)
    assert [str(found) for found in agefiles.read_identities(path)] == [str(key)]
    path.write_text("nothing\n")
    with pytest.raises(ConfigError, match="holds no age identity"):
        agefiles.read_identities(path)


# --- what must not come about


def test_a_file_that_is_not_what_it_should_be_is_not_sent(objects: S3Objects, file: Path) -> None:
    digest = sha(file.read_bytes())
    with file.open("r+b") as damaged:
        damaged.seek(PART + 99)
        damaged.write(b"\x00")
    with pytest.raises(Damaged, match=r"a/b\.mp4 is not sent"):
        objects.put_file("a/b.mp4", file, digest)
    os.truncate(file, 0)
    with pytest.raises(Damaged, match="damaged on the disk"):
        objects.put_file("a/b.mp4", file, digest)
    assert objects.stat("a/b.mp4") is None
    assert objects.abort("a/b.mp4") == 0, "an upload was left"


def test_nor_is_it_when_it_is_encrypted(s3: S3, bucket: str, file: Path) -> None:
    key = str(pyrage.x25519.Identity.generate().to_public())
    objects = S3Objects(place(s3, bucket, recipients=(key,)))
    with pytest.raises(Damaged, match="is not sent"):
        objects.put_file("a/b.mp4", file, sha(b"another"))
    assert objects.stat("a/b.mp4") is None
    assert objects.abort("a/b.mp4") == 0


def test_what_was_changed_in_the_store_is_not_taken(objects: S3Objects, file: Path, tmp_path: Path) -> None:
    objects.put_file("a/b.mp4", file)
    client = objects._client
    metadata = {"linli-sha256": sha(file.read_bytes())}
    with (tmp_path / "other").open("wb") as other:
        other.write(content(1000, seed=9))
    client.fput_object(objects.place.bucket, "town/a/b.mp4", str(tmp_path / "other"), metadata=dict(metadata))
    with pytest.raises(StorageError, match="is not what was put into the object store"):
        objects.get_file("a/b.mp4", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "segment.mp4"]


@pytest.mark.parametrize("sealed", [False, True])
def test_stopped_in_the_middle_nothing_is_to_be_seen(s3: S3, bucket: str, file: Path, sealed: bool) -> None:
    key = (str(pyrage.x25519.Identity.generate().to_public()),) if sealed else ()
    count = itertools.count()

    def pace(_: int) -> None:
        if next(count) == 500:  # of 640 slices: in the second part
            raise Interrupted

    objects = S3Objects(place(s3, bucket, recipients=key), pace=pace)
    threads = threading.active_count()
    with pytest.raises(Interrupted):
        objects.put_file("a/b.mp4", file)
    assert objects.stat("a/b.mp4") is None
    assert list(objects.keys()) == []
    assert objects.abort("a/b.mp4") == 0, "it tidied up after itself"
    assert threading.active_count() <= threads + 2, "no part is sent on"
    assert objects.put_file("a/b.mp4", file).bytes >= file.stat().st_size


def test_without_md5_the_object_is_read_again(objects: S3Objects, file: Path) -> None:
    objects.put_file("a/b.mp4", file)
    parts = Parts(io.BytesIO(file.read_bytes()), PART)
    parts.read()
    objects._confirm("town/a/b.mp4", "a/b.mp4", parts, "an-etag-of-another-kind")
    other = Parts(io.BytesIO(content(1000)), PART)
    other.read()
    with pytest.raises(StorageError, match="otherwise than it was sent"):
        objects._confirm("town/a/b.mp4", "a/b.mp4", other, "an-etag-of-another-kind")
    assert objects.stat("a/b.mp4") is None


def test_an_upload_that_was_left_is_ended_by_its_key_alone(objects: S3Objects) -> None:
    client, bucket = objects._client, objects.place.bucket
    for key in ("town/a/b.mp4", "town/a/b.mp4x"):
        upload = client._create_multipart_upload(bucket, key, {})
        client._upload_part(bucket, key, content(PART), None, upload, 1)
    assert objects.stat("a/b.mp4") is None
    assert objects.abort("a/b.mp4") == 1
    assert objects.abort("a/b.mp4") == 0
    assert objects.abort("a/b.mp4x") == 1


def test_bytes_leave_no_faster_than_the_limit(s3: S3, bucket: str, file: Path) -> None:
    clock = ManualClock()
    limit = 100_000.0
    pace = Bucket(clock, lambda: limit)
    objects = S3Objects(place(s3, bucket), pace=pace.take)
    before = clock.monotonic()
    sent = objects.put_file("a/b.mp4", file).bytes
    assert pace.taken == sent
    assert clock.monotonic() - before == pytest.approx(sent / limit, rel=0.01)


# --- the store that refuses, is away, is another


def test_refusals_name_the_thing_and_the_mend(s3: S3, bucket: str, file: Path) -> None:
    right = place(s3, bucket)
    cases: list[tuple[S3Place, type[LinliError], str]] = [
        (msgspec.structs.replace(right, secret="not it at all"), StoreDenied, "secret does not fit"),
        (msgspec.structs.replace(right, access="nobody"), StoreDenied, "no such access key"),
        (place(s3, "nowhere-at-all"), BucketMissing, "linli objects apply"),
        (
            place(s3, bucket, access=s3.reader_access, secret=s3.reader_secret),
            StoreDenied,
            "does not let this access key store a/b.mp4",
        ),
    ]
    for wrong, kind, said in cases:
        objects = S3Objects(wrong)
        with pytest.raises(kind, match=said) as told:
            objects.put_file("a/b.mp4", file)
        assert s3.endpoint in str(told.value)
        for secret in (wrong.secret, s3.secret):
            assert secret not in str(told.value) + repr(wrong)
    assert S3Objects(right).stat("a/b.mp4") is None


def test_a_wrong_secret_is_told_by_looking_too(s3: S3, bucket: str) -> None:
    with pytest.raises(StoreDenied, match="secret does not fit"):
        S3Objects(place(s3, bucket, secret="no")).stat("a/b")
    with pytest.raises(StoreDenied, match="secret does not fit"):
        S3Objects(place(s3, bucket, secret="no")).reachable()
    with pytest.raises(BucketMissing, match="linli objects apply"):
        S3Objects(place(s3, "nowhere-at-all")).reachable()
    S3Objects(place(s3, bucket)).reachable()


def test_a_clock_that_is_off_is_named(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    def late() -> datetime:
        return datetime.now(UTC) - timedelta(hours=2)

    monkeypatch.setattr(minio.time, "utcnow", late)
    with pytest.raises(StoreDenied, match="clock is minutes off"):
        S3Objects(place(s3, bucket)).put_file("a/b.mp4", file)


def test_another_key_of_the_customer_is_told(s3: S3, bucket: str) -> None:
    S3Objects(place(s3, bucket, sse="customer", sse_key=b"k" * 32)).put("a/b", b"secret")
    for other in ({}, {"sse": "customer", "sse_key": b"x" * 32}):
        with pytest.raises(StorageError):
            S3Objects(place(s3, bucket, **other)).get("a/b")


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        nobody = S3Place(url=f"http://127.0.0.1:{port}", bucket="raw", access="a", secret="b")
        with pytest.raises(StoreAway, match="no connection; start it"):
            S3Objects(nobody).put("a", b"")
    with pytest.raises(StoreAway, match="does not resolve"):
        S3Objects(msgspec.structs.replace(nobody, url="http://nobody.invalid:9")).get("a")


def test_what_answers_is_no_store() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for reply in (b"SSH-2.0-nobody\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"):
                peer, _ = server.accept()
                with peer:
                    peer.recv(9999)
                    peer.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        other = S3Objects(S3Place(url=url, bucket="raw", access="a", secret="b"))
        with pytest.raises(StoreAway, match="broke off"):
            other.stat("a")
        with pytest.raises(StorageError, match="is no S3 store"):
            list(other.keys())
        thread.join(10)


def answering(status: int, code: str, message: str = "") -> Iterator[str]:
    """A store that says one thing only: what cannot be had from a real one here."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode() if code else b""

    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (507, "InsufficientStorage", DiskFull, "is full"),
        (507, "", DiskFull, "is full"),
        (403, "QuotaExceeded", DiskFull, "give it room"),
        (503, "SlowDown", StoreAway, "just now"),
        (500, "InternalError", StoreAway, "asked again by itself"),
        (502, "", StoreAway, "just now"),
        (429, "", StoreAway, "just now"),
        (403, "ExpiredToken", StoreDenied, "have expired"),
        (400, "AuthorizationHeaderMalformed", StorageError, r"set \[objects\].region"),
        (403, "ObjectLocked", Locked, "is locked"),
        (404, "NoSuchBucket", BucketMissing, "linli objects apply"),
        (400, "InvalidArgument", StorageError, "sse_key"),
        (418, "SomethingNew", StorageError, "SomethingNew"),
    ],
)
def test_what_stores_say(status: int, code: str, kind: type[LinliError], said: str) -> None:
    for url in answering(status, code, "a reason"):
        objects = S3Objects(S3Place(url=url, bucket="raw", access="a", secret="b"))
        with pytest.raises(kind, match=said) as told:
            objects.put("a", b"b")
        assert type(told.value) is kind
        assert told.value.retriable == (kind in (DiskFull, StoreAway))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = started(S3(tmp_path_factory.mktemp("tls"), tls=True))
    yield server
    server.remove()


def test_tls_is_verified(tls: S3) -> None:
    there = S3Place(url=tls.endpoint, bucket="raw-tls", access=tls.access, secret=tls.secret)
    with pytest.raises(StorageError, match=r"cannot be trusted.*\[objects\].ca"):
        S3Objects(there).put("a", b"b")
    trusted = S3Objects(msgspec.structs.replace(there, ca=tls.ca))
    trusted._client.make_bucket("raw-tls")
    left: list[int] = []
    for sse, key in (("none", b""), ("customer", b"k" * 32)):
        with_key = msgspec.structs.replace(there, ca=tls.ca, part_bytes=PART, sse=sse, sse_key=key)
        objects = S3Objects(with_key, pace=left.append)
        objects.put(f"a/{sse}", content(PART + 5))
        assert sum(left) == PART, "the rest is too short to be paced"
        left.clear()
        assert objects.get(f"a/{sse}") == content(PART + 5)
    plain = tls.endpoint.replace("https", "http")
    with pytest.raises(StorageError):
        S3Objects(msgspec.structs.replace(there, url=plain)).get("a")
    with pytest.raises(ConfigError, match=r"\[objects\].ca: .*cannot be used"):
        S3Objects(msgspec.structs.replace(there, ca=tls.folder / "nowhere.pem"))


def test_an_expired_certificate_is_called_so(tls: S3) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.folder / "expired.pem", tls.folder / "expired.key")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                context.wrap_socket(peer, server_side=True).close()

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        url = f"https://localhost:{server.getsockname()[1]}"
        expired = S3Place(url=url, bucket="raw", access="a", secret="b", ca=tls.ca)
        with pytest.raises(StorageError, match="has expired; renew it there"):
            S3Objects(expired).put("a", b"b")
        thread.join(10)


def test_tls_to_a_store_without(s3: S3) -> None:
    url = s3.endpoint.replace("http:", "https:")
    with pytest.raises(StorageError, match="does not speak TLS"):
        S3Objects(S3Place(url=url, bucket="raw", access="a", secret="b")).get("a")


def test_killed_in_the_middle_of_an_upload(tmp_path: Path, file: Path) -> None:
    """The store falls while parts arrive, and comes back on the same disk."""
    with started(S3(tmp_path / "s3")) as s3:
        bucket = s3.new_bucket()
        count = itertools.count()

        def pace(_: int) -> None:
            if next(count) == 500:
                s3.kill()

        objects = S3Objects(place(s3, bucket), pace=pace)
        before = S3Objects(place(s3, bucket))
        before.put("a/before.jpg", b"kept")
        with pytest.raises(StoreAway):
            objects.put_file("a/b.mp4", file)
        s3.start()
        assert objects.stat("a/b.mp4") is None
        assert list(objects.keys()) == ["a/before.jpg"]
        assert objects.abort("a/b.mp4") == 1
        objects.put_file("a/b.mp4", file)
        assert objects.get("a/b.mp4") == file.read_bytes()
        assert objects.get("a/before.jpg") == b"kept"
        s3.remove()


def test_a_locked_object_stays(s3: S3) -> None:
    from minio.commonconfig import GOVERNANCE
    from minio.objectlockconfig import DAYS, ObjectLockConfig

    objects = S3Objects(place(s3, "locked-for-a-day"))
    objects._client.make_bucket("locked-for-a-day", object_lock=True)
    objects._client.set_object_lock_config("locked-for-a-day", ObjectLockConfig(GOVERNANCE, 1, DAYS))
    objects.put("a/b", b"kept")
    with pytest.raises(Locked, match="it goes when its lock ends"):
        objects.purge("a/b")
    assert objects.get("a/b") == b"kept"
    objects.delete("a/b")  # hides it: its version stays
    assert objects.get("a/b") is None
    versions = objects._client.list_objects("locked-for-a-day", prefix="town/a/b", include_version=True)
    assert [v.size for v in versions if not v.is_delete_marker] == [4]
