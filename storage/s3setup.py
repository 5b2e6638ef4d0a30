"""How a bucket is made and what is set for it, and whether it is as the site needs it."""

import hashlib
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any, Literal

import msgspec
from minio import Minio
from minio.commonconfig import ENABLED, GOVERNANCE, Filter
from minio.error import S3Error
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
)
from minio.objectlockconfig import DAYS, ObjectLockConfig

from events.errors import LinliError, StorageError, StoreDenied
from storage.s3client import REGION, S3Place, client
from storage.s3errors import FAULTS, Locked, mapped
from storage.s3objects import S3Objects

ABORT_DAYS = 2
"""Parts of uploads that nobody finishes go after so long. The shipper ends its own at once; these are of
boxes that never came back."""

PROBE = "linli-check/probe"
"""Key of what `check` writes, reads and deletes."""


UNTOLD = "not told to this access key"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the site file asks of a bucket."""

    expire_days: int = 0
    """0: the store deletes nothing."""
    lock_days: int = 0
    """0: no lock."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, with its mend if it is not as it should be."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str


def apply(place: S3Place, wanted: Wanted) -> Iterator[str]:
    """Make the bucket and set what the site file asks for; answers what was done, one by one. Doing it again
    changes nothing. Rules that others set for the bucket stay.

    Raises:
        LinliError: something cannot be done; what came before is done.
    """
    s3 = client(place, lambda _: None)
    bucket = place.bucket
    if _do(place, "look at the bucket", lambda: s3.bucket_exists(bucket)):
        yield f"bucket {bucket} is there"
    else:
        lock = wanted.lock_days > 0
        _do(place, "make the bucket", lambda: s3.make_bucket(bucket, place.region or REGION, lock))
        yield f"bucket {bucket} is made" + (", with object lock" if lock else "")
    if wanted.lock_days:
        if _lock(s3, place) is None:
            raise StorageError(
                f"bucket {bucket} was made without object lock, and a store adds none later: name a new "
                "bucket in [objects].bucket, or write lock_days = 0"
            )
        config = ObjectLockConfig(GOVERNANCE, wanted.lock_days, DAYS)
        _do(place, "set the lock", lambda: s3.set_object_lock_config(bucket, config))
        yield f"objects are locked for {wanted.lock_days} days from when they come"
    _do(place, "set the lifecycle", lambda: _set_rules(s3, place, wanted))
    ends = f"{wanted.expire_days} days" if wanted.expire_days else "never"
    where = f"under {place.prefix}" if place.prefix else "in the bucket"
    yield f"what lies {where} expires: {ends}; unfinished uploads: {ABORT_DAYS} days"


def check(place: S3Place, wanted: Wanted) -> Iterator[Seen]:
    """What there is to say of the store, each finding as it comes; the first failure ends it."""
    objects, s3 = S3Objects(msgspec.structs.replace(place, recipients=())), client(place, lambda _: None)
    try:
        objects.reachable()
        yield Seen(what="bucket", state="ok", text=f"{place.url}/{place.bucket}/{place.prefix} is there")
        yield from _probe(objects)
    except LinliError as e:
        yield Seen(what="bucket", state="fail", text=str(e))
        return
    yield _versions(s3, place)
    yield _locked(s3, place, wanted)
    yield _lifecycle(s3, place, wanted)
    yield _encryption(s3, place)


def _probe(objects: S3Objects) -> Iterator[Seen]:
    data = token_hex(32).encode()
    objects.put(PROBE, data)
    if objects.get(PROBE) != data:
        text = "what was written is not what is read; look at the store's own log"
        yield Seen(what="probe", state="fail", text=text)
        return
    text = f"{len(data)} bytes written, read and deleted"
    try:
        objects.purge(PROBE)
    except Locked:
        text = f"{len(data)} bytes written and read; they cannot be deleted before their lock ends"
    yield Seen(what="probe", state="ok", text=text)


def _versions(s3: Minio, place: S3Place) -> Seen:
    status = _asked(lambda: s3.get_bucket_versioning(place.bucket).status)
    text = "on: what is replaced or deleted stays as an older version" if status == "Enabled" else "off"
    text = UNTOLD if status is UNTOLD else text
    return Seen(what="versioning", state="ok", text=text)


def _locked(s3: Minio, place: S3Place, wanted: Wanted) -> Seen:
    try:
        found = _lock(s3, place)
    except StoreDenied:
        return Seen(what="lock", state="warn" if wanted.lock_days else "ok", text=UNTOLD)
    mode, duration, unit = (found.mode, found.duration, found.duration_unit) if found else (None, None, None)
    days = int(duration or 0) * (365 if str(unit).lower().startswith("year") else 1)
    text = f"{mode}, {days} days" if mode else "off" if found is None else "on, but no duration is set"
    if wanted.lock_days and days < wanted.lock_days:
        mend = "run `linli objects apply SITE`" if found is not None else "it needs a new bucket"
        text += f"; [objects].lock_days asks for {wanted.lock_days}: {mend}"
        return Seen(what="lock", state="fail", text=text)
    return Seen(what="lock", state="ok", text=text)


def _lifecycle(s3: Minio, place: S3Place, wanted: Wanted) -> Seen:
    config = _asked(lambda: s3.get_bucket_lifecycle(place.bucket))
    if config is UNTOLD:
        return Seen(what="lifecycle", state="warn" if wanted.expire_days else "ok", text=UNTOLD)
    rules = list(config.rules) if config else []
    ours = {rule.rule_id: rule for rule in rules}
    expire = ours.get(_rule_id(place, "expire"))
    days = expire.expiration.days if expire and expire.expiration else 0
    aborts = any(rule.abort_incomplete_multipart_upload for rule in rules)
    text = f"expiry after {days} days" if days else "no expiry"
    text += ", unfinished uploads end" if aborts else ", unfinished uploads stay"
    others = [rule.rule_id for rule in rules if not str(rule.rule_id).startswith("linli-")]
    if others:
        text += f"; rules of others: {', '.join(str(rule) for rule in others)}"
    if (days or 0) != wanted.expire_days or not aborts:
        text += f"; the site asks for {wanted.expire_days or 'no'} days: run `linli objects apply SITE`"
        return Seen(what="lifecycle", state="warn", text=text)
    return Seen(what="lifecycle", state="ok", text=text)


def _encryption(s3: Minio, place: S3Place) -> Seen:
    default = _asked(lambda: s3.get_bucket_encryption(place.bucket))
    default = None if default is UNTOLD else default
    kept = {"none": "not asked for", "s3": "by the store's key", "customer": "by the site's key"}[place.sse]
    text = f"by the store: {kept}" + (", and the bucket's default" if default else "")
    if place.recipients:
        text += f"; before objects leave: for {len(place.recipients)} age recipients"
    elif place.sse == "none" and not default:
        text += "; whoever can read the bucket sees footage in the clear: see [objects].age and sse"
        return Seen(what="encryption", state="warn", text=text)
    return Seen(what="encryption", state="ok", text=text)


def _lock(s3: Minio, place: S3Place) -> ObjectLockConfig | None:
    try:
        return s3.get_object_lock_config(place.bucket)
    except S3Error as e:
        if e.code in ("ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"):
            return None
        raise mapped(e, place.named, "look at the lock") from e
    except FAULTS as e:
        raise mapped(e, place.named, "look at the lock") from e


def _set_rules(s3: Minio, place: S3Place, wanted: Wanted) -> None:
    ids = {name: _rule_id(place, name) for name in ("expire", "abort")}
    config = s3.get_bucket_lifecycle(place.bucket)
    rules = [rule for rule in (config.rules if config else ()) if rule.rule_id not in ids.values()]
    prefix = Filter(prefix=f"{place.prefix}/" if place.prefix else "")
    if wanted.expire_days:
        older = NoncurrentVersionExpiration(noncurrent_days=1) if _lock(s3, place) else None
        rules.append(
            Rule(
                ENABLED,
                rule_filter=prefix,
                rule_id=ids["expire"],
                expiration=Expiration(days=wanted.expire_days),
                noncurrent_version_expiration=older,
            )
        )
    abort = AbortIncompleteMultipartUpload(days_after_initiation=ABORT_DAYS)
    rules.append(
        Rule(ENABLED, rule_filter=prefix, rule_id=ids["abort"], abort_incomplete_multipart_upload=abort)
    )
    s3.set_bucket_lifecycle(place.bucket, LifecycleConfig(rules))


def _rule_id(place: S3Place, what: str) -> str:
    """Sites that share a bucket have rules of their own."""
    return f"linli-{what}-{hashlib.sha256(place.prefix.encode()).hexdigest()[:12]}"


def _asked(call: Callable[[], Any]) -> Any:
    """What the store answers; None: it has no such thing; UNTOLD: it does not tell this access key."""
    try:
        return call()
    except S3Error as e:
        return UNTOLD if e.code == "AccessDenied" else None
    except FAULTS:
        return None


def _do(place: S3Place, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except FAULTS as e:
        raise mapped(e, place.named, what) from e
