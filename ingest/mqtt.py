"""A subscriber that loses nothing: MQTT 5 or 3.1.1, QoS 1, a persistent session, acknowledged by hand.

The broker keeps each message under our client id until we acknowledge it, and we do so once the journal has
committed what it gave (`settled`). What was not acknowledged when a connection or a process ended comes
again; the readings' ids make it harmless. One thread does all that touches the connection (paho's external
loop), so an acknowledgement can never go out on a later connection than its message came in on, where its
number may mean another message.
"""

import logging
import os
import select
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from events.clock import Clock
from events.errors import AuthError, ConfigError, SourceError
from ingest.backoff import Backoff, failure_of
from ingest.credentials import Credentials
from ingest.deliveries import Delivery
from ingest.sensorfile import Broker

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
RECEIVE_MAXIMUM = 10_000
"""Messages that the broker may send unacknowledged (MQTT 5; in 3.1.1 it has a limit of its own)."""

MAX_BYTES = 1 << 20
"""Of a message. An MQTT 5 broker keeps larger ones to itself; those of a 3.1.1 broker are refused."""

CROWDED = 50_000
"""With so many messages waiting, those of QoS 0 are dropped: nobody keeps them for us anyway."""

State = Literal["raised", "cleared", "note"]

_READS = 500
_SUBSCRIBED_AT_ONCE = 200
_STOP_S = 10.0
_CONNACK_S = 10.0
_SHORT_S = 10.0
_TAKEN_OVER = 2
"""So many connections that were accepted and lost within `_SHORT_S` look like another client with our id."""


class Subscriber:
    """One broker's connection, kept up from `start` to `stop`. It is the origin of what it delivers.

    Args:
        broker: where, and how.
        client: our client id.
        topics: what is subscribed.
        deliver: takes each message; must neither raise nor wait.
        told: called with `raised` and what is wrong with its mend, `cleared` when it delivers, or `note`.
        waiting: how many deliveries wait to be read.

    Attributes:
        connected: the broker has accepted us.
        dropped: messages of QoS 0 that were dropped because too many were waiting.
    """

    def __init__(  # noqa: PLR0913  its parts, each given by name once
        self,
        broker: Broker,
        *,
        client: str,
        topics: Sequence[str],
        deliver: Callable[[Delivery], None],
        told: Callable[[State, str], None],
        clock: Clock,
        credentials: Credentials | None = None,
        ca: str | None = None,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self.name = f"{broker.host}:{broker.port}"
        self.connected = False
        self.dropped = 0
        self._broker, self._topics = broker, tuple(topics)
        self._deliver, self._told, self._clock, self._waiting = deliver, told, clock, waiting
        self._id = client
        self._session = 0
        self._unsettled = 0
        self._delivered = 0
        self._had_session = False
        self._accepted_at, self._short = 0.0, 0
        self._lost = ""
        self._auth = False
        self._acks: deque[tuple[int, int]] = deque()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._stop = threading.Event()
        self._client = self._make(credentials, ca)
        self._thread = threading.Thread(target=self._run, name=f"mqtt {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, acknowledge what is settled within some seconds, disconnect; the session stays."""
        self._stop.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(_STOP_S + 5)
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._wake_w = -1

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def settled(self, deliveries: Sequence[Delivery]) -> None:
        """These can be acknowledged. Called from any thread."""
        self._acks.extend(delivery.token for delivery in deliveries if delivery.token is not None)
        self._wake()

    # -- the connection's thread

    def _make(self, credentials: Credentials | None, ca: str | None) -> paho.Client:
        five = self._broker.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._id,
            clean_session=None if five else False,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if credentials is not None:
            client.username_pw_set(credentials.user, credentials.password)
        if self._broker.tls:
            try:
                client.tls_set_context(ssl.create_default_context(cafile=ca))
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"broker {self.name}: cannot read the certificate {ca}: {error}") from None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_register_write = _left_to_the_loop
        return client

    def _run(self) -> None:
        backoff = Backoff(self._id)
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                self._connect()
                self._serve()
                if self._stop.is_set():
                    return
                raise (AuthError if self._auth else SourceError)(self._lost or "the connection was lost")
            except (OSError, SourceError) as error:
                self.connected = False
                self._told("raised", _reason(error, self.name))
                backoff = backoff.failed(failure_of(error), self._clock.monotonic() - began)
                log.info("broker %s: %s; again in %.1f s", self.name, error, backoff.delay_s)
                self._stop.wait(backoff.delay_s)

    def _connect(self) -> None:
        self._lost, self._auth = "", False
        if self._broker.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._broker.keep_s
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = MAX_BYTES
            self._client.connect(
                self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=False, properties=properties
            )
        else:
            self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)

    def _serve(self) -> None:
        """Until the connection ends, or `stop`."""
        connection = self._client.socket()
        if connection is None:
            return
        poll = select.poll()
        poll.register(self._wake_r, select.POLLIN)
        began, stopping = self._clock.monotonic(), 0.0
        while self._client.socket() is not None:
            now = self._clock.monotonic()
            if not self.connected and now - began > _CONNACK_S:
                self._lost = f"the broker did not answer within {_CONNACK_S:.0f} s"
                self._client.disconnect()
                return
            if self._stop.is_set():
                stopping = stopping or now
                if not self._unsettled or now - stopping > _STOP_S:
                    self._part()
                    return
            wanted = select.POLLIN if not self._stop.is_set() else 0
            poll.register(connection, wanted | (select.POLLOUT if self._client.want_write() else 0))
            held = wanted and _pending(connection)
            happened = dict(poll.poll(0 if held else 100 if stopping else 1000))
            if self._wake_r in happened:
                _empty(self._wake_r)
            self._acknowledge()
            event = happened.get(connection.fileno(), 0)
            if wanted and (event or held):
                self._read()
            elif event & (select.POLLHUP | select.POLLERR):
                return
            if self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()

    def _read(self) -> None:
        """What has come, up to a bound, so that acknowledgements go out in between."""
        for _ in range(_READS):
            before = self._delivered
            if self._client.loop_read() or self._delivered == before:
                return

    def _acknowledge(self) -> None:
        while self._acks:
            session, mid = self._acks.popleft()
            if session == self._session:
                self._unsettled -= 1
                if self.connected:
                    self._client.ack(mid, 1)

    def _part(self) -> None:
        """Send what is left to send and say goodbye; the broker keeps the session."""
        self.connected = False
        self._acknowledge()
        self._client.disconnect()
        for _ in range(100):
            if self._client.socket() is None or self._client.loop_write():
                return

    def _wake(self) -> None:
        if self._wake_w >= 0:
            try:
                os.write(self._wake_w, b"\0")
            except (BlockingIOError, OSError):
                return  # it is awake, or gone

    # -- paho's callbacks, in the same thread

    def _on_connect(
        self, client: paho.Client, _: Any, flags: paho.ConnectFlags, reason: ReasonCode, __: Any
    ) -> None:
        if reason.is_failure:
            self._auth = reason.getName() in _REFUSED
            self._lost = f"the broker refuses the connection: {reason.getName()}"
            return
        self._session += 1
        self._accepted_at = self._clock.monotonic()
        self._unsettled = 0
        self.connected = True
        for start in range(0, len(self._topics), _SUBSCRIBED_AT_ONCE):
            part = self._topics[start : start + _SUBSCRIBED_AT_ONCE]
            if self._broker.version == "5":
                only_new = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
                client.subscribe([(topic, only_new) for topic in part])
            else:
                client.subscribe([(topic, 1) for topic in part])
        if self._had_session and not flags.session_present:
            self._told(
                "note",
                f"broker {self.name} has lost our session: what it held for us is gone; let it keep its "
                "state over a restart (Mosquitto: `persistence true`)",
            )
        self._had_session = True
        self._told("cleared", f"broker {self.name} delivers")

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        self.connected = False
        if not self._lost:
            self._lost = f"the connection was lost: {reason.getName()}"
            lasted_s = self._clock.monotonic() - self._accepted_at
            self._short = self._short + 1 if lasted_s < _SHORT_S else 0
            if reason.getName() == "Session taken over" or self._short >= _TAKEN_OVER:
                self._lost += f"; does another client have our id {self._id}? Give each box its own `client`"

    def _on_subscribe(self, _: Any, __: Any, mid: int, reasons: list[ReasonCode], ___: Any) -> None:
        refused = sum(reason.is_failure for reason in reasons)
        if refused:
            self._told(
                "raised",
                f"broker {self.name} refuses {refused} of {len(reasons)} subscriptions "
                f"({reasons[0].getName()}); let {self._id} read them in the broker's access list",
            )

    def _on_message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        self._delivered += 1
        token = None
        if message.qos:
            token = self._session, message.mid
            self._unsettled += 1
        elif self._waiting() > CROWDED:
            self.dropped += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "not UTF-8"
        size = len(message.payload)
        self._deliver(
            Delivery(
                payload=bytes(message.payload) if size <= MAX_BYTES else b"",
                too_large=size if size > MAX_BYTES else 0,
                arrived_us=self._clock.wall_us(),
                origin=self,
                token=token,
                topic=topic,
                name=f"{self._id} {message.mid}".encode() if message.qos else b"",
                again=message.dup,
                retained=message.retain,
            )
        )


_REFUSED = frozenset({"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"})


def _left_to_the_loop(*_: Any) -> None:
    """With this callback paho queues what is to be sent, and our loop writes it."""


def _pending(connection: Any) -> bool:
    """TLS: something was decrypted already, of which poll knows nothing."""
    pending = getattr(connection, "pending", None)
    return bool(pending and pending())


def _empty(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        return


def _reason(error: Exception, name: str) -> str:
    """What is wrong with the connection, and the mend, without what the other side sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"broker {name}: its certificate is not trusted ({error.verify_message}); "
            "name the authority that signed it with `ca`, and the host as the certificate does"
        )
    if isinstance(error, ssl.SSLError):
        return f"broker {name}: no TLS connection ({error.reason}); is the port the one with TLS?"
    if isinstance(error, AuthError):
        return f"broker {name}: {error}; mend `credentials`"
    if isinstance(error, OSError):
        return f"broker {name} cannot be reached: {error.strerror or error}; it is tried again"
    return f"broker {name}: {error}; it is tried again"
