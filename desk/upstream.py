"""The platform above (12345 and the online platform of the prefecture): what it sends, what it is answered,
and the contract of an adapter to it.

A message has an id of its own; the same one may come any number of times, late, or before the one that it
follows. Words about or for a person are in `Order.words`, `Order.reporter` and `Reply.answer` alone; they
lie sealed here, and never in an event.

Adapters: `desk/upstreamfiles.py` (two folders), `desk/upstreamhttp.py`. What becomes of the messages:
`desk/orders.py`. For the platform's side: docs/upstream.md.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec

from events.errors import UpstreamRefused
from events.media import parse_rfc3339, rfc3339

MAX_BYTES = 256 * 1024
"""Of one message."""

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Line = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Text = Annotated[str, msgspec.Meta(max_length=20_000)]


class Reporter(msgspec.Struct, frozen=True, kw_only=True):
    """Who called, and how to reach them."""

    name: Line = ""
    phone: Line = ""
    address: Line = ""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", rename="kebab"):
    message: Id
    """Its own id, the same whenever it is sent."""
    number: Id
    """Of the order that it is about, as the platform counts them."""
    sent: str
    """RFC 3339 with a zone."""

    def __post_init__(self) -> None:
        for name in ("sent", "due", "sign-by", "occurred", "at"):
            text = getattr(self, name.replace("-", "_"), "")
            if text and not _is_time(text):
                raise ValueError(f"{name} is no time of now with a zone; write 2026-01-31T08:00:00+08:00")
        if not self.sent:
            raise ValueError("sent is missing; write when the message was sent first")

    @property
    def sent_us(self) -> int:
        """Microseconds since 1970."""
        return parse_rfc3339(self.sent)


class Order(_Message, frozen=True, kw_only=True, tag="order"):
    """Something to be done."""

    title: Line
    """In official words: nothing about a person."""
    category: Line
    """Code of what it is about."""
    code_system: Line = ""
    due: str = ""
    """When the platform wants the reply; '': it says nothing of it."""
    sign_by: str = ""
    """When it wants to know that the order has somebody."""
    area: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{6}([0-9]{3}([0-9]{3}[A-Za-z0-9-]*)?)?)?$")] = ""
    """Division code, as far as it is known there."""
    place: tuple[float, float] | None = None
    """Longitude and latitude, WGS 84."""
    occurred: str = ""
    severity: Literal["info", "minor", "major", "critical"] = "minor"
    public: bool = False
    """Whether its kind may be listed publicly."""
    words: Text = ""
    reporter: Reporter = Reporter()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.title.strip() or not self.category.strip():
            raise ValueError("title or category is empty")
        if self.place is not None and not (abs(self.place[0]) <= 180 and abs(self.place[1]) <= 90):
            raise ValueError("place is not longitude and latitude in degrees")


class Redo(_Message, frozen=True, kw_only=True, tag="redo"):
    """The reply does not do: again, by `due`."""

    reason: Reason
    due: str = ""


class DueChanged(_Message, frozen=True, kw_only=True, tag="deadline"):
    """The platform moved its deadline."""

    due: str
    reason: Line = ""


class ReturnGranted(_Message, frozen=True, kw_only=True, tag="return-granted"):
    """It takes the order back, as was asked: it is over here."""

    reason: Line = ""


class ReturnRefused(_Message, frozen=True, kw_only=True, tag="return-refused"):
    """It does not: the order stays here."""

    reason: Reason
    due: str = ""


class Withdrawn(_Message, frozen=True, kw_only=True, tag="withdrawn"):
    """The order is not wanted any more."""

    reason: Line = ""


class Verdict(_Message, frozen=True, kw_only=True, tag="verdict"):
    """What the citizen said when the platform called back."""

    solved: bool
    satisfied: bool | None = None
    reason: Line = ""


Incoming = Order | Redo | DueChanged | ReturnGranted | ReturnRefused | Withdrawn | Verdict


class Signed(_Message, frozen=True, kw_only=True, tag="signed"):
    """The order has somebody."""

    by: str
    """The organisation, or whoever signed for it."""


class ReturnAsked(_Message, frozen=True, kw_only=True, tag="return"):
    """It is not this city's, and why."""

    by: str
    reason: str
    approver: str = ""


class Reply(_Message, frozen=True, kw_only=True, tag="reply"):
    """What was done."""

    by: str
    note: str = ""
    """In official words."""
    answer: str = ""
    """For the person who called."""
    marks: tuple[str, ...] = ()
    """What holds of it: solved, unsolved, parked ..."""


Outgoing = Signed | ReturnAsked | Reply


class Received(msgspec.Struct, frozen=True):
    """A message as it came."""

    receipt: str
    """By which `Upstream.settle` knows it."""
    body: bytes


class Upstream(Protocol):
    """An adapter. Used by one thread at a time. Errors of every call:

    UpstreamAway: try again later; UpstreamError: a person has to mend something, then try again.
    """

    name: str
    """Of the platform, for people."""

    def fetch(self, limit: int) -> Sequence[Received]:
        """Messages that are not settled yet, the oldest first."""

    def settle(self, receipt: str, problem: str = "") -> None:
        """The message has been taken: it does not come again. With a `problem` it cannot be, and is put where
        its sender finds it with this text. Settling twice changes nothing."""

    def send(self, message: Outgoing) -> None:
        """Hand over a message; the same one again (same id) changes nothing there.

        Raises:
            UpstreamRefused: it will never take this one.
        """

    def close(self) -> None:
        """Release what is held."""


_incoming: msgspec.json.Decoder[Incoming] = msgspec.json.Decoder(Incoming)
_encoder = msgspec.json.Encoder(order="sorted")
_FIRST_US, _LAST_US = parse_rfc3339("2000-01-01T00:00:00Z"), parse_rfc3339("2200-01-01T00:00:00Z")
_VALUE = re.compile(r"(Invalid [a-z ]*value) '.*'", re.DOTALL)


def read(body: bytes) -> Incoming:
    """The message in these bytes.

    Raises:
        UpstreamRefused: there is none; the text says what is wrong, and shows nothing of the message.
    """
    if len(body) > MAX_BYTES:
        raise UpstreamRefused(f"the message is larger than {MAX_BYTES // 1024} KiB")
    try:
        return _incoming.decode(body)
    except msgspec.ValidationError as e:
        raise UpstreamRefused(f"not a message of docs/upstream.md: {_quiet(str(e))}") from None
    except (ValueError, RecursionError):
        raise UpstreamRefused("not a JSON document in UTF-8; write to another name, then rename") from None


def written(message: Outgoing | Incoming) -> bytes:
    """The message as canonical JSON."""
    return _encoder.encode(message)


def moment(time_us: int) -> str:
    """A time as messages carry it."""
    return rfc3339(time_us)


def _is_time(text: str) -> bool:
    try:
        return _FIRST_US <= parse_rfc3339(text) < _LAST_US
    except ValueError:
        return False


def _quiet(text: str) -> str:
    """A refusal without the value that it is about: that may be a person's word."""
    return _VALUE.sub(r"\1", text)[:200]
