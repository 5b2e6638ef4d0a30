"""Kafka's brokers: how they are reached, and what their refusals mean.

Each user of the library gets its arguments from here (`arguments`) and turns its errors into ours
(`trouble`). The library's own log is kept to what is fatal: it repeats each attempt of a connection, and it
is not ours to promise what it writes.
"""

import contextlib
import logging
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from kafka import errors as k
from kafka.net.compat import KafkaNetClient

from events.errors import BusAway, BusError
from storage.brokers import Brokers
from storage.kafkaprobe import Silent, ask, speaks_tls

logging.getLogger("kafka").setLevel(logging.CRITICAL)

PROBE_S = 3.0
"""How long one broker is asked why it cannot be spoken to."""


def arguments(brokers: Brokers) -> dict[str, Any]:
    """Of a connection, by kafka-python's names. Holds the password: not for logs."""
    found: dict[str, Any] = {
        "bootstrap_servers": list(brokers.bootstrap),
        "client_id": brokers.client,
        "security_protocol": brokers.security,
    }
    if brokers.security.endswith("SSL"):
        found["ssl_context"] = _tls(brokers)
    if brokers.security.startswith("SASL") and brokers.login is not None:
        found["sasl_mechanism"] = brokers.mechanism
        found["sasl_plain_username"] = brokers.login.user
        found["sasl_plain_password"] = brokers.login.password
    return found


def opened(kind: Callable[..., Any], **settings: Any) -> Any:
    """A client of the library (consumer, producer, admin client).

    One that cannot connect leaves a thread and open files behind, which nobody could close: in an outage some
    at every try. Here nothing is left of it.

    Raises:
        KafkaError, OSError: as the library.
    """
    make = settings.pop("kafka_client", KafkaNetClient)
    begun: list[Any] = []

    def client(**more: Any) -> Any:
        begun.append(make(**more))
        return begun[-1]

    try:
        return kind(**settings, kafka_client=client)
    except BaseException:
        for one in begun:
            one.close()
        raise


@contextlib.contextmanager
def told(brokers: Brokers | None = None) -> Iterator[None]:
    """Within it the library's errors become ours.

    Raises:
        BusError: in place of the library's.
    """
    try:
        yield
    except (k.KafkaError, OSError) as e:
        raise trouble(e, brokers) from e
    except UnicodeDecodeError as e:
        raise BusError(
            "a record on the topics has a header whose name is not UTF-8; Kafka's client does not get past "
            "it; delete the records up to it (kafka-delete-records)"
        ) from e


def trouble(error: BaseException, brokers: Brokers | None = None) -> BusError:
    """What an error of the library means, with the mend.

    `brokers`: asked why they cannot be reached, for the library does not tell.
    """
    if type(error) is k.KafkaError and (code := re.search(r"\[Error (\d+)\]", str(error))):
        error = k.for_code(int(code[1]))()  # the brokers' answer, wrapped (at a producer's beginning)
    for kinds, ours, text in _MEANINGS:
        if isinstance(error, kinds):
            return ours(text.format(what=_what(error)))
    if isinstance(error, _AWAY):
        return _away(error, brokers)
    retriable = getattr(error, "retriable", False)
    kind = BusAway if retriable else BusError
    return kind(f"Kafka refused: {type(error).__name__}: {str(error)[:300]}")


def _away(error: BaseException, brokers: Brokers | None) -> BusError:
    if brokers is None:
        return BusAway(f"Kafka's brokers do not answer ({type(error).__name__})")
    found = BusAway("no broker is named in [bus] bootstrap")
    for address in brokers.bootstrap:
        refusal = _refusal(address, brokers)
        if refusal is None:
            if brokers.login is not None and _refuses_login(brokers):
                return BusError(_LOGIN)
            return BusAway(f"Kafka's broker {address} takes connections and does not do what it is asked to")
        if not isinstance(refusal, BusAway):
            return refusal
        found = refusal
    return found


def _refusal(address: str, brokers: Brokers) -> BusError | None:
    """Why this broker cannot be spoken to; None: nothing is wrong before the login."""
    tls, login = brokers.security.endswith("SSL"), brokers.security.startswith("SASL")
    broker = f"Kafka's broker {address}"
    try:
        port = ask(address, _tls(brokers) if tls else None, brokers.mechanism, PROBE_S)
    except ssl.SSLError as e:
        away = isinstance(e, ssl.SSLEOFError) and not _plain(address, brokers)
        return (BusAway if away else BusError)(_tls_text(address, e, brokers))
    except Silent as e:
        if not tls and speaks_tls(address, PROBE_S):
            return BusError(
                f'{broker} speaks TLS, and [bus] security = "{brokers.security}" does not: set it to '
                f'"{"SASL_SSL" if login else "SSL"}", or give the address of another port'
            )
        return BusAway(f"{broker} takes connections and does not answer ({e}); is it Kafka's port?")
    except OSError as e:
        why = e.strerror or str(e) or type(e).__name__
        return BusAway(f"{broker} cannot be reached: {why}; is it running, is the address right?")
    ways = ", ".join(port.mechanisms)
    if port.login and not login:
        set_to = "SASL_SSL" if tls else "SASL_PLAINTEXT"
        return BusError(f'{broker} wants a login ({ways}): set [bus] security = "{set_to}" and credentials')
    if login and not port.login:
        set_to = "SSL" if tls else "PLAINTEXT"
        return BusError(
            f'{broker} takes no login on this port: set [bus] security = "{set_to}", or give the address of '
            "its port with SASL"
        )
    if login and brokers.mechanism not in port.mechanisms:
        return BusError(f"{broker} does not take {brokers.mechanism}; set [bus] mechanism to one of: {ways}")
    return None


def _refuses_login(brokers: Brokers) -> bool:
    """Does a broker end the connection at the login? It says why, but closes at once, and the library hears
    the closing alone."""
    client = KafkaNetClient(**arguments(brokers))
    try:
        node = client.cluster.bootstrap_brokers()[0].node_id
        connection = client._manager.get_connection(node)
        client._net.poll(timeout_ms=PROBE_S * 1000, future=connection.init_future)
        why = connection.init_future.exception
        answered = connection.broker_version is not None
        return isinstance(why, k.SaslAuthenticationFailedError) or (why is not None and answered)
    except (k.KafkaError, OSError):
        return False
    finally:
        client.close()


def _tls(brokers: Brokers) -> ssl.SSLContext:
    """
    Raises:
        BusError: a file of [bus] cannot be read as what it is to be.
    """
    try:
        context = ssl.create_default_context(cafile=brokers.ca or None)
        if brokers.certificate:
            context.load_cert_chain(brokers.certificate, brokers.key)
    except (OSError, ssl.SSLError) as e:
        files = ", ".join(name for name in (brokers.ca, brokers.certificate, brokers.key) if name)
        raise BusError(f"[bus] ca, certificate or key ({files}) cannot be used: {e}") from None
    return context


def _tls_text(address: str, error: ssl.SSLError, brokers: Brokers) -> str:
    broker = f"Kafka's broker {address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        mend = "renew it" if "expired" in why else "name the authority that signed it in [bus] ca"
        if "ostname" in why or "IP address" in why:
            mend = "use a name that stands in it"
        return f"the certificate of {broker} is refused: {why}; {mend}"
    if _plain(address, brokers):
        plain = "SASL_PLAINTEXT" if brokers.login is not None else "PLAINTEXT"
        return (
            f'{broker} speaks without TLS, and [bus] security = "{brokers.security}" asks for it: give the '
            f'address of its port with TLS, or, on a closed network, set "{plain}"'
        )
    return f"{broker} does not speak TLS as we do: {error.reason or error}; check [bus] security"


def _plain(address: str, brokers: Brokers) -> bool:
    """The broker answers without TLS."""
    try:
        ask(address, None, brokers.mechanism, PROBE_S)
    except (Silent, OSError):
        return False
    return True


def _what(error: BaseException) -> str:
    """The topic or group that an error names."""
    found = [str(part) for part in getattr(error, "args", ()) if part]
    return ", ".join(found)[:200] or "(it does not say which)"


_LOGIN = "Kafka refuses the user or password of [bus] credentials; mend them, or add the user on the brokers"

_AWAY = (
    OSError,
    k.KafkaConnectionError,
    k.KafkaTimeoutError,
    k.MetadataEmptyBrokerList,
    k.NodeNotReadyError,
    k.RequestTimedOutError,
    k.UnrecognizedBrokerVersion,
    k.BrokerNotAvailableError,
    k.Cancelled,
)
_Kind = type[BusError]
_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], _Kind, str], ...] = (
    (
        (k.SaslAuthenticationFailedError,),
        BusError,
        _LOGIN,
    ),
    (
        (k.UnsupportedSaslMechanismError, k.IllegalSaslStateError),
        BusError,
        "Kafka does not take this SASL mechanism; set [bus] mechanism as the brokers have it ({what})",
    ),
    (
        (k.TopicAuthorizationFailedError,),
        BusError,
        "Kafka denies this user the topic {what}; add an ACL (deploy/kafka has examples)",
    ),
    (
        (k.GroupAuthorizationFailedError,),
        BusError,
        "Kafka denies this user the consumer group {what}; add an ACL for Read on the group",
    ),
    (
        (k.ClusterAuthorizationFailedError,),
        BusError,
        "Kafka denies this user what it wants of the cluster; add an ACL (IdempotentWrite, Create): {what}",
    ),
    (
        (k.UnknownTopicOrPartitionError, k.UnknownTopicIdError),
        BusAway,
        "the topic {what} is not there; make it with `linli topics apply SITE`",
    ),
    (
        (k.InvalidTopicError,),
        BusError,
        "{what} cannot be a topic's name; mend [bus] prefix",
    ),
    (
        (k.MessageSizeTooLargeError, k.RecordListTooLargeError),
        BusError,
        "a record is larger than the topic takes (max.message.bytes): {what}",
    ),
    (
        (k.NotEnoughReplicasError, k.NotEnoughReplicasAfterAppendError),
        BusAway,
        "too few of Kafka's brokers are in step (min.insync.replicas) to take {what}; look after the others",
    ),
    (
        (k.KafkaStorageError,),
        BusAway,
        "Kafka's broker cannot write its disk (full?): {what}",
    ),
    (
        (k.FencedInstanceIdError, k.ProducerFencedError),
        BusError,
        "another process has taken this one's place on Kafka: two boxes have one name ([cluster] box)",
    ),
    (
        (k.UnsupportedCompressionTypeError, k.UnsupportedCodecError),
        BusError,
        "Kafka does not take this compression; set [bus] compression: {what}",
    ),
    (
        (k.UnsupportedVersionError, k.IncompatibleBrokerVersion),
        BusError,
        "these brokers are too old; Linli needs Kafka 3.0 or later: {what}",
    ),
)
