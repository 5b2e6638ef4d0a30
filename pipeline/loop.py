"""The frame loop of one camera: packets in, events out. No I/O, no clock, no threads.

`feed` is a generator: it yields a `Look` whenever a picture is worth inference and is sent the detections
(or None, if the driver has to shed the look). Live, replay and resume drive the same loop; what they decide
for it (looks refused, packets skipped, decoding mode) is in the trace, all else follows from the packets.

    asleep  only keyframes are decoded and compared (`ingest/gate.py`); packets since the last keyframe held
    awake   everything is decoded, about `fps` pictures a second are looked at
    dozing  something is tracked that does not move: keyframes only, each is looked at

A dome is analysed only while it is settled at a preset (`ingest/views.py`): what it sees on the way there is
recorded, not looked at. What comes of a look is `pipeline/analysis.py`'s.

A segment of footage begins where the decoder is empty, and a snapshot taken after the segment's first packet
lets any later run continue from there bit for bit (`docs/design.md`, Time, identity, determinism).

The file is longer than most here: the states share one decoder, and parts of it would tell half a story each.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import av

from detectors import crops
from detectors.detections import Crop, Detections, Tracker
from detectors.manifest import Input
from events.engine import Engine
from events.errors import IllegalTransition
from events.events import Event
from events.media import Anchor, seconds, ticks
from ingest.decode import LazyDecoder
from ingest.gate import Gate, Luma, luma
from ingest.packets import Packet, StreamInfo
from ingest.views import PtzPosition, Views
from ingest.watch import PictureWatch
from pipeline.analysis import Analysis, Faces
from pipeline.contract import ALLOWED, Look, LoopSettings, Mode, Note, Output, State
from pipeline.meter import Meter
from storage import trace

ARRIVED_S = 1.0
"""So long after a dome has settled every picture is looked at: who stands there does not move."""


class CameraLoop:
    """One camera's way from packets to events. `begin` or `restore` first, then `feed`, at the end `end`."""

    def __init__(  # noqa: PLR0913 - the parts of one camera
        self,
        settings: LoopSettings,
        engine: Engine,
        tracker: Tracker,
        meter: Meter,
        look_closer: Input | None = None,
        make_decoder: Callable[[StreamInfo], LazyDecoder] = LazyDecoder,
        views: Views | None = None,
        faces: Faces | None = None,
    ) -> None:
        """`look_closer`: the model's input, to look only at where something moves or is tracked; None: at
        whole pictures. `views`: of a dome. `faces`: of a face camera."""
        self._settings = settings
        self._analysis = Analysis(engine, tracker, meter, faces)
        self._meter = meter
        self._look_closer = look_closer
        self._make_decoder = make_decoder
        self._views = views
        self._watch = PictureWatch()
        self._step = ticks(1 / settings.fps)
        self.tally = self._analysis.tally
        self.state = State.AWAKE
        self.snapshot_due = False
        self._mode: Mode = settings.mode
        self._forced = ""
        self._due = 0
        self._held_bytes = 0

    def remember(self, state: dict[str, Any]) -> None:
        """Take over from an earlier snapshot what is known beyond one epoch: the rules' memory, the scene."""
        watch = PictureWatch()
        watch.restore(state["watch"])
        self._analysis.remember(state)
        self._watch = watch

    def abandon(self) -> list[Event]:
        """The epoch that runs gets no packet more: end it where it stands; its events that were not taken."""
        return self._analysis.abandon()

    @property
    def running(self) -> tuple[int, int] | None:
        """The epoch that the rules are in and its media time; None between epochs."""
        return self._analysis.running

    # --- an epoch's beginning and end

    def begin(self, epoch: int, info: StreamInfo, anchor: Anchor) -> None:
        """A stream epoch begins. The camera starts awake, to see what is there."""
        self._open(info)
        self.epoch = epoch
        self._gate = Gate()
        self._watch.begin()
        if self._views is not None:
            self._views.begin()
        self.state = State.AWAKE
        self._mode = self._settings.mode
        self._forced = ""
        self._wanted: Mode | None = None
        self._last_pts = -1
        self._due = 0
        self._moved_pts = 0
        self._look_until = 0
        self._turning = False
        self._viewed_pts = 0
        self._watched_pts = -1
        self._skip_from: int | None = None
        self._last_keyframe: int | None = None
        self._analysis.begin(epoch, anchor, (info.width, info.height))

    def _open(self, info: StreamInfo) -> None:
        self.info = info
        self._decoder = self._make_decoder(info)
        self._held: list[Packet] = []
        self._held_bytes = 0
        self._errors = 0
        self._damaged = 0
        self._corrupt = False

    def anchor(self, anchor: Anchor) -> None:
        """From now on capture time is mapped by this anchor."""
        self._analysis.anchor(anchor)

    def end(self, pts: int) -> Generator[Look, Detections | None, None]:
        """The epoch is over (connection lost, timestamps jumped, shut down)."""
        if self.state is State.AWAKE and self._skip_from is None:
            yield from self._frames(self._decoder.drain())
        if self._skip_from is not None:
            self._stop_skipping(pts)
        self._analysis.end(max(pts, self._last_pts))
        self._held = []

    # --- packets

    def feed(self, packet: Packet, boundary: bool = False) -> Generator[Look, Detections | None, None]:
        """Take one packet; `boundary`: it is the first of a footage segment (and so a keyframe)."""
        self.tally.packets += 1
        if packet.keyframe:
            self._at_keyframe(packet)
        if self._skip_from is not None:
            self.tally.skipped += 1
            return
        if self.state is State.AWAKE:
            yield from self._awake(packet, boundary)
        else:
            yield from self._asleep(packet)
        if boundary:
            self.snapshot_due = True

    def skip(self, packet: Packet) -> None:
        """Shed: nothing is decoded from this packet up to the next keyframe that is fed."""
        if self._skip_from is None:
            self._skip_from = packet.pts
            self._decoder.reset()
            self._held, self._held_bytes = [], 0
        self.tally.packets += 1
        self.tally.skipped += 1

    def told(self, line: trace.Told) -> None:
        """What comes from outside at the packet that is fed next: a judgement, or where a dome looks."""
        self.out.trace.append(line)
        match line:
            case trace.Verdict():
                self._analysis.judge(line)
            case trace.Position(pan=pan, tilt=tilt, zoom=zoom, moving=moving) if self._views is not None:
                self._views.told(PtzPosition(pan=pan, tilt=tilt, zoom=zoom, moving=moving))
            case _:
                pass

    def request_mode(self, mode: Mode) -> None:
        """Decode lazily or fully from the next keyframe on."""
        self._wanted = mode

    @property
    def mode(self) -> Mode:
        """What is in force: `full` also where the stream cannot be decoded lazily."""
        return "full" if self._forced else self._mode

    @property
    def choice(self) -> Mode | None:
        """The mode that was chosen; None where the stream leaves no choice."""
        return None if self._forced else self._mode

    @property
    def held_bytes(self) -> int:
        """Of the packets held while asleep."""
        return self._held_bytes

    @property
    def wrong(self) -> dict[str, str]:
        """What is wrong with the picture at present, and what is said of it."""
        return self._watch.wrong

    @property
    def blind_s(self) -> float:
        """Longest time for which something may happen unseen: about a GOP while lazy, else between looks."""
        return self._settings.gop_limit_s if self.mode == "lazy" else 1 / self._settings.fps

    def due(self, pts: int) -> bool:
        """Whether a picture at `pts` would be looked at."""
        return self.state is State.AWAKE and pts >= self._due

    def capture_us(self, pts: int) -> int:
        """Capture time at media time `pts`."""
        return self._analysis.captures.at(pts)

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """The epoch's anchors so far."""
        return self._analysis.captures.anchors

    def _at_keyframe(self, packet: Packet) -> None:
        if self._skip_from is not None:
            self._stop_skipping(packet.pts)
        if self._last_keyframe is not None and self.mode == "lazy":
            gop_s = seconds(packet.pts - self._last_keyframe)
            if gop_s > self._settings.gop_limit_s * 1.25:
                self._force(packet.pts, f"keyframes are {gop_s:.1f} s apart; set the camera's GOP to 1-2 s")
        self._last_keyframe = packet.pts
        if self._wanted is not None and self._wanted != self._mode:
            self._mode = self._wanted
            self.out.trace.append(trace.Mode(pts=packet.pts, mode=self._mode))
            self.out.notes.append(Note("decode-mode", "note", f"decoding is {self.mode}"))
        self._wanted = None

    def _stop_skipping(self, pts: int) -> None:
        start, self._skip_from = self._skip_from, None
        assert start is not None
        self._analysis.shed(start, pts)
        if self.state is not State.AWAKE:
            self._go(State.AWAKE, pts, "shed")
        self._last_pts = max(self._last_pts, start)
        self._last_keyframe = None  # those in between were passed over: the GOP is no longer than before

    def _force(self, pts: int, why: str) -> None:
        self._forced = why
        self.out.notes.append(Note("decode-mode", "raised", f"everything is decoded: {why}"))
        self.out.trace.append(trace.Mode(pts=pts, mode="full", forced=True))

    # --- awake

    def _awake(self, packet: Packet, boundary: bool) -> Generator[Look, Detections | None, None]:
        self._meter.start()
        if boundary:
            drained = self._decoder.drain()
            self._decoder.reset()
            self._meter.stop("decode")
            yield from self._frames(drained)
        frames = self._decoder.decode(packet)
        self._meter.stop("decode")
        yield from self._frames(frames)
        if packet.keyframe:
            self._check_errors()
            self.out.trace.append(trace.Reached(pts=packet.pts))
            if self.mode == "lazy":
                self._rest(packet)

    def _frames(self, frames: Sequence[av.VideoFrame]) -> Generator[Look, Detections | None, None]:
        for frame in frames:
            pts = frame.pts
            if pts is None or pts <= self._last_pts:
                continue
            self._last_pts = pts
            self.tally.decoded += 1
            self._damaged += frame.is_corrupt
            due = pts >= self._due
            if self._views is not None and (due or frame.key_frame):
                self._turned(frame, pts)
            if frame.key_frame:
                self._watched(frame, pts)
            if due:
                self._due = max(self._due + self._step, pts - self._step)
                if self._views is None or self._views.settled:
                    yield from self._see(frame, pts)

    def _see(self, frame: av.VideoFrame, pts: int) -> Generator[Look, Detections | None, None]:
        """A picture whose turn it is: compare it, and look at it if something moves or is tracked."""
        self._meter.start()
        picture = luma(frame)
        moved = self._gate.keyframe(picture)
        if moved:
            self._moved_pts = pts
        elif not self._analysis.tracking and pts >= self._look_until:
            self._meter.stop("motion")
            self._analysis.tick(pts)
            self._meter.stop("rules")
            return
        closer = self._crops(picture)
        self._meter.stop("motion")
        yield from self._look(frame, pts, closer)

    def _crops(self, picture: Luma) -> tuple[Crop, ...]:
        if self._look_closer is None:
            return ()
        height, width = picture.shape
        regions = [*self._gate.regions(picture), *self._analysis.boxes]
        return crops.choose(regions, (width, height), self._look_closer)

    def _look(
        self, frame: av.VideoFrame, pts: int, closer: tuple[Crop, ...]
    ) -> Generator[Look, Detections | None, None]:
        detections = yield Look(frame, pts, closer)
        if detections is None:
            self.tally.refused += 1
            self.out.trace.append(trace.Shed(from_pts=pts, to_pts=pts, why="look"))
            return
        self._analysis.observe(frame, pts, detections, closer)

    def _rest(self, packet: Packet) -> None:
        """At a keyframe: has it been quiet for long enough to decode less?"""
        quiet = seconds(self._last_pts - self._moved_pts)
        if self._analysis.tracking:
            if quiet <= self._settings.doze_s:
                return
            to = State.DOZING
        elif quiet > self._settings.quiet_s:
            to = State.ASLEEP
        else:
            return
        self._decoder.reset()
        self._held, self._held_bytes = [packet], packet.size
        self._go(to, packet.pts, "quiet")

    # --- asleep or dozing

    def _asleep(self, packet: Packet) -> Generator[Look, Detections | None, None]:
        if not packet.keyframe:
            self._held.append(packet)
            self._held_bytes += packet.size
            if self._gate.size(packet):
                yield from self._wake(packet.pts, "size")
            elif self._held_bytes > self._settings.held_limit:
                yield from self._wake(packet.pts, "held")
            return
        self._meter.start()
        errors = self._decoder.errors
        frame = self._decoder.probe(packet)
        self._meter.stop("decode")
        self.tally.probed += 1
        if frame is None and self._decoder.errors > errors:
            moved = True  # damaged: what follows may still be decoded, and nobody knows what was in it
        elif frame is None:
            self._force(packet.pts, "a keyframe alone gives no picture (open GOP or intra refresh)")
            moved = True
        else:
            moved = self._gate.keyframe(luma(frame))
            if self._views is not None and not moved:
                # Seen, in the order of pictures: a wake-up that decodes it again passes it over.
                self._last_pts = max(self._last_pts, packet.pts)
                moved = self._turned(frame, packet.pts)
            self._watched(frame, packet.pts)
        self._meter.stop("motion")
        if moved or self.mode == "full":
            self._held.append(packet)
            yield from self._wake(packet.pts, "keyframe" if moved else "mode")
            return
        self._held, self._held_bytes = [packet], packet.size
        if self.state is State.DOZING and frame is not None and (self._views is None or self._views.settled):
            self._last_pts = max(self._last_pts, packet.pts)  # seen: a wake-up decodes it again
            yield from self._look(frame, packet.pts, ())
            if not self._analysis.tracking:
                self._go(State.ASLEEP, packet.pts, "gone")
        else:
            self._analysis.tick(packet.pts)
            self.out.trace.append(trace.Reached(pts=packet.pts))
            self._meter.stop("rules")
        self._check_errors()

    def _wake(self, pts: int, why: str) -> Generator[Look, Detections | None, None]:
        """Decode all that is held from its start, so that what woke the camera is seen from its beginning."""
        held, self._held, self._held_bytes = self._held, [], 0
        self.tally.wakes += 1
        self._moved_pts = pts
        self._go(State.AWAKE, pts, why)
        self._decoder.reset()
        self._due = min(self._due, held[0].pts)
        for i, packet in enumerate(held):
            self._meter.start()
            frames: list[av.VideoFrame] = []
            if i and packet.keyframe:
                frames = self._decoder.drain()
                self._decoder.reset()
            frames += self._decoder.decode(packet)
            self._meter.stop("decode")
            yield from self._frames(frames)

    # --- domes

    def _turned(self, frame: av.VideoFrame, pts: int) -> bool:
        """Whether the picture shows that the dome began to move or came to rest."""
        assert self._views is not None
        before, self._viewed_pts = self._viewed_pts, pts
        view = self._views.see(pts, luma(frame))
        if view is not None:
            self._gate.reset()
            self._watch.moved()
            self._moved_pts = pts
            self._turning = view.state == "moving"
            if view.preset:
                self._look_until = pts + ticks(ARRIVED_S)
            self._analysis.turn(view)
        if self._turning:
            self._moved_pts = pts  # until it rests, all is decoded
        if not self._views.settled:
            self._analysis.pass_over(before, pts)
        return view is not None

    # --- odds and ends

    def _go(self, to: State, pts: int, why: str) -> None:
        if to not in ALLOWED[self.state]:
            raise IllegalTransition(f"the loop cannot go from {self.state} to {to}")
        self.state = to
        self.out.trace.append(trace.Gate(pts=pts, state=to.value, why=why))

    def _watched(self, frame: av.VideoFrame, pts: int) -> None:
        if self._turning or pts <= self._watched_pts:
            return  # what wakes up decodes again what was seen asleep: twice would be a loop of old pictures
        self._watched_pts = pts
        for change in self._watch.keyframe(pts, luma(frame)):
            since_us = self.capture_us(change.since)
            self.out.notes.append(Note(change.what, change.state, change.message, since_us=since_us))

    def _check_errors(self) -> None:
        """Once a GOP: has the decoder met damaged data since the last keyframe?"""
        errors = self._decoder.errors - self._errors + self._damaged
        self._errors, self._damaged = self._decoder.errors, 0
        if (errors > 0) == self._corrupt:
            return
        self._corrupt = errors > 0
        if self._corrupt:
            text = f"{errors} damaged packets in a GOP; check cable, Wi-Fi and the camera's bit rate"
            self.out.notes.append(Note("corrupt", "raised", text))
        else:
            self.out.notes.append(Note("corrupt", "cleared", "the stream decodes cleanly again"))

    @property
    def out(self) -> Output:
        """What is to be said."""
        return self._analysis.out

    def take(self) -> Output:
        """What was said since the last call."""
        return self._analysis.take()

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values, right after a segment's first packet was fed."""
        self.snapshot_due = False
        return {
            **self._analysis.snapshot(),
            "epoch": self.epoch,
            "state": self.state.value,
            "mode": self._mode,
            "forced": self._forced,
            "wanted": self._wanted,
            "last_pts": self._last_pts,
            "due": self._due,
            "moved_pts": self._moved_pts,
            "look_until": self._look_until,
            "turning": self._turning,
            "viewed_pts": self._viewed_pts,
            "watched_pts": self._watched_pts,
            "last_keyframe": self._last_keyframe,
            "gate": self._gate.snapshot(),
            "watch": self._watch.snapshot(),
            "views": self._views.snapshot() if self._views is not None else None,
        }

    def restore(self, state: dict[str, Any], first: Packet, info: StreamInfo) -> None:
        """Continue from a snapshot; `first` is the segment's first packet, already counted in the snapshot.

        `info` is the stream as it is read now: stored footage has its parameter sets in another form.
        """
        self._open(info)
        self.epoch = state["epoch"]
        self._gate = Gate()
        self._gate.restore(state["gate"])
        self._watch.restore(state["watch"])
        self.state = State(state["state"])
        self._mode = state["mode"]
        self._forced = state["forced"]
        self._wanted = state["wanted"]
        self._last_pts = state["last_pts"]
        self._due = state["due"]
        self._moved_pts = state["moved_pts"]
        self._look_until = state["look_until"]
        self._turning = state["turning"]
        self._viewed_pts = state["viewed_pts"]
        self._watched_pts = state["watched_pts"]
        self._last_keyframe = state["last_keyframe"]
        self._skip_from = None
        self._analysis.restore(state)
        if self._views is not None and state["views"] is not None:
            self._views.restore(state["views"])
        if self.state is State.AWAKE:
            self._decoder.decode(first)  # its picture was seen before the snapshot: last_pts passes it over
        else:
            self._held, self._held_bytes = [first], first.size
