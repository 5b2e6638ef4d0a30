"""Objects in an S3 bucket: sent in parts, checked from end to end, and encrypted where the site says so.

With each object the store keeps the SHA-256 of the whole, of the form that it has on the box: the same
content is not sent twice, and what is fetched is compared with it. A reader sees an object whole or not at
all: parts become an object in one step, at the end.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import pyrage
from minio.error import S3Error

from events.errors import LinliError, StorageError, StoreDenied
from storage import agefiles
from storage.database import make_folder, storage_error, sync_folder
from storage.objects import check_key
from storage.pacing import Interrupted
from storage.s3client import S3Place, client
from storage.s3errors import FAULTS, Locked, mapped
from storage.s3streams import Checked, Chunked, Hashed, Parts

SHA256 = "linli-sha256"
"""Of the plain object, in the store's metadata."""

_META = f"x-amz-meta-{SHA256}"
_CHUNK = 1 << 20
_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "ResourceNotFound"})
_KINDS = {
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".mp4": "video/mp4",
    ".png": "image/png",
}


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An object as the store has it."""

    key: str
    bytes: int
    """As stored: encrypted by age it is a little longer."""
    sha256: str = ""
    """Of the plain object; empty where the store was not asked, or somebody else put it there."""
    encrypted: bool = False
    """By age, for the recipients of whoever sent it."""
    modified_us: int = 0


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a put."""

    sha256: str
    bytes: int
    """That left; 0: the same content was there already."""


class S3Objects:
    """`storage.objects.Objects` in a bucket. One thread uses it.

    Errors are StoreAway (asked again later), StoreDenied, BucketMissing, DiskFull and StorageError.
    """

    def __init__(
        self,
        place: S3Place,
        *,
        pace: Callable[[int], None] = lambda _: None,
        identities: Sequence[pyrage.x25519.Identity] = (),
    ) -> None:
        """
        Args:
            pace: called before each slice of a body leaves; may wait, or raise `pacing.Interrupted`.
            identities: open what was encrypted by age.
        """
        self.place = place
        self._client = client(place, pace)
        self._identities = identities

    # -- Objects

    def put(self, key: str, data: bytes) -> None:
        self._put(key, hashlib.sha256(data).hexdigest(), lambda: io.BytesIO(data), len(data))

    def get(self, key: str) -> bytes | None:
        found = self.stat(key)
        if found is None:
            return None
        out = io.BytesIO()
        self._fetch(found, out)
        return out.getvalue()

    def delete(self, key: str) -> None:
        for name in self._names(key):
            self._do(f"delete {key}", self._client.remove_object, self.place.bucket, name)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from (found.key for found in self.found(prefix))

    # -- files

    def put_file(self, key: str, path: Path, sha256: str = "") -> Sent:
        """Send a file, unless the same content is there already. Whole and checked when this returns.

        Args:
            sha256: what the file is to be, by who wrote it; empty: nobody said.

        Raises:
            StorageError: the file cannot be read or is not what it is to be (it does not appear in the
                store then), or see the class.
            Interrupted: by `pace`. Nothing of it is to be seen.
        """
        try:
            size = path.stat().st_size
            return self._put(key, sha256 or _sha256(path), lambda: path.open("rb"), size)
        except OSError as e:
            raise storage_error(e, path) from e

    def get_file(self, key: str, path: Path) -> Stored | None:
        """Fetch an object into a file, which appears when it is whole and checked; None: there is no object.

        Raises:
            StorageError: it is not what was put there, or see the class.
        """
        found = self.stat(key)
        if found is None:
            return None
        half = path.with_name(f".{path.name}.{os.getpid()}.half")
        try:
            make_folder(path.parent)
            with half.open("wb") as file:
                self._fetch(found, file)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
            sync_folder(path.parent)
        except OSError as e:
            raise storage_error(e, path) from e
        finally:
            half.unlink(missing_ok=True)
        return found

    def stat(self, key: str) -> Stored | None:
        """What the store has under this key; None: nothing."""
        for name in self._names(key):
            head = self._head(name, key)
            if head is not None:
                sealed = name != self._name(key)
                as_stored = name.endswith(agefiles.SUFFIX) and not sealed  # asked for by its whole name
                return Stored(
                    key=key,
                    bytes=int(head.size or 0),
                    sha256="" if as_stored else str((head.metadata or {}).get(_META) or ""),
                    encrypted=sealed,
                    modified_us=_us(head.last_modified),
                )
        return None

    def found(self, prefix: str = "") -> Iterator[Stored]:
        """What lies under keys that begin so, in order of keys, without hashes."""
        before = ""
        for item in self._list(self._name(prefix, check=False)):
            name = str(item.object_name)[len(self._name("", check=False)) :]
            key = name.removesuffix(agefiles.SUFFIX)
            if key != before:
                yield Stored(
                    key=key,
                    bytes=int(item.size or 0),
                    encrypted=name != key,
                    modified_us=_us(item.last_modified),
                )
            before = key

    def abort(self, key: str) -> int:
        """End uploads of this key that nobody will finish; answers how many. What an earlier process of this
        box left is meant: another's that is under way would fail, and begin again."""
        ended = 0
        for name in self._names(key):
            found = self._do(
                "list unfinished uploads",
                self._client._list_multipart_uploads,
                self.place.bucket,
                prefix=name,
            )
            for upload in found.uploads:
                if upload.object_name == name:
                    self._do(
                        f"end an unfinished upload of {key}",
                        self._client._abort_multipart_upload,
                        self.place.bucket,
                        name,
                        upload.upload_id,
                    )
                    ended += 1
        return ended

    def purge(self, key: str) -> None:
        """Delete an object with all its versions.

        Raises:
            Locked: the store keeps a version until its lock ends.
        """
        for name in self._names(key):
            found = self._do(
                f"list versions of {key}",
                lambda name=name: list(
                    self._client.list_objects(self.place.bucket, prefix=name, include_version=True)
                ),
            )
            for item in found:
                if item.object_name != name:
                    continue
                version = item.version_id if item.version_id not in (None, "", "null") else None
                try:
                    self._do(
                        f"delete {key}",
                        self._client.remove_object,
                        self.place.bucket,
                        name,
                        version_id=version,
                    )
                except StoreDenied as e:
                    if version and self._kept(name, version):
                        raise Locked(
                            f"{key} is locked in the object store; it goes when its lock ends"
                        ) from e
                    raise

    def reachable(self) -> None:
        """The bucket is there and the credentials reach it; raises what is wrong."""
        bucket = self.place.bucket
        try:
            there = self._client.bucket_exists(bucket)
        except FAULTS as e:
            raise self._known(self._why(e, ""), "look at the bucket") from e
        if not there:
            raise self._known(_missing(bucket), "look at the bucket")

    # -- inside

    def _put(self, key: str, sha256: str, opened: Callable[[], BinaryIO], size: int) -> Sent:
        name = self._name(key) + (agefiles.SUFFIX if self.place.recipients else "")
        head = self._head(name, key)
        if head is not None and str((head.metadata or {}).get(_META) or "") == sha256:
            return Sent(sha256=sha256, bytes=0)
        with opened() as file, contextlib.ExitStack() as held:
            checked = Checked(file, size, sha256, key)
            body: Any = checked
            if self.place.recipients:
                body = held.enter_context(agefiles.Encrypted(cast(BinaryIO, checked), self.place.recipients))
            parts = Parts(body, self.place.part_bytes)
            try:
                result = self._client.put_object(
                    self.place.bucket,
                    name,
                    cast(BinaryIO, parts),
                    -1 if self.place.recipients else size,
                    _kind(key) if not self.place.recipients else "application/octet-stream",
                    {SHA256: sha256},
                    self.place.encryption(),
                    part_size=self.place.part_bytes,
                    num_parallel_uploads=1,
                )
            except Interrupted:
                raise
            except (LinliError, *FAULTS) as e:
                raise checked.problem or self._known(e, f"store {key}") from e
        if checked.problem:
            raise checked.problem
        self._confirm(name, key, parts, str(result.etag or ""))
        return Sent(sha256=sha256, bytes=parts.bytes)

    def _confirm(self, name: str, key: str, parts: "Parts", etag: str) -> None:
        """The store has what left here: by its MD5s where it gives them, else it is read again."""
        head = self._head(name, key)
        if head is not None and head.size == parts.bytes and etag.strip('"') in parts.etags():
            return
        digest = hashlib.sha256()
        count = 0
        for chunk in self._chunks(name, key):
            digest.update(chunk)
            count += len(chunk)
        if head is None or (count, digest.digest()) != (parts.bytes, parts.sha256.digest()):
            self._do(f"delete {key}", self._client.remove_object, self.place.bucket, name)
            raise StorageError(
                f"the object store {self.place.url} has {key} otherwise than it was sent; it is sent again"
            )

    def _fetch(self, found: Stored, out: BinaryIO) -> None:
        name = self._name(found.key) + (agefiles.SUFFIX if found.encrypted else "")
        sink = Hashed(out)
        if found.encrypted:
            source = io.BufferedReader(Chunked(self._chunks(name, found.key)), 1 << 16)
            agefiles.decrypt(source, cast(BinaryIO, sink), self._identities, found.key)
        else:
            for chunk in self._chunks(name, found.key):
                sink.write(chunk)
        if found.sha256 and sink.digest.hexdigest() != found.sha256:
            raise StorageError(
                f"{found.key} is not what was put into the object store: its SHA-256 is "
                f"{sink.digest.hexdigest()}, it was {found.sha256}"
            )

    def _chunks(self, name: str, key: str) -> Iterator[bytes]:
        response = self._do(
            f"read {key}", self._client.get_object, self.place.bucket, name, ssec=self.place.customer_key()
        )
        try:
            yield from response.stream(_CHUNK)
        except FAULTS as e:
            raise self._known(e, f"read {key}") from e
        finally:
            response.close()
            response.release_conn()

    def _head(self, name: str, key: str) -> Any:
        """None: there is no such object."""
        try:
            return self._client.stat_object(self.place.bucket, name, ssec=self.place.customer_key())
        except S3Error as e:
            if e.code in _GONE:
                return None
            raise self._known(self._why(e, name), f"look at {key}") from e
        except FAULTS as e:
            raise self._known(e, f"look at {key}") from e

    def _why(self, error: Exception, prefix: str) -> Exception:
        """The answer to HEAD has no body, so it does not say which wrong it is: another question does."""
        if isinstance(error, S3Error):
            try:
                next(iter(self._client.list_objects(self.place.bucket, prefix=prefix)), None)
            except FAULTS as better:
                return better
        return error

    def _list(self, prefix: str) -> Iterator[Any]:
        try:
            yield from self._client.list_objects(self.place.bucket, prefix=prefix, recursive=True)
        except FAULTS as e:
            raise self._known(e, "list the bucket") from e

    def _do(self, what: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except FAULTS as e:
            raise self._known(e, what) from e

    def _known(self, error: Exception, what: str) -> LinliError:
        return mapped(error, self.place.named, what)

    def _kept(self, name: str, version: str) -> bool:
        try:
            found = self._client.get_object_retention(self.place.bucket, name, version_id=version)
        except FAULTS:
            return False
        return found is not None

    def _name(self, key: str, check: bool = True) -> str:
        if check:
            check_key(key)
        return f"{self.place.prefix}/{key}" if self.place.prefix else key

    def _names(self, key: str) -> tuple[str, str]:
        """As it is written now first, then as it may have been written by other settings."""
        name = self._name(key)
        both = (name, name + agefiles.SUFFIX)
        return both if not self.place.recipients else (both[1], both[0])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(key: str) -> str:
    return _KINDS.get(os.path.splitext(key)[1], "application/octet-stream")


def _us(at: Any) -> int:
    return int(at.timestamp() * 1e6) if at is not None else 0


def _missing(bucket: str) -> S3Error:
    return S3Error(cast(Any, None), "NoSuchBucket", "", "", "", "", bucket)
