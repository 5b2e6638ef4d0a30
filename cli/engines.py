"""Tables of the site file that name engines beside the box: Kafka, a store, an object store, many boxes."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from cli.section import Section, check_credentials
from events.errors import ConfigError
from events.topics import topics

Family = Literal[
    "count",
    "alert",
    "view",
    "face",
    "sensor",
    "judgement",
    "health",
    "segment",
    "access",
    "claim",
    "case",
    "place",
    "register",
    "desk",
]


class BusSection(Section, frozen=True, kw_only=True):
    """[bus]: Apache Kafka. Without `bootstrap` the box's own journal is the only bus."""

    bootstrap: tuple[Annotated[str, msgspec.Meta(pattern=r"^[^\s/:@]+:[0-9]{1,5}$")], ...] = ()
    """Brokers to begin with, `["kafka-1.example.org:9092"]`."""
    prefix: str = "linli"
    """What the names of topics begin with, one for each tier of jurisdiction: `tengzhou.beixin.linli` has the
    topic `tengzhou.beixin.linli.alert`."""
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How brokers are spoken to. Without TLS only on this machine or a closed network."""
    ca: str = ""
    """PEM file of the authority that signed the brokers' certificates, relative to the site file; empty: the
    system's."""
    certificate: str = ""
    """PEM file of this box's own certificate, where the brokers ask for one."""
    key: str = ""
    """PEM file (mode 600) of its key."""
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """How a password is shown (SASL)."""
    credentials: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding user:password."""
    compression: Literal["lz4", "gzip", "none"] = "lz4"
    """Of batches on the wire and on the brokers' disks."""
    replication: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    """Copies of each topic that `linli topics apply` asks for; 3 where there are three brokers."""
    families: tuple[Family, ...] = ()
    """Families of events that leave the box; empty: all."""
    outbox_gb: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    """The journal's size from which events that are older than `keep_days` and that Kafka never had go: the
    least important families first, alerts last, each loss a health event. 0: they wait for ever."""
    projector: bool = True
    """Whether this box keeps a store of its own from its journal, for its page and for its housekeeping, so
    that it works while it is cut off. false: it reads `[store]`, which `linli serve` fills from Kafka."""

    def __post_init__(self) -> None:
        check_credentials("bus", self.credentials)
        if self.security.startswith("SASL") and self.bootstrap and not self.credentials:
            raise ValueError(f'bus: security = "{self.security}" needs credentials')
        if bool(self.certificate) != bool(self.key):
            raise ValueError("bus: a certificate needs its key, and a key its certificate")
        if any(int(address.rsplit(":", 1)[1]) > 65535 for address in self.bootstrap):
            raise ValueError("bus: a port is at most 65535")
        try:
            topics(self.prefix)
        except ConfigError as e:
            raise ValueError(f"bus: {e}") from None


class StoreSection(Section, frozen=True, kw_only=True):
    """[store]: where the projections are kept. By default `store.db` in the data folder (SQLite)."""

    url: str = ""
    """`postgresql://[user@]host[:port]/database`, without a password."""
    credentials: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding user:password."""

    def __post_init__(self) -> None:
        check_credentials("store", self.credentials)
        if not self.url:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise ValueError("store: url is postgresql://[user@]host[:port]/database")
        if parts.password is not None:
            raise ValueError(
                "store: url carries a password; move it out of this file and write "
                'credentials = "env:NAME" or "file:PATH"'
            )


class Window(Section, frozen=True, kw_only=True):
    """[[objects.schedule]]: a limit for some hours of each day, in this machine's time zone."""

    start: Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    """Local time, `"22:00"`."""
    end: Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    """Local time; before `start`: on the next day."""
    limit_mbit: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Megabits a second; 0 sends nothing; absent: no limit."""


class ObjectsSection(Section, frozen=True, kw_only=True):
    """[objects]: an S3 store that footage, clips and pictures are copied to. Faces stay on the box."""

    url: str = ""
    """`https://host[:port]`; empty: nothing is copied."""
    bucket: str = ""
    prefix: Annotated[
        str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*)?$")
    ] = ""
    """What keys begin with; the site's id by default."""
    region: str = ""
    credentials: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding access:secret."""
    ca: str = ""
    """PEM file of the authority that signed the store's certificate, relative to the site file."""
    ship: tuple[Literal["footage", "clips", "pictures"], ...] = ("footage", "clips", "pictures")
    """What is copied."""
    part_mb: Annotated[int, msgspec.Meta(ge=5, le=512)] = 16
    """Larger objects go in parts of so many MiB."""
    limit_mbit: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Megabits a second outside of `schedule`; 0 sends nothing; absent: no limit."""
    schedule: tuple[Window, ...] = ()
    hold_gb: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """So much footage that was not copied yet is kept beyond `recording.max_gb`; above it the oldest goes,
    and is told. Not beyond `keep_days`, nor into the disk's reserve."""
    sse: Literal["none", "s3", "customer"] = "none"
    """Encryption by the store: with its own key, or with the key in `sse_key`."""
    sse_key: str = ""
    """`env:NAME` or `file:PATH` (mode 600), holding 64 hexadecimal digits."""
    age: tuple[Annotated[str, msgspec.Meta(pattern=r"^age1[0-9a-z]{58}$")], ...] = ()
    """Recipients for whom objects are encrypted before they leave the box; their secret half is not here."""
    expire_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    """After so many days the store deletes; 0: never. `linli objects apply` sets it."""
    lock_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    """For so many days nobody can delete who has not the store's right to lift a lock (object lock in
    governance mode, where the store has it); 0: no lock."""

    def __post_init__(self) -> None:
        check_credentials("objects", self.credentials)
        check_credentials("objects: sse_key", self.sse_key)
        if not self.url:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("objects: url is https://host[:port], the bucket's name stands in `bucket`")
        if parts.username is not None:
            raise ValueError('objects: url carries a login; write credentials = "env:NAME" or "file:PATH"')
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket):
            raise ValueError("objects: bucket is 3 to 63 lower-case letters, digits, dots and hyphens")
        if not self.credentials:
            raise ValueError('objects: credentials are missing; write "env:NAME" or "file:PATH"')
        if self.expire_days and self.lock_days > self.expire_days:
            raise ValueError("objects: lock_days is longer than expire_days: nothing could expire in time")
        if (self.sse == "customer") != bool(self.sse_key):
            raise ValueError('objects: sse = "customer" and sse_key go together')


class ClusterSection(Section, frozen=True, kw_only=True):
    """[cluster]: several boxes with one site file share its cameras; needs `[bus]`."""

    shares: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    """Into how many shares the cameras are divided; 0: this box reads all of them. At least one for each box;
    never changed while boxes run."""
    box: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$")] = ""
    """Names this box; its host name by default. No two boxes have the same. `LINLI_BOX` in the environment
    overrides it, so that all boxes can have one site file."""
    when_cut: Literal["go-on", "stop"] = "go-on"
    """What a box does that has lost the brokers: it goes on recording and counting its own cameras, or it
    stops."""
    session_s: Annotated[float, msgspec.Meta(ge=6, le=300)] = 6.0
    """A box that was silent for so long loses its cameras to the others."""


class ServeSection(Section, frozen=True, kw_only=True):
    """[serve]: `linli serve`, from Kafka into the store."""

    host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz; they tell figures, never events."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9464
    group: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "projector"
    """Names the store on Kafka: processes with one name share the work of one store. A second store of the
    same events needs another name."""
    projectors: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    """Threads that share the partitions."""


class TelemetrySection(Section, frozen=True, kw_only=True):
    """[telemetry]"""

    otlp: str = ""
    """`http[s]://host:port` of an OpenTelemetry collector (OTLP over HTTP); empty: no traces are sent."""
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """Share of the traces that are sent; alerts' always are."""
    logs: Literal["text", "json"] = "text"
    """How log lines are written to standard error."""
    metrics: Annotated[str, msgspec.Meta(pattern=r"^([^\s/@]+:[0-9]{1,5})?$")] = ""
    """`host:port` of /metrics, /healthz and /readyz on a box without a page, `127.0.0.1:9465`; empty: none.
    They ask for no right, and tell figures, never events."""

    def __post_init__(self) -> None:
        if self.otlp and urlsplit(self.otlp).scheme not in ("http", "https"):
            raise ValueError("telemetry: otlp is http[s]://host:port")
        if self.metrics and int(self.metrics.rsplit(":", 1)[1]) > 65535:
            raise ValueError("telemetry: a port is at most 65535")
