"""Two boxes that read one camera, drawn by hypothesis: what each says, by family, and any order of it."""

import random
from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st

from events.events import (
    AlertCleared,
    AlertRaised,
    AlertUpdated,
    AnyPayload,
    Crossing,
    Event,
    FaceCaptured,
    FaceDeleted,
    Interval,
    ViewChanged,
)
from tests.contracts.examples import EPOCH, claim, event

KINDS = (
    ("in", "out", "interval"),
    ("raise", "update", "clear"),
    ("view",),
    ("face", "gone"),
    ("in", "out", "interval", "raise", "update", "clear", "view", "face", "gone"),
)
"""Mostly of one family: its events meet more often then."""

Queue = list[Event]
"""What one box says in one family, in order."""


def at(data: AnyPayload, epoch: int, sequence: int, second: int) -> Event:
    """Said by the stream epoch, of so many seconds after EPOCH."""
    return msgspec.structs.replace(event(data, sequence, epoch=epoch), time_us=EPOCH + second * 1_000_000)


@st.composite
def handovers(draw: st.DrawFn) -> tuple[list[Queue], list[Event]]:
    """The queues of two boxes, and all of it sorted by time."""
    queues: dict[tuple[str, str], Queue] = {}
    count = draw(st.integers(2, 4))
    kinds = draw(st.sampled_from(KINDS))
    for n in range(count):
        box = "ab"[n % 2] if draw(st.booleans()) else draw(st.sampled_from("ab"))
        start = draw(st.integers(0, 8)) + 5 * n
        epoch = EPOCH + start * 1_000_000 + n
        if draw(st.integers(0, 9)):  # now and then one that never claimed
            token = draw(st.integers(0, 3)) + 3 * n
            queues.setdefault((box, "claim"), []).append(
                claim(box, epoch, 10 * token + n, EPOCH + start * 1_000_000)
            )
        for e in _said(draw, kinds, epoch, (start, f"{box}{n}")):
            queues.setdefault((box, e.family), []).append(e)
    every = [e for queue in queues.values() for e in queue]
    return list(queues.values()), sorted(every, key=lambda e: (e.time_us, e.family == "claim"))


def _said(draw: st.DrawFn, kinds: Sequence[str], epoch: int, begin: tuple[int, str]) -> list[Event]:
    start, name = begin
    seconds = sorted(draw(st.lists(st.integers(start, start + 12), min_size=2, max_size=9)))
    found: list[Event] = []
    sequences: dict[str, int] = {}
    alerts, faces = 0, 0
    for second in seconds:
        kind = draw(st.sampled_from(kinds))
        data: AnyPayload
        if kind in ("in", "out"):
            data = Crossing(rule="door", direction=kind, label="person", track=1, at=(0.5, 0.5))  # type: ignore[arg-type]
        elif kind == "interval":
            data = Interval(rule="door", start_us=0, end_us=60, counts={"in.person": 1}, observed_s=60.0)
        elif kind == "raise":
            alerts += 1
            data = AlertRaised(
                alert=f"{name}-{alerts}", rule="r", kind="crowd", severity="info", label="", since_us=second
            )
        elif kind == "update":
            data = AlertUpdated(alert=f"{name}-{alerts}", rule="r", detail={"count": float(second)})
        elif kind == "clear":
            data = AlertCleared(alert=f"{name}-{alerts}", rule="r", reason="left", until_us=second)
        elif kind == "view":
            data = ViewChanged(state="settled", preset=f"{name}{second}")
        elif kind == "face":
            faces += 1
            data = FaceCaptured(
                capture=f"{name}-{faces}",
                track=1,
                since_us=1,
                until_us=3,
                at_us=2,
                box=(0.0, 0.0, 1.0, 1.0),
                quality=0.5,
                picture="p",
                place=(1.0, 2.0),
            )
        else:
            what = draw(st.sampled_from(["sealed", "all"]))
            data = FaceDeleted(capture=f"{name}-{faces}", what=what, reason="asked")  # type: ignore[arg-type]
        family = type(data).__struct_config__.tag.split(".")[1]  # type: ignore[union-attr]
        found.append(at(data, epoch, sequences.get(family, 0), second))
        sequences[family] = sequences.get(family, 0) + 1
    return found


def merged(queues: Sequence[Queue], chance: random.Random) -> list[Event]:
    """Some order in which each queue's own is kept."""
    left = [list(queue) for queue in queues]
    found = []
    while any(left):
        found.append(chance.choice([queue for queue in left if queue]).pop(0))
    return found
