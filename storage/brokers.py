"""Where Kafka's brokers are and who we are to them. Needs no client."""

from typing import Literal

import msgspec

from ingest.credentials import Credentials

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


class Brokers(msgspec.Struct, frozen=True, kw_only=True):
    """Where they are and who we are."""

    bootstrap: tuple[str, ...]
    """`host:port`."""
    prefix: str
    """Of the topics' names."""
    security: Security = "PLAINTEXT"
    ca: str = ""
    """PEM file; empty: the system's authorities."""
    certificate: str = ""
    key: str = ""
    mechanism: str = "SCRAM-SHA-512"
    login: Credentials | None = None
    compression: str = "lz4"
    client: str = "linli"
    """As the brokers' logs and quotas name us."""
