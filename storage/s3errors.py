"""What an S3 store, or the way to it, says in errors, as errors of ours: they name thing and mend."""

from typing import NamedTuple
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3 import exceptions as http

from events.errors import DiskFull, LinliError, StorageError, StoreAway, StoreDenied


class BucketMissing(StorageError):
    """The bucket is not there."""


class Locked(StorageError):
    """The store keeps the object until its lock ends; nobody can delete it before."""


class Place(NamedTuple):
    """What messages name."""

    url: str
    bucket: str


FAULTS = (MinioException, http.HTTPError, OSError, ParseError, ValueError)
"""What the client raises."""

_FULL = frozenset(
    {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
)
_BUSY = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "SlowDownRead", "SlowDownWrite"}
    | {"NoSuchUpload", "OperationAborted", "IncompleteBody"}
)
_LOCKED = frozenset({"InvalidRetentionPeriod", "ObjectLocked"})
_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "TemporaryRedirect"})

_DENIED = {
    "AccessDenied": (
        "does not let this access key {what}; give it the right to list, read, write and delete in bucket "
        "{bucket!r}, or name another in [objects].credentials"
    ),
    "ExpiredToken": "says that the credentials have expired; put new ones in place of [objects].credentials",
    "InvalidAccessKeyId": "knows no such access key; mend what [objects].credentials names",
    "InvalidToken": "says that the session token is wrong; put new credentials in [objects].credentials",
    "RequestTimeTooSkewed": "says that this box's clock is minutes off; set the clock (NTP) here or there",
    "SignatureDoesNotMatch": "says that the secret does not fit the access key; mend what "
    "[objects].credentials names",
}


def mapped(error: Exception, place: Place, what: str) -> LinliError:
    """The error of our tree.

    Args:
        error: of the client, of the way to the store, or one of ours, which stays.
        what: what was being done, after "cannot": `store gate/1.mp4`.
    """
    if isinstance(error, LinliError):
        return error
    if isinstance(error, S3Error):
        status = int(getattr(error.response, "status", 0) or 0)
        return _said(str(error.code or ""), str(error.message or ""), status, place, what)
    if isinstance(error, ServerError):
        return _said("", "", error.status_code, place, what)
    if isinstance(error, InvalidResponseError):
        return _said("", "what answers is no S3 store", _status(error), place, what)
    if isinstance(error, ParseError):
        return _said("", "what answers is no S3 store", 200, place, what)
    return _way(error, place, what)


def _said(code: str, message: str, status: int, place: Place, what: str) -> LinliError:
    where = f"the object store {place.url}"
    told = f" ({code})" if code else f" (HTTP {status})"
    if code == "NoSuchBucket":
        return BucketMissing(
            f"{where} has no bucket {place.bucket!r}; make it with `linli objects apply SITE`, or mend "
            "[objects].bucket"
        )
    if code in _LOCKED or "WORM" in message:
        return Locked(f"{where} cannot {what}: the object is locked{told}; it goes when its lock has ended")
    if code in _REGION or (status in (301, 307) and not code):
        return StorageError(f"{where} is asked in the wrong region: {message or code}; set [objects].region")
    if code in _DENIED or (status in (401, 403) and not code):
        text = _DENIED.get(code, _DENIED["AccessDenied"]).format(what=what, bucket=place.bucket)
        return StoreDenied(f"{where} {text}{told}")
    if code in _FULL or status == 507:
        return DiskFull(
            f"{where} is full{told}: it cannot {what}; give it room, sending goes on by itself then"
        )
    if code in _BUSY or status >= 500 or status == 429:
        return StoreAway(f"{where} cannot {what} just now{told}; it is asked again by itself")
    if code in ("BadRequest", "InvalidArgument") and status == 400:
        return StorageError(
            f"{where} does not accept how it is asked to {what}{told}: {message}; if the object is encrypted "
            "by the store, [objects].sse_key has to be the key it was stored with"
        )
    return StorageError(f"{where} cannot {what}{told}: {message or 'it does not say why'}")


def _way(error: Exception, place: Place, what: str) -> LinliError:
    """The store did not answer at all."""
    reason = error.reason if isinstance(error, http.MaxRetryError) and error.reason else error
    where = f"the object store {place.url}"
    if isinstance(reason, http.SSLError) or "SSL" in type(reason).__name__:
        text = str(reason)
        if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
            return StorageError(
                f"{where} does not speak TLS; write http:// in [objects].url, or mend the store"
            )
        if "expired" in text:
            return StorageError(f"{where} shows a certificate that has expired; renew it there")
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            return StorageError(
                f"{where} shows a certificate that cannot be trusted ({_short(text)}); name its authority in "
                "[objects].ca, or mend the host's name"
            )
        return StorageError(
            f"{where}: TLS fails ({_short(text)}); mend the store's certificate or its settings"
        )
    if isinstance(reason, http.NameResolutionError):
        return StoreAway(f"{where} cannot be found: its name does not resolve; mend [objects].url or the DNS")
    if isinstance(reason, http.NewConnectionError | ConnectionRefusedError):
        return StoreAway(f"{where} is not reached: no connection; start it, or mend the network")
    if isinstance(reason, http.TimeoutError | TimeoutError):
        return StoreAway(f"{where} does not answer in time; mend the store or the network")
    if isinstance(reason, http.HTTPError | ConnectionError):
        return StoreAway(f"{where} broke off the connection; it is asked again by itself")
    if isinstance(reason, OSError) and reason.errno is not None and not reason.filename:
        return StoreAway(f"{where} is not reached: {reason.strerror}; mend the network")
    return StorageError(f"cannot {what}: {reason}")


def _status(error: InvalidResponseError) -> int:
    return int(getattr(error, "_code", 0) or 0)


def _short(text: str) -> str:
    """The end of what OpenSSL says, without its own file and line."""
    return text.rpartition("] ")[2].split(" (_ssl")[0].strip(")('\"")[:120] or text[:120]
