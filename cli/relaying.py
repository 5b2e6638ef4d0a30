"""The relay as the site file has it. Needs Kafka's client, which a box without brokers need not have."""

from collections.abc import Callable, Sequence

from cli import wiring
from cli.settings import Settings
from events.clock import Clock
from events.topics import FAMILIES, topic_name
from pipeline.relay import Relay, RelaySettings
from pipeline.telemetry import Arrived
from storage.deadletters import DeadLetters
from storage.journal import Journal
from storage.kafkaproducer import KafkaSender


def relay(
    settings: Settings,
    journal: Journal,
    clock: Clock,
    sent: Callable[[Sequence[Arrived]], None] | None = None,
) -> Relay:
    """The journal's way to Kafka.

    Args:
        sent: told of events that have arrived (for traces).

    Raises:
        ConfigError: the credentials are not there, or the prefix cannot be one.
    """
    bus = settings.file.bus
    brokers = wiring.brokers(settings)
    values = RelaySettings(
        topics={family: topic_name(bus.prefix, family) for family in bus.families or FAMILIES},
        source=wiring.box_source(settings),
        keep_s=settings.file.recording.keep_days * 86_400,
        bound_bytes=int(bus.outbox_gb * 1e9),
    )
    letters = DeadLetters(brokers, clock, values.source)
    status = wiring.Paths(settings.data).make().run / "relay.json"
    return Relay(journal, values, lambda names: KafkaSender(brokers, names, letters), clock, status, sent)
