"""SenML in JSON (RFC 8428): a pack of records, resolved.

Resolving joins each record with the base fields before it, so that it says by itself what was measured, when
and in which unit (section 4.6). Times below 2**28 are relative to now (section 4.5.3).
"""

from typing import Any

import msgspec

from events.errors import LinliError

MEDIA_TYPE = "application/senml+json"
_VERSION = 10
_RELATIVE_BELOW = 1 << 28
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _NAME_START | frozenset("-:./_")


class SenmlError(LinliError):
    """Not a SenML pack. `field` is where, as a JSON pointer."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class Record(msgspec.Struct, frozen=True):
    """One resolved record."""

    name: str
    """Base name and name, joined."""
    value: float | bool | str | None
    """v, vb or vs; None for a record with a sum alone."""
    unit: str
    """Empty if none was given."""
    time_us: int
    """Microseconds since 1970; `now_us` where the pack gives none."""
    timed: bool
    """The pack gave the time."""
    total: float | None
    """s: the value's integral over time."""


class _Wire(msgspec.Struct, forbid_unknown_fields=False):
    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    bs: float | None = None
    bver: int | None = None
    n: str = ""
    u: str | None = None
    v: float | None = None
    vs: str | None = None
    vb: bool | None = None
    vd: str | None = None
    s: float | None = None
    t: float | None = None
    ut: float | None = None


class _Base:
    """The base fields that hold for the records that follow."""

    __slots__ = ("name", "time", "total", "unit", "value")

    def __init__(self) -> None:
        self.name = ""
        self.time: float | None = None
        self.unit: str | None = None
        self.value = 0.0
        self.total = 0.0

    def take(self, wire: _Wire) -> None:
        if wire.bn is not None:
            self.name = wire.bn
        if wire.bt is not None:
            self.time = wire.bt
        if wire.bu is not None:
            self.unit = wire.bu
        if wire.bv is not None:
            self.value = wire.bv
        if wire.bs is not None:
            self.total = wire.bs


_packs = msgspec.json.Decoder(list[_Wire])


def resolve(raw: bytes, now_us: int) -> list[Record]:
    """The records of a pack, resolved. Records that hold base fields alone give none; data values (vd) are
    passed over.

    Args:
        now_us: what relative times count from, microseconds since 1970.

    Raises:
        SenmlError: malformed, of a later version, or with a field that has to be understood and is not.
    """
    try:
        pack = _packs.decode(raw)
        if b'_"' in raw:
            _check_fields(raw)  # reads what the first reading passed over, which may be malformed, too
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SenmlError(*_where(str(error))) from None
    if not pack:
        raise SenmlError("the pack is empty; a SenML pack has at least one record")
    base = _Base()
    found = []
    for n, wire in enumerate(pack):
        if wire.bver is not None and wire.bver > _VERSION:
            raise SenmlError(f"SenML version {wire.bver} is newer than {_VERSION}", f"/{n}/bver")
        base.take(wire)
        record = _record(wire, base, now_us, n)
        if record is not None:
            found.append(record)
    return found


def _record(wire: _Wire, base: _Base, now_us: int, n: int) -> Record | None:
    given = (wire.v is not None) + (wire.vs is not None) + (wire.vb is not None) + (wire.vd is not None)
    if given > 1:
        raise SenmlError("a record has one value: v, vs, vb or vd", f"/{n}")
    name = base.name + wire.n
    if given == 0 and wire.s is None:
        return None  # base fields for the records that follow
    if not name or name[0] not in _NAME_START or not _NAME.issuperset(name):
        raise SenmlError(
            f"the name {name[:40]!r} is not a letter or digit followed by letters, digits and - : . / _",
            f"/{n}/n",
        )
    if wire.vd is not None:
        return None
    value: float | bool | str | None = wire.vs if wire.vs is not None else wire.vb
    if wire.v is not None:
        value = wire.v + base.value
    total = wire.s + base.total if wire.s is not None else None
    unit = wire.u if wire.u is not None else base.unit or ""
    if wire.t is None and base.time is None:
        return Record(name, value, unit, now_us, False, total)
    seconds = (base.time or 0.0) + (wire.t or 0.0)
    if -1e12 < seconds < 1e12:
        time_us = round(seconds * 1e6)
    else:
        raise SenmlError("the time lies thousands of years away", f"/{n}/t")
    return Record(name, value, unit, time_us + now_us if seconds < _RELATIVE_BELOW else time_us, True, total)


def _check_fields(raw: bytes) -> None:
    """A label that ends in `_` has to be understood (section 4.4); we know none."""
    records: list[dict[str, Any]] = msgspec.json.decode(raw)
    for n, record in enumerate(records):
        for label in record:
            if label.endswith("_"):
                raise SenmlError(f"the field {label[:40]!r} has to be understood and is not", f"/{n}/{label}")


def _where(text: str) -> tuple[str, str]:
    """msgspec's message, and its place as a JSON pointer."""
    message, _, place = text.partition(" - at `$")
    pointer = place.rstrip("`").replace("[...]", "").replace("[", "/").replace("]", "").replace(".", "/")
    return message, pointer if place else ""
