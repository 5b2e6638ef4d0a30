"""What an alert about something unusual says: figures that a person can check, and a sentence of them.

The figures are enough to say it in any language:

    attribute   speed, direction, size, dwell, place, class or hour
    value       what was seen, in `unit`
    unit        bodies/s (of its own height) or m/s; deg (clockwise from straight up in the picture); % of the
                picture's height; s; % of all visits (place) or of the visits here (class); h (time of day)
    usual_low, usual_high   5th and 95th percentile here; of deg and h the arc from low clockwise to high
    percentile  so many percent of the passes of the days learned were less unusual in this
    days        watched days learned
    label       what the detector calls it
    group       what it was compared with: car, truck and bus are one group
    usual       class only: the most frequent group here
"""

from typing import NamedTuple

from events.density import Density
from events.doings import SECTORS, SIZE, SPEED, STAY, Attribute, Doing

_WAYS = ("up", "up and right", "right", "down and right", "down", "down and left", "left", "up and left")


class History(NamedTuple):
    """How rare it was, in what time."""

    percentile: float
    days: float
    unit: str
    """Of speeds."""


def detail(
    attribute: Attribute, doing: Doing, density: Density, history: History, label: str
) -> dict[str, float | str]:
    """The figures of an alert."""
    value, low, high, unit = _figures(attribute, doing, density, history.unit)
    percentile = int(history.percentile * 10) / 10 if history.percentile < 99.9 else 99.9
    said: dict[str, float | str] = {
        "attribute": attribute,
        "value": _short(value),
        "unit": unit,
        "usual_low": _short(low),
        "usual_high": _short(high),
        "percentile": percentile,
        "days": round(history.days, 1),
        "label": label,
        "group": doing.group,
    }
    if attribute == "class":
        shares = density.shares(doing)
        said["usual"] = max(sorted(shares), key=lambda group: shares[group])
    said["why"] = f"{_sentence(attribute, said)}; {percentile:g}th percentile of {said['days']:g} days"
    return said


def _figures(
    attribute: Attribute, doing: Doing, density: Density, unit: str
) -> tuple[float, float, float, str]:
    """Value, 5th and 95th percentile, and unit."""
    if attribute == "speed":
        return doing.speed or 0.0, *density.usual(SPEED, doing), unit
    if attribute == "size":
        low, high = density.usual(SIZE, doing)
        return 100 * (doing.size or 0.0), 100 * low, 100 * high, "%"
    if attribute == "dwell":
        return doing.stay_s, *density.usual(STAY, doing), "s"
    if attribute == "direction":
        low, high = _arc(density.headings(doing))
        half = 180 / SECTORS
        return doing.heading or 0.0, (2 * low - 1) * half % 360, (2 * high + 1) * half % 360, "deg"
    if attribute == "hour":
        low, high = _arc([rate or 0.0 for rate in density.rates(doing.group)])
        return doing.hour, low, (high + 1) % 24, "h"
    if attribute == "place":
        here, shares = density.visited(doing.x, doing.y)
        return round(here, 2), *_spread(shares), "%"
    kinds = {group: round(100 * share, 2) for group, share in density.shares(doing).items()}
    return kinds[doing.group], *_spread(list(kinds.values())), "%"


def _sentence(attribute: Attribute, said: dict[str, float | str]) -> str:
    a = f"a {said['label']}"
    value, low, high, unit = (said[key] for key in ("value", "usual_low", "usual_high", "unit"))
    if attribute == "speed":
        return f"{a} at {value:g} {unit} where {low:g} to {high:g} {unit} is usual"
    if attribute == "direction":
        way = _WAYS[round(float(value) * 8 / 360) % 8]
        return f"{a} going {way} in the picture ({value:g}°) where {low:g}° to {high:g}° is usual"
    if attribute == "size":
        return f"{a} {value:g} % of the picture high where {low:g} to {high:g} % is usual"
    if attribute == "dwell":
        return f"{a} that stays for {value:g} s where {low:g} to {high:g} s is usual"
    if attribute == "place":
        return f"{a} where {value:g} % of all visits are"
    if attribute == "class":
        return f"{a} where {value:g} % are of its kind and {said['usual']} is usual"
    clock = f"{int(float(value)):02}:{int(float(value) % 1 * 60):02}"
    return f"{a} at {clock} where {low:g} to {high:g} h is usual"


def _short(value: float) -> float:
    """Three digits are enough to check it."""
    return float(f"{value:.3g}") if abs(value) < 100 else float(round(value))


def _arc(shares: list[float]) -> tuple[float, float]:
    """Middles of the first and last bin of the shortest arc that holds nine tenths."""
    n, wanted = len(shares), 0.9 * sum(shares)
    best = (n, 0)
    for start in range(n):
        held = 0.0
        for length in range(1, n + 1):
            held += shares[(start + length - 1) % n]
            if held >= wanted:
                best = min(best, (length, start))
                break
    length, start = best
    return float(start), float((start + length - 1) % n)


def _spread(shares: list[float]) -> tuple[float, float]:
    """5th and 95th percentile of a share, each counted as often as it says."""
    ordered = sorted(shares)
    total = sum(ordered)
    found = []
    for wanted in (0.05 * total, 0.95 * total):
        held = 0.0
        for share in ordered:
            held += share
            if held >= wanted:
                break
        found.append(share)
    return found[0], found[1]
