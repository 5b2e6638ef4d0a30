"""`linli sensors`: what the site measures, what becomes of a payload, and the process that takes them."""

import hashlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from cli import settings as site_settings
from cli import wiring
from cli.running import as_child, of_site
from cli.settings import Settings
from events.clock import Clock, SystemClock
from events.errors import ConfigError
from events.media import rfc3339
from ingest import credentials
from ingest.credentials import Credentials
from ingest.intake import MIN_TOKEN, Intake, Sender, is_loopback
from ingest.intakeserver import IntakeServer
from ingest.mqtt import Subscriber
from ingest.readings import Directory
from ingest.sensorfile import Broker, Gateway
from pipeline.sensor_process import SensorProcess
from pipeline.sensors import SensorHub

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


def sensors(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> SensorProcess:
    """The process of a site's sensors, ready to run.

    Raises:
        ConfigError: a password, token or certificate cannot be read, or the network would be let in.
        StorageError: the journal cannot be opened.
    """
    file = settings.file
    senders, logins = secrets(settings, environ)
    journal = wiring.open_journal(settings, clock)
    directory = Directory(file.sensor)
    hub = SensorHub(
        file.site.id,
        wiring.box_source(settings),
        directory,
        journal,
        clock,
        (file.sensors.window_s, file.sensors.backlog_s),
        dict(
            zip(broker_names(file.sensors.mqtt), (broker.topics for broker in file.sensors.mqtt), strict=True)
        ),
    )
    topics = sorted({sensor.topic for sensor in file.sensor if sensor.topic})
    subscribers = [
        _subscriber(settings, n, hub, broker.topics or topics, logins[n], clock)
        for n, broker in enumerate(file.sensors.mqtt)
    ]
    return SensorProcess(hub, subscribers, _server(settings, senders, hub, clock), journal)


def broker_names(brokers: Sequence[Broker]) -> list[str]:
    """Of their connections: host and port, with a number from the second one to the same broker."""
    names: list[str] = []
    for broker in brokers:
        name = f"{broker.host}:{broker.port}"
        same = sum(other.partition(" ")[0] == name for other in names)
        names.append(f"{name} #{same + 1}" if same else name)
    return names


def secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[list[Sender], list[Credentials | None]]:
    """Who may hand in readings, and the brokers' logins.

    Raises:
        ConfigError: a password or token cannot be read, or the network would be let in.
    """
    wanted, base = settings.file.sensors, settings.path.parent
    senders = [_sender(gateway, environ, base) for gateway in wanted.http.gateway]
    check_intake(settings)
    return senders, [_login(broker, environ, base) for broker in wanted.mqtt]


def _subscriber(
    settings: Settings,
    n: int,
    hub: SensorHub,
    topics: tuple[str, ...] | list[str],
    login: Credentials | None,
    clock: Clock,
) -> Subscriber:
    broker = settings.file.sensors.mqtt[n]
    name = broker_names(settings.file.sensors.mqtt)[n]
    own = f"linli-{settings.file.site.id}-{os.uname().nodename}" + (f"-{n + 1}" if n else "")
    return Subscriber(
        broker,
        client=broker.client or own,
        topics=topics,
        deliver=hub.offer,
        told=lambda state, text: hub.told(name, state, text),
        clock=clock,
        credentials=login,
        ca=str(settings.path.parent / broker.ca) if broker.ca else None,
        waiting=hub.waiting,
    )


def _server(settings: Settings, senders: list[Sender], hub: SensorHub, clock: Clock) -> IntakeServer | None:
    http, base = settings.file.sensors.http, settings.path.parent
    if not http.port:
        return None
    intake = Intake(
        senders=senders,
        loopback=http.loopback,
        deliver=hub.offer,
        waiting=hub.waiting,
        clock=clock,
        max_bytes=http.max_kb << 10,
    )
    certificate = base / http.certificate if http.certificate else None
    return IntakeServer(
        intake.app, http.host, http.port, certificate, base / http.key if certificate else None
    )


def check_intake(settings: Settings) -> None:
    """Refuse an intake that the network could use without a token, or that nobody may use.

    Raises:
        ConfigError: names the mend.
    """
    http = settings.file.sensors.http
    if not http.port:
        return
    if not http.gateway and not http.loopback:
        raise ConfigError(
            "[sensors.http] has a port, but nobody may hand in readings: add a [[sensors.http.gateway]] "
            "with a token"
        )
    if is_loopback(http.host):
        return
    if http.loopback:
        raise ConfigError(
            f"[sensors.http] would listen on {http.host} with loopback = true: a proxy on this machine would "
            "let anybody in; remove loopback = true"
        )
    if not http.certificate:
        raise ConfigError(
            f"[sensors.http] would listen on {http.host} without TLS, and tokens could be read on the way; "
            "give `certificate` and `key`, or listen on 127.0.0.1 behind a proxy that has them"
        )


def _login(broker: Broker, environ: Mapping[str, str], base: Path) -> Credentials | None:
    way, _, name = broker.credentials.partition(":")
    try:
        if way == "env":
            return credentials.from_environment(name, environ)
        return credentials.from_file(base / name) if way == "file" else None
    except ConfigError as error:
        raise ConfigError(f"broker {broker.host}:{broker.port}: {error}") from None


def _sender(gateway: Gateway, environ: Mapping[str, str], base: Path) -> Sender:
    way, _, name = gateway.token.partition(":")
    where = f"gateway {gateway.who!r}"
    if way == "env":
        token = environ.get(name, "").strip()
        if not token:
            raise ConfigError(f"{where}: set the environment variable {name} to its token")
    else:
        path = base / name
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{where}: others may read {path}; run: chmod 600 '{path}'")
            token = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: cannot read the token file {path}: {error}") from None
    if len(token) < MIN_TOKEN:
        raise ConfigError(
            f"{where}: the token has fewer than {MIN_TOKEN} characters; make one with `openssl rand -hex 24`"
        )
    digest = hashlib.sha256(token.encode()).digest()
    return Sender(gateway.who, digest, frozenset(gateway.sensors) or None)


@click.group("sensors")
def group() -> None:
    """What the site's sensors measure, and what becomes of their payloads."""


@group.command("list")
@SITE
def list_sensors(site: Path) -> None:
    """The site's sensors: id, how they are known, what they measure, their rules; one a line."""
    for sensor in site_settings.load(site).file.sensor:
        known = ", ".join(text for text in (sensor.topic, sensor.source) if text) or f"/readings/{sensor.id}"
        fields = ", ".join(f"{quantity} {field.unit}".strip() for quantity, field in sensor.fields.items())
        rules = ", ".join(f"{rule.name} ({rule.__struct_config__.tag})" for rule in sensor.rules)
        click.echo("\t".join([sensor.id, sensor.payload, known, fields, rules or "no rules"]))


@group.command("try")
@SITE
@click.argument("sensor")
def try_payload(site: Path, sensor: str) -> None:
    """Read a payload from standard input and show what SENSOR's readings would be; nothing is kept.

    Each line is a JSON object: a reading, or why something is refused. Exit status 1 if anything is.
    """
    known = Directory(site_settings.load(site).file.sensor).named(sensor)
    if known is None:
        raise ConfigError(f"{site}: no sensor {sensor!r}; `linli sensors list {site}` names those there are")
    measured, refused = known.read(sys.stdin.buffer.read(), SystemClock().wall_us(), named=True)
    for one in measured:
        shown = {"quantity": one.quantity, "value": one.value, "unit": one.unit, "time": rfc3339(one.time_us)}
        if not one.timed:
            shown["note"] = "the payload has no time: it is that of the arrival"
        click.echo(msgspec.json.encode(shown).decode())
    for refusal in refused:
        click.echo(msgspec.json.encode({"refused": refusal.why, "detail": refusal.text}).decode())
    sys.exit(1 if refused else 0)


@group.command("run", hidden=True)
@SITE
def run(site: Path) -> None:
    """The sensors' process (started by `linli run`)."""
    stop = threading.Event()
    as_child(stop)
    loaded = site_settings.load(site)
    of_site(loaded, "sensors")
    built = sensors(loaded, SystemClock(), os.environ)
    built.run(stop, wiring.Paths(loaded.data).run / "sensors.json")


COMMANDS = (group,)
