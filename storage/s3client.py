"""A connection to an S3 store: where it is, with what rights, and how each byte that leaves is counted."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import urllib3
from minio import Minio
from minio.sse import Sse, SseCustomerKey, SseS3
from urllib3 import connection, connectionpool

from events.errors import ConfigError
from storage.pacing import SLICE
from storage.s3errors import Place

CONNECT_S = 10.0
"""How long a connection may take, and a slice of a body to leave."""
ANSWER_S = 25.0
"""How long the store may think: less than a service that is stopped has to end."""

REGION = "us-east-1"
"""What stores without regions are called with."""

_BODY = 4096
"""What is shorter is a request's head, not an object: it is not paced, so that a stop can still tidy up."""


class S3Place(msgspec.Struct, frozen=True, kw_only=True):
    """An S3 bucket, a prefix in it, and how to get there. Its text form shows no secret."""

    url: str
    """https://host[:port]"""
    bucket: str
    prefix: str = ""
    """What keys begin with, without a slash at its end."""
    access: str
    secret: str
    region: str = ""
    ca: Path | None = None
    """PEM file of the authority that signed the store's certificate; by default the machine's own."""
    part_bytes: int = 16 << 20
    """Larger objects go in parts of so many bytes; at least 5 MiB."""
    sse: str = "none"
    """none; s3: the store encrypts with its own key; customer: with `sse_key`."""
    sse_key: bytes = b""
    """32 bytes."""
    recipients: tuple[str, ...] = ()
    """age recipients for whom objects are encrypted before they leave."""

    def __repr__(self) -> str:
        return f"S3Place({self.url}/{self.bucket}/{self.prefix})"

    __str__ = __repr__

    @property
    def named(self) -> Place:
        """As messages name it."""
        return Place(self.url, self.bucket)

    def encryption(self) -> Sse | None:
        """What is asked of the store for each object."""
        if self.sse == "s3":
            return SseS3()
        return self.customer_key()

    def customer_key(self) -> SseCustomerKey | None:
        """The key that reading needs, too."""
        return SseCustomerKey(self.sse_key) if self.sse == "customer" else None


def client(place: S3Place, pace: Callable[[int], None]) -> Minio:
    """A client that tries nothing twice by itself: who uses it knows when.

    Args:
        pace: called before each slice of a body leaves, with its bytes; it may wait, or raise.

    Raises:
        ConfigError: the authority's file is not one.
    """
    secure = place.url.startswith("https://")
    options: dict[str, Any] = {}
    if secure:
        options["ssl_context"] = _trust(place.ca)
    pools = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S), retries=False, maxsize=2, **options
    )
    pools.pool_classes_by_scheme = _paced(pace)
    return Minio(
        place.url.split("://", 1)[1].rstrip("/"),
        place.access,
        place.secret,
        secure=secure,
        region=place.region or REGION,
        http_client=pools,
    )


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as e:
        reason = "it is no PEM file" if isinstance(e, ssl.SSLError) else e.strerror
        raise ConfigError(f"[objects].ca: {ca} cannot be used: {reason}") from None


def _paced(pace: Callable[[int], None]) -> dict[str, Any]:
    def slices(send: Callable[[Any], None], data: Any) -> None:
        if not isinstance(data, bytes | bytearray | memoryview) or len(data) < _BODY:
            send(data)
            return
        view = memoryview(data)
        for at in range(0, len(view), SLICE):
            part = view[at : at + SLICE]
            pace(len(part))
            send(part)

    class Plain(connection.HTTPConnection):
        def send(self, data: Any) -> None:
            slices(super().send, data)

    class Tls(connection.HTTPSConnection):
        def send(self, data: Any) -> None:
            slices(super().send, data)

    class PlainPool(connectionpool.HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(connectionpool.HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
