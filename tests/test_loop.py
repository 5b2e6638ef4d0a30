"""The frame loop: states, wake-ups, fallbacks, and that a restored run goes on bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import codec
from events.events import AlertRaised, Crossing, ViewChanged
from events.media import TICKS, seconds, ticks
from events.views import View
from ingest.gate import Luma
from ingest.packets import Packet, StreamInfo
from ingest.views import PtzPosition
from ingest.watch import Change, PictureWatch
from pipeline.contract import ALLOWED, LoopSettings, Mode, State
from pipeline.lane import Arrived
from pipeline.policy import AsSeen, Unlimited
from storage import trace
from tests.clipmaker import packets_of
from tests.loopmaker import (
    QUICK,
    RULES,
    Kept,
    Scripted,
    Sees,
    Where,
    cut,
    draw,
    make_lane,
    run_from,
    run_whole,
    visits,
)

STEP = TICKS // 10


@dataclass(frozen=True)
class Scene:
    where: Where
    info: StreamInfo
    packets: list[Packet] = field(repr=False)

    @property
    def keyframes(self) -> list[int]:
        return [p.pts for p in self.packets if p.keyframe]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Empty, visited, stood in (long enough to doze), left, visited again; coded in three ways."""
    folder = tmp_path_factory.mktemp("scenes")
    where = visits((33, 60), (75, 165), (190, 212), stand=(95, 150))
    made = {}
    for name, codec_name, options in (
        ("h264", "libx264", {}),
        ("bframes", "libx264", {"bf": "2"}),
        ("hevc", "libx265", {}),
    ):
        clip = draw(folder / f"{name}.mp4", 25, where, codec_name, **options)
        made[name] = Scene(where, *packets_of(clip))
    return made


def drawn(folder: Path, name: str, length: float, where: Where, **options: str) -> Scene:
    return Scene(where, *packets_of(draw(folder / f"{name}.mp4", length, where, **options)))


def whole(scene: Scene, how: LoopSettings = QUICK) -> tuple[SimpleNamespace, Kept]:
    """A run with nothing shed; the loop and what it said."""
    lane, kept = make_lane(Unlimited(), how)
    detector = Sees(scene.where)
    run_whole(lane, detector, scene.info, cut(scene.info, scene.packets, [0]))
    return SimpleNamespace(loop=lane.loop, looks=detector.looks), kept


def gates(kept: Kept) -> list[tuple[str, str]]:
    return [(line.state, line.why) for line in kept.lines if isinstance(line, trace.Gate)]


def crossings(kept: Kept) -> list[str]:
    return [e.data.direction for e in kept.got if isinstance(e.data, Crossing)]


# --- what it does


def test_it_sleeps_wakes_dozes_and_counts(scenes: dict[str, Scene]) -> None:
    ran, kept = whole(scenes["h264"])
    states = gates(kept)
    assert states[0] == ("asleep", "quiet")
    assert states[1] == ("awake", "keyframe")
    assert ("dozing", "quiet") in states
    assert states[-1][0] == "asleep"
    assert len(crossings(kept)) == 3
    assert ran.loop.tally.wakes >= 2
    assert ran.loop.tally.decoded < len(scenes["h264"].packets)


@pytest.mark.parametrize("name", ["bframes", "hevc"])
def test_other_ways_of_coding_give_the_same_count(scenes: dict[str, Scene], name: str) -> None:
    _, plain = whole(scenes["h264"])
    _, other = whole(scenes[name])
    assert crossings(other) == crossings(plain)
    assert ("dozing", "quiet") in gates(other)


def test_each_keyframe_is_watched_once(scenes: dict[str, Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake-up decodes again what was seen asleep: watched twice, it would be a loop of old pictures."""
    seen: list[int] = []
    watch = PictureWatch.keyframe

    def kept(self: PictureWatch, pts: int, picture: Luma) -> list[Change]:
        seen.append(pts)
        return watch(self, pts, picture)

    monkeypatch.setattr(PictureWatch, "keyframe", kept)
    ran, _ = whole(scenes["h264"])
    assert ran.loop.tally.wakes >= 2
    assert seen == scenes["h264"].keyframes


def test_a_visit_is_seen_from_its_beginning(scenes: dict[str, Scene]) -> None:
    """It woke at the keyframe at 4 s; the person came at 3.3 s, into a group that was held."""
    ran, kept = whole(scenes["h264"])
    woke = next(line.pts for line in kept.lines if isinstance(line, trace.Gate) and line.state == "awake")
    assert woke == 4 * TICKS
    first = next(pts for pts in ran.looks if pts > 2 * TICKS)
    assert first <= 3.5 * TICKS


def test_full_mode_decodes_everything_and_never_sleeps(scenes: dict[str, Scene]) -> None:
    scene = scenes["h264"]
    ran, kept = whole(scene, msgspec.structs.replace(QUICK, mode="full"))
    assert ran.loop.tally.decoded == len(scene.packets)
    assert not gates(kept)
    assert ran.loop.state is State.AWAKE


def test_looks_keep_their_rate_and_only_where_something_is(scenes: dict[str, Scene]) -> None:
    ran, _ = whole(scenes["h264"], msgspec.structs.replace(QUICK, mode="full"))
    steps = [b - a for a, b in zip(ran.looks, ran.looks[1:], strict=False)]
    assert min(steps) == TICKS / QUICK.fps
    assert not [pts for pts in ran.looks if pts < 2.5 * TICKS]  # nobody is there


def test_dozing_looks_at_keyframes_alone(scenes: dict[str, Scene]) -> None:
    ran, kept = whole(scenes["h264"])
    lines = [line for line in kept.lines if isinstance(line, trace.Gate)]
    doze = next(i for i, line in enumerate(lines) if line.state == "dozing")
    during = [pts for pts in ran.looks if lines[doze].pts < pts < lines[doze + 1].pts - TICKS]
    assert during
    assert set(during) <= set(scenes["h264"].keyframes)


def test_every_change_of_state_is_one_of_the_table(scenes: dict[str, Scene]) -> None:
    _, kept = whole(scenes["h264"])
    before = State.AWAKE
    for state, _why in gates(kept):
        assert State(state) in ALLOWED[before]
        before = State(state)


def test_a_long_gop_is_decoded_fully_and_it_says_so(tmp_path: Path) -> None:
    scene = drawn(tmp_path, "long", 12, visits((60, 90)), g="40")
    ran, kept = whole(scene)
    said = [n for n in kept.said if n.what == "decode-mode"]
    assert [n.state for n in said] == ["raised"]
    assert "4.0 s apart" in said[0].message
    assert "GOP to 1-2 s" in said[0].message
    assert ran.loop.mode == "full"
    assert ran.loop.tally.decoded >= len(scene.packets) - 41  # asleep at most until the second keyframe
    assert len(crossings(kept)) == 1


def test_intra_refresh_is_decoded_fully_and_it_says_so(tmp_path: Path) -> None:
    where = visits((60, 90))
    scene = drawn(tmp_path, "refresh", 12, where, **{"intra-refresh": "1"})
    assert len(scene.keyframes) > 3
    ran, kept = whole(scene)
    assert ran.loop.mode == "full"
    said = [n for n in kept.said if n.what == "decode-mode"]
    assert [n.state for n in said] == ["raised"]
    assert "intra refresh" in said[0].message
    assert len(crossings(kept)) == 1


def test_an_open_gop_loses_nothing(tmp_path: Path) -> None:
    """Its keyframes can be decoded alone, or it is decoded fully: either way the visit is counted."""
    scene = drawn(tmp_path, "open", 12, visits((60, 90)), bf="2", **{"x264-params": "open-gop=1"})
    _, kept = whole(scene)
    assert len(crossings(kept)) == 1


def test_too_many_held_bytes_wake_it(scenes: dict[str, Scene]) -> None:
    _, kept = whole(scenes["h264"], msgspec.structs.replace(QUICK, held_limit=20_000))
    assert "held" in {why for _, why in gates(kept)}


def test_an_end_while_asleep_or_awake_gives_all_events(scenes: dict[str, Scene]) -> None:
    """An epoch that ends in the middle of a visit closes its alert and its interval."""
    scene = scenes["bframes"]
    short = Scene(scene.where, scene.info, scene.packets[:53])
    _, kept = whole(short)
    types = [e.type for e in kept.got]
    assert types.count("linli.alert.raised.v1") == types.count("linli.alert.cleared.v1") == 1
    assert types[-1] == "linli.count.interval.v1"
    assert kept.last is not None
    assert kept.last["last_pts"] == max(p.pts for p in short.packets)  # what the decoder held came out


# --- what is asked of it


def test_a_wanted_mode_begins_at_a_keyframe(scenes: dict[str, Scene]) -> None:
    at = scenes["h264"].keyframes[6]
    lane, kept = make_lane(Scripted([], set(), {at: "full"}))
    run_whole(lane, Sees(scenes["h264"].where), scenes["h264"].info, cut_all(scenes["h264"]))
    modes = [line for line in kept.lines if isinstance(line, trace.Mode)]
    assert modes == [trace.Mode(pts=at, mode="full")]
    assert lane.loop.blind_s == pytest.approx(1 / QUICK.fps)


def cut_all(scene: Scene) -> list[Arrived]:
    return cut(scene.info, scene.packets, [0])


def test_skipped_packets_make_no_events_and_are_told(scenes: dict[str, Scene]) -> None:
    scene = scenes["h264"]
    span = ticks(3.1), ticks(6.0)
    lane, kept = make_lane(Scripted([span], set()))
    detector = Sees(scene.where)
    run_whole(lane, detector, scene.info, cut(scene.info, scene.packets, [0]))
    shed = [line for line in kept.lines if isinstance(line, trace.Shed)]
    assert shed == [trace.Shed(from_pts=ticks(3.1), to_pts=6 * TICKS, why="packets")]
    assert not [pts for pts in detector.looks if span[0] <= pts < span[1]]
    assert lane.loop.tally.skipped == 29
    assert lane.loop.mode == "lazy"  # keyframes that were passed over do not make the GOP a long one
    observed = sum(e.data.observed_s for e in kept.got if hasattr(e.data, "observed_s"))
    # The epoch's two rules with intervals are one: a line; three seconds were not observed.
    total = seconds(scene.packets[-1].pts)
    assert observed == pytest.approx(total - 2.9, abs=0.2)


def test_a_refused_look_is_told_and_changes_no_track(scenes: dict[str, Scene]) -> None:
    scene = scenes["h264"]
    refused = {ticks(4.0), ticks(4.2)}
    lane, kept = make_lane(Scripted([], refused))
    run_whole(lane, Sees(scene.where), scene.info, cut(scene.info, scene.packets, [0]))
    shed = [line for line in kept.lines if isinstance(line, trace.Shed)]
    assert {line.from_pts for line in shed} == refused
    assert all(line.to_pts == line.from_pts for line in shed)
    assert lane.loop.tally.refused == 2
    assert len(crossings(kept)) == 3


# --- a restored run

modes = st.sampled_from(["lazy", "full"])


@st.composite
def courses(draw_: st.DrawFn) -> tuple[str, list[int], list[tuple[int, int]], set[int], dict[int, Mode]]:
    """A way of coding, borders of segments, spans to skip, looks to refuse, modes by keyframe."""
    name = draw_(st.sampled_from(["h264", "bframes", "hevc"]))
    borders = draw_(st.lists(st.integers(1, 24), min_size=1, max_size=6, unique=True))
    starts = draw_(st.lists(st.integers(0, 240), max_size=3))
    skips = [(n * STEP, n * STEP + draw_(st.integers(1, 40)) * STEP) for n in starts]
    refused = {n * STEP for n in draw_(st.sets(st.integers(0, 250), max_size=60))}
    wanted = {n * TICKS: draw_(modes) for n in draw_(st.lists(st.integers(1, 24), max_size=4))}
    return name, borders, skips, refused, wanted


def told(kept: Kept) -> tuple[list[bytes], list[bytes]]:
    return [codec.encode(e) for e in kept.got], [msgspec.json.encode(line) for line in kept.lines]


@settings(max_examples=25, deadline=None)
@given(course=courses())
def test_a_run_restored_from_any_snapshot_goes_on_the_same(
    scenes: dict[str, Scene],
    course: tuple[str, list[int], list[tuple[int, int]], set[int], dict[int, Mode]],
) -> None:
    """Events, trace and final state: byte for byte those of the run that was never cut off."""
    name, borders, skips, refused, wanted = course
    scene = scenes[name]
    arrived = cut(scene.info, scene.packets, borders)
    lane, live = make_lane(Scripted(skips, refused, wanted))
    run_whole(lane, Sees(scene.where), scene.info, arrived)
    events, lines = told(live)
    assert len(live.snapshots) == len(borders) + 1
    for blob, pts, n_events, n_lines in live.snapshots.values():
        lane, again = make_lane(AsSeen(live.lines))
        run_from(lane, Sees(scene.where), scene.info, arrived, (blob, pts))
        assert told(again) == (events[n_events:], lines[n_lines:])
        assert again.last == live.last


@settings(max_examples=10, deadline=None)
@given(course=courses())
def test_a_replay_from_the_beginning_is_the_same(
    scenes: dict[str, Scene],
    course: tuple[str, list[int], list[tuple[int, int]], set[int], dict[int, Mode]],
) -> None:
    name, borders, skips, refused, wanted = course
    scene = scenes[name]
    arrived = cut(scene.info, scene.packets, borders)
    lane, live = make_lane(Scripted(skips, refused, wanted))
    run_whole(lane, Sees(scene.where), scene.info, arrived)
    lane, again = make_lane(AsSeen(live.lines))
    run_whole(lane, Sees(scene.where), scene.info, arrived)
    assert told(again) == told(live)
    assert again.last == live.last


class Turns:
    """Views that change at given pictures, whatever they show: the loop's part of a dome."""

    def __init__(self, turns: dict[int, View]) -> None:
        self._turns = turns
        self.begin()

    def begin(self) -> None:
        self.settled, self.last = "", -1

    def see(self, pts: int, picture: Luma) -> View | None:
        assert pts > self.last, "pictures are shown in order, each once"
        due = [view for at, view in self._turns.items() if self.last < at <= pts]
        self.last = pts
        if not due:
            return None
        self.settled = due[-1].preset
        return msgspec.structs.replace(due[-1], pts=pts)

    def told(self, position: PtzPosition) -> None:
        self.settled = "" if position.moving else self.settled

    def snapshot(self) -> dict[str, Any]:
        return {"settled": self.settled, "last": self.last}

    def restore(self, state: dict[str, Any]) -> None:
        self.settled, self.last = state["settled"], state["last"]


def tour(*turns: tuple[float, str]) -> Turns:
    """At so many seconds: the preset, `moving` or `unknown`."""
    views = {}
    for at, to in turns:
        known = to not in ("moving", "unknown")
        state = "settled" if known else to
        views[round(at * TICKS)] = msgspec.convert(
            {"pts": 0, "state": state, "preset": to if known else ""}, View
        )
    return Turns(views)


AT_GATE = tuple(msgspec.structs.replace(rule, preset="gate") for rule in RULES)


@pytest.mark.parametrize("mode", ["lazy", "full"])
def test_a_dome_is_looked_at_only_while_it_is_settled(scenes: dict[str, Scene], mode: Mode) -> None:
    scene = next(iter(scenes.values()))
    arrived = cut(scene.info, scene.packets, [])
    settings = msgspec.structs.replace(QUICK, mode=mode)
    turns = tour((0.5, "gate"), (8.0, "moving"), (11.0, "unknown"), (14.0, "gate"))
    lane, kept = make_lane(Scripted([], set()), settings, AT_GATE, views=turns)
    sees = Sees(scene.where)
    run_whole(lane, sees, scene.info, arrived)
    away = [pts for pts in sees.looks if pts < 0.5 * TICKS or 8.0 * TICKS <= pts < 14.0 * TICKS]
    assert sees.looks
    assert away == []
    assert [e.data.state for e in kept.got if isinstance(e.data, ViewChanged)] == [
        "settled",
        "moving",
        "unknown",
        "settled",
    ]
    hidden = [line for line in kept.lines if isinstance(line, trace.Shed) and line.why == "view"]
    assert sum(line.to_pts - line.from_pts for line in hidden if line.to_pts >= 8 * TICKS) >= 5 * TICKS
    assert not [e for e in kept.got if isinstance(e.data, AlertRaised | Crossing) and 8 <= e.pts / TICKS < 14]


@settings(max_examples=15, deadline=None)
@given(
    course=courses(),
    turns=st.lists(
        st.tuples(st.integers(0, 240), st.sampled_from(["gate", "moving", "unknown"])),
        max_size=6,
        unique_by=lambda turn: turn[0],
    ),
    told_at=st.lists(st.integers(0, 200), max_size=4, unique=True),
)
def test_a_dome_resumed_and_replayed_is_the_same(
    scenes: dict[str, Scene],
    course: tuple[str, list[int], list[tuple[int, int]], set[int], dict[int, Mode]],
    turns: list[tuple[int, str]],
    told_at: list[int],
) -> None:
    name, borders, skips, refused, wanted = course
    scene = scenes[name]
    arrived = cut(scene.info, scene.packets, borders)
    stops = [(at / 10, to) for at, to in sorted(turns)]
    pts_of = [item.packet.pts for item in arrived]
    outside: dict[int, Sequence[trace.Told]] = {
        pts_of[n % len(pts_of)]: (
            trace.Position(pts=pts_of[n % len(pts_of)], pan=0.1, tilt=0.0, zoom=0.0, moving=n % 2 == 0),
            trace.Verdict(pts=pts_of[n % len(pts_of)], alert="none", verdict="true"),
        )
        for n in told_at
    }
    lane, live = make_lane(Scripted(skips, refused, wanted, outside), rules=AT_GATE, views=tour(*stops))
    run_whole(lane, Sees(scene.where), scene.info, arrived)
    events, lines = told(live)
    for blob, pts, n_events, n_lines in live.snapshots.values():
        lane, again = make_lane(AsSeen(live.lines), rules=AT_GATE, views=tour(*stops))
        run_from(lane, Sees(scene.where), scene.info, arrived, (blob, pts))
        assert told(again) == (events[n_events:], lines[n_lines:])
        assert again.last == live.last


@pytest.mark.parametrize("options", [{"g": "40"}, {"intra-refresh": "1"}])
def test_what_is_decoded_fully_by_force_replays_the_same(tmp_path: Path, options: dict[str, str]) -> None:
    """Why it was forced is in the snapshot; the replay must not take it for a wish."""
    scene = drawn(tmp_path, "forced", 14, visits((60, 90)), **options)
    arrived = cut(scene.info, scene.packets, [1, 2, 5])
    lane, live = make_lane(Scripted([], set()))
    run_whole(lane, Sees(scene.where), scene.info, arrived)
    events, lines = told(live)
    for blob, pts, n_events, n_lines in live.snapshots.values():
        lane, again = make_lane(AsSeen(live.lines))
        run_from(lane, Sees(scene.where), scene.info, arrived, (blob, pts))
        assert told(again) == (events[n_events:], lines[n_lines:])
        assert again.last == live.last
