"""The site file's tables of sensors: `[sensors]`, `[[sensors.mqtt]]`, `[sensors.http]` and `[[sensor]]`."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from events.ground import Latitude, Longitude
from events.sensor_rules import SensorRule
from ingest.units import conversion, convertible, is_known, is_registered

Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Scalar = bool | float | str
Secret = Annotated[str, msgspec.Meta(pattern=r"^((env|file):.+)?$")]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table: an unknown key is an error."""


class Field(_Section, frozen=True, kw_only=True):
    """[sensor.fields.QUANTITY]: where in the payload a quantity is, and what it means."""

    path: str = ""
    """json: a JSON pointer (`/a/0/b`) or a dotted path (`a.0.b`); senml: the record's name after `source`.
    The quantity's own name by default."""
    unit: str = ""
    """Readings are kept in it: a unit of SenML's registry, or nothing for a count or a state."""
    sent: str = ""
    """The unit it comes in where the payload does not say; `unit` by default. degF, psi, kPa ... will do."""
    unit_path: str = ""
    """json: where the payload says the unit."""
    scale: float = 1.0
    """The raw value is multiplied by this ..."""
    offset: float = 0.0
    """... and this is added; the result is in the unit it comes in."""
    low: float | None = None
    """Values below are implausible and refused; in `unit`."""
    high: float | None = None
    """Values above are implausible and refused."""
    true_values: tuple[Scalar, ...] = ()
    """What stands for 1, for example ["open", "on"]; anything else that is no `false_values` is refused."""
    false_values: tuple[Scalar, ...] = ()
    """What stands for 0."""

    def __post_init__(self) -> None:
        if not is_registered(self.unit):
            raise ValueError(
                f"unit {self.unit!r} is not in SenML's registry; readings are kept in a unit of it "
                "(m, Cel, %RH, Pa ...), `sent` may name another one"
            )
        if self.sent and not is_known(self.sent):
            raise ValueError(f"sent = {self.sent!r} is no unit that is known here; use `scale` and `offset`")
        if self.sent and conversion(self.sent, self.unit) is None:
            raise ValueError(
                f"sent = {self.sent!r} cannot become {self.unit!r}; these can: "
                f"{', '.join(convertible(self.unit)) or 'none'}"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        if bool(self.true_values) != bool(self.false_values):
            raise ValueError("true_values and false_values go together: what is neither is refused")
        if both := [value for value in self.true_values if value in self.false_values]:
            raise ValueError(f"{both[0]!r} is in true_values and in false_values; leave it in one of them")


class Sensor(_Section, frozen=True, kw_only=True):
    """[[sensor]]"""

    id: Id
    """Names the sensor in events; never change it."""
    name: str = ""
    """As the page shows it; the id by default."""
    topic: str = ""
    """MQTT topic that it publishes to; `+` and `#` as in subscriptions."""
    source: str = ""
    """What it calls itself: its CloudEvents source, or its SenML base name."""
    place: tuple[Longitude, Latitude] | None = None
    """Where it is, degrees, WGS 84."""
    component: str = ""
    """The city component it belongs to: its number in the register."""
    camera: str = ""
    """The camera that sees it."""
    zone: str = ""
    """The rule of that camera whose zone it lies in."""
    payload: Literal["senml", "json", "number"] = "senml"
    """senml: SenML in JSON, RFC 8428; json: any JSON object; number: the payload is one value as text."""
    time_path: str = ""
    """json: where the payload says when it was measured; without it, when it came."""
    time_unit: Literal["", "s", "ms", "us", "rfc3339"] = ""
    """What stands there: seconds, milliseconds or microseconds since 1970, or text. Nothing is guessed."""
    fields: dict[Id, Field]
    """What it measures, by name: level, temperature, open ..."""
    rules: tuple[SensorRule, ...] = ()
    """When its readings raise an alert."""

    def __post_init__(self) -> None:
        where = f"sensor {self.id}"
        if not self.fields:
            raise ValueError(f"{where}: it measures nothing; add [sensor.fields.level] or the like")
        if self.payload == "number" and len(self.fields) > 1:
            raise ValueError(
                f'{where}: a payload of one number has one field; payload = "json" may have more'
            )
        if self.payload != "json" and (self.time_path or any(f.unit_path for f in self.fields.values())):
            raise ValueError(f'{where}: time_path and unit_path are for payload = "json"')
        if bool(self.time_path) != bool(self.time_unit):
            raise ValueError(f"{where}: time_path and time_unit go together; nothing is guessed")
        if self.topic and not is_filter(self.topic):
            raise ValueError(
                f"{where}: topic {self.topic!r} is no MQTT topic; `+` and `#` stand for whole levels"
            )
        if self.zone and not self.camera:
            raise ValueError(f"{where}: zone {self.zone!r} is of a camera; name it with `camera`")
        names = [rule.name for rule in self.rules]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"{where}: rule names must differ, twice: {', '.join(sorted(twice))}")
        for rule in self.rules:
            if rule.quantity not in self.fields:
                raise ValueError(
                    f"{where}: rule {rule.name!r} is about {rule.quantity!r}, which it does not measure "
                    f"(there are {', '.join(self.fields)})"
                )


class Broker(_Section, frozen=True, kw_only=True):
    """[[sensors.mqtt]]"""

    url: str
    """mqtt://host[:1883], or mqtts://host[:8883] with TLS; without a password."""
    credentials: Secret = ""
    """`env:NAME` or `file:PATH` (mode 600), holding user:password."""
    ca: str = ""
    """File with the certificate of the authority to trust, relative to the site file; the system's by
    default."""
    version: Literal["5", "3.1.1"] = "5"
    """Of MQTT."""
    topics: tuple[str, ...] = ()
    """What is subscribed; the sensors' topics by default."""
    client: str = ""
    """Client id; of site and box by default. Never two clients with one id, and never another one later: the
    broker keeps what was not delivered under it."""
    keep_s: Annotated[int, msgspec.Meta(ge=60)] = 7 * 86_400
    """So long the broker is asked to keep messages while this box is away (MQTT 5)."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise ValueError("url is not mqtt://host[:port] with a port from 1 to 65535") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or port == 0:
            raise ValueError("url is not mqtt://host[:port] or mqtts://host[:port]")
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "url carries a password; move it out of this file and write "
                'credentials = "env:NAME" or "file:PATH"'
            )
        for topic in self.topics:
            if not is_filter(topic):
                raise ValueError(f"topic {topic!r} is none; `+` and `#` stand for whole levels")
        if self.ca and parts.scheme == "mqtt":
            raise ValueError("`ca` needs TLS: write mqtts:// in the url")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (8883 if self.tls else 1883)


class Gateway(_Section, frozen=True, kw_only=True):
    """[[sensors.http.gateway]]: who may hand in readings."""

    who: Annotated[str, msgspec.Meta(min_length=1)]
    """Names the gateway in what is logged."""
    token: Annotated[str, msgspec.Meta(pattern=r"^(env|file):.+$")]
    """`env:NAME` or `file:PATH` (mode 600), holding its bearer token of at least 16 characters."""
    sensors: tuple[Id, ...] = ()
    """The sensors it may speak for; all by default."""


class Intake(_Section, frozen=True, kw_only=True):
    """[sensors.http]"""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """0: readings are not taken over HTTP."""
    loopback: bool = False
    """Whoever sits at this machine may hand in readings without a token: for the demo only."""
    gateway: tuple[Gateway, ...] = ()
    """Who may hand in readings; nobody by default."""
    certificate: str = ""
    """PEM file with the server's certificate, relative to the site file: HTTPS. Needs `key`."""
    key: str = ""
    """PEM file with the certificate's private key."""
    max_kb: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1024
    """Largest request."""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key go together")


class Sensors(_Section, frozen=True, kw_only=True):
    """[sensors]"""

    window_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 300.0
    """A reading may be so much older than the newest one of its sensor and quantity; what is later is
    refused."""
    backlog_s: Annotated[float, msgspec.Meta(ge=60)] = 7 * 86_400.0
    """A reading may be so old when it comes, for example after an outage."""
    mqtt: tuple[Broker, ...] = ()
    """Brokers to subscribe at."""
    http: Intake = Intake()
    """Readings that are handed in."""


def check_sensors(sensors: Sequence[Sensor], cameras: Mapping[str, Sequence[str]]) -> None:
    """What sensors must agree on with each other and with the cameras (id -> names of its rules).

    Raises:
        ValueError: names the sensor and the mend.
    """
    for key in ("id", "source"):
        given = Counter(getattr(sensor, key) for sensor in sensors)
        if twice := {value for value, count in given.items() if value and count > 1}:
            raise ValueError(f"sensors must differ in `{key}`, twice: {', '.join(sorted(twice))}")
    for sensor in sensors:
        if sensor.camera and sensor.camera not in cameras:
            known = ", ".join(cameras) or "none"
            raise ValueError(f"sensor {sensor.id}: there is no camera {sensor.camera!r} (there are {known})")
        if sensor.zone and sensor.zone not in cameras[sensor.camera]:
            known = ", ".join(cameras[sensor.camera]) or "none"
            raise ValueError(
                f"sensor {sensor.id}: camera {sensor.camera} has no rule {sensor.zone!r} (there are {known})"
            )


def is_filter(topic: str) -> bool:
    """Whether a text is an MQTT topic or topic filter (MQTT 5, section 4.7)."""
    levels = topic.split("/")
    return (
        0 < len(topic.encode()) <= 65_535
        and "\0" not in topic
        and all(level in ("+", "#") or not re.search(r"[+#]", level) for level in levels)
        and "#" not in levels[:-1]
    )


def matches(filter: str, topic: str) -> bool:
    """Whether the filter takes the topic. Topics with `$` at their start are taken by no wildcard."""
    wanted, given = filter.split("/"), topic.split("/")
    if given[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for n, level in enumerate(wanted):
        if level == "#":
            return True
        if n >= len(given) or level not in ("+", given[n]):
            return False
    return len(wanted) == len(given)
