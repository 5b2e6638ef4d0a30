"""Units of SenML's registry, and the conversion of what is sent in another unit of the same kind.

The data and its sources are in `units.toml`. Names are compared as they are written: `C` is a coulomb and
`F` a farad; degrees are `Cel`, and `degC` or `degF` where a sensor sends them so.
"""

from importlib.resources import files

import msgspec

Linear = tuple[float, float]
"""Scale and offset: value * scale + offset."""


class _Table(msgspec.Struct, frozen=True):
    senml: dict[str, tuple[str, ...]]
    secondary: dict[str, tuple[str, float, float]]
    between: dict[str, tuple[str, float, float]]
    other: dict[str, tuple[str, float, float]]


_TABLE = msgspec.toml.decode((files("ingest") / "units.toml").read_bytes(), type=_Table)
_REGISTERED = frozenset(_TABLE.senml["units"]) | frozenset(_TABLE.secondary) | {""}
_BASES = _TABLE.secondary | _TABLE.between | _TABLE.other


def is_registered(unit: str) -> bool:
    """Whether readings may be kept in this unit: SenML's registry has it, or it is empty (count, state)."""
    return unit in _REGISTERED


def is_known(unit: str) -> bool:
    """Whether a sensor may send it."""
    return unit in _REGISTERED or unit in _BASES


def conversion(sent: str, kept: str) -> Linear | None:
    """How a value in the unit `sent` becomes one in `kept`; None if they do not measure the same thing."""
    if sent == kept:
        return 1.0, 0.0
    if not is_known(sent) or not is_known(kept) or not sent or not kept:
        return None
    sent_base, sent_scale, sent_offset = _BASES.get(sent, (sent, 1.0, 0.0))
    kept_base, kept_scale, kept_offset = _BASES.get(kept, (kept, 1.0, 0.0))
    if sent_base != kept_base:
        return None
    return sent_scale / kept_scale, (sent_offset - kept_offset) / kept_scale


def convertible(kept: str) -> list[str]:
    """The units that can be sent where `kept` is asked for."""
    return sorted(unit for unit in _REGISTERED | _BASES.keys() if conversion(unit, kept) is not None)
