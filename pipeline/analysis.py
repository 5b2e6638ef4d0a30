"""What comes of a look: detections to tracks, tracks to observations, observations to events and best shots.

The second half of a camera's loop; `pipeline/loop.py` is the first: which pictures are decoded and looked at.
Pure as the loop is: no I/O, no clock, no threads.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import av
import msgspec
import numpy as np

from detectors.association import uncovered
from detectors.detections import NOTHING, Crop, Detections, Tracked, Tracker
from detectors.shots import BestShots, CaptureArea
from events.engine import Captured, Engine
from events.events import Event
from events.media import Anchor, CaptureMap
from events.observations import Observation, Shot
from events.views import View
from ingest.gate import luma
from pipeline.contract import Output, Tally
from pipeline.meter import Meter
from storage import trace

FAINT = 0.3
"""Confidence from which what is detected without being tracked is hidden: below, it is mostly nothing."""


class Faces(NamedTuple):
    """What a face camera's analysis is given."""

    area: CaptureArea
    shots: BestShots
    sealed: bool
    """Originals are kept, encrypted."""


class Analysis:
    """One camera's tracker, rules and best shots. What it has to say is added to `out`."""

    def __init__(self, engine: Engine, tracker: Tracker, meter: Meter, faces: Faces | None) -> None:
        self._engine = engine
        self._tracker = tracker
        self._meter = meter
        self._faces = faces
        self.tally = Tally()
        self.out = Output()
        self.captures: CaptureMap
        self.boxes: list[tuple[float, float, float, float]] = []
        """Where the tracks are, pixels."""
        self._newest_track = 0

    # --- an epoch

    def begin(self, epoch: int, anchor: Anchor, size: tuple[int, int]) -> None:
        """A stream epoch begins."""
        self.captures = CaptureMap((anchor,))
        self._newest_track = 0
        self.boxes = []
        if self._faces is not None:
            self._faces.shots.begin()
        self.out.events += self._engine.begin(epoch, anchor.capture_us, size)

    def anchor(self, anchor: Anchor) -> None:
        """From now on capture time is mapped by this anchor."""
        self.captures = self.captures.extend(anchor)
        self.out.trace.append(trace.AnchorLine(anchor=anchor))

    def end(self, pts: int) -> None:
        """The epoch is over."""
        self.lose(pts)
        self.out.events += self._engine.end(pts, self.captures.at(pts))

    def abandon(self) -> list[Event]:
        """The epoch that runs gets no packet more: end it where it stands; its events that were not taken."""
        events = self.take().events
        self._tracker.reset()
        if self._faces is not None:
            self._faces.shots.begin()
        return events + self._engine.abandon()

    @property
    def running(self) -> tuple[int, int] | None:
        """The epoch that the rules are in and its media time; None between epochs."""
        return self._engine.running

    # --- what is seen

    @property
    def tracking(self) -> bool:
        """Something is tracked, or was lost so recently that it may come back."""
        return self._tracker.active

    def observe(self, frame: av.VideoFrame, pts: int, detections: Detections, crops: Sequence[Crop]) -> None:
        """A picture was looked at (in `crops` of it, or whole)."""
        self.tally.inferred += 1
        self._meter.start()
        size = (frame.width, frame.height)
        outside = NOTHING
        if self._faces is not None:
            detections, outside = self._faces.area.split(detections, size)
        tracked = self._tracker.update(pts, detections, size)
        self.boxes = [(t.box.x1, t.box.y1, t.box.x2, t.box.y2) for t in tracked.tracks]
        self._meter.stop("track")
        observation = Observation(
            pts=pts,
            capture_us=self.captures.at(pts),
            width=frame.width,
            height=frame.height,
            tracks=tracked.tracks,
            ended=tracked.ended,
        )
        self.out.events += self._engine.observe(observation)
        if self._faces is not None:
            self._capture(self._faces.shots.see(pts, luma(frame), detections, tracked), pts)
        self.tally.tracks += sum(track.ordinal > self._newest_track for track in tracked.tracks)
        self._newest_track = max([self._newest_track, *(t.ordinal for t in tracked.tracks)])
        self._meter.stop("rules")
        faint = _faint(detections, tracked)
        if len(outside):
            faint += _faint(outside, Tracked((), ()))
        self.out.trace.append(trace.Frame.of(observation, crops, faint))

    def tick(self, pts: int) -> None:
        """Time passes and nothing moves."""
        self.out.events += self._engine.tick(pts, self.captures.at(pts))

    def shed(self, from_pts: int, to_pts: int) -> None:
        """This span was not decoded: the box is too slow."""
        self.out.trace.append(trace.Shed(from_pts=from_pts, to_pts=to_pts, why="packets"))
        self.lose(from_pts)
        self.out.events += self._engine.shed(from_pts, to_pts)

    def turn(self, view: View) -> None:
        """A dome began to move, or came to rest."""
        self.lose(view.pts)
        self.out.events += self._engine.view(view, self.captures.at(view.pts))

    def pass_over(self, from_pts: int, to_pts: int) -> None:
        """The dome is at no preset: time passes for no rule of one, and people in the footage are hidden."""
        self.out.trace.append(trace.Shed(from_pts=from_pts, to_pts=to_pts, why="view"))
        self.tick(to_pts)

    def judge(self, line: trace.Verdict) -> None:
        """An operator said what an alert was."""
        self._engine.judge(line.alert, line.verdict)

    def lose(self, pts: int) -> None:
        """Give all tracks up; the best shots of faces are taken as they are."""
        if self._faces is not None:
            self._capture(self._faces.shots.end(), pts)
        self._tracker.reset()
        self.boxes = []

    def _capture(self, shots: Sequence[Shot], pts: int) -> None:
        assert self._faces is not None
        at = self.captures.at
        for shot in shots:
            times = Captured(at(shot.first_pts), at(shot.last_pts), at(shot.pts), at(pts))
            self.out.events += self._engine.captured(shot, times, pts, self._faces.sealed)

    def take(self) -> Output:
        """What was said since the last call."""
        out, self.out = self.out, Output()
        return out

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "anchors": msgspec.to_builtins(self.captures.anchors),
            "newest_track": self._newest_track,
            "boxes": self.boxes,
            "tracker": self._tracker.snapshot(),
            "engine": self._engine.snapshot(),
            "shots": self._faces.shots.snapshot() if self._faces is not None else None,
        }

    def remember(self, state: dict[str, Any]) -> None:
        """Take over from an earlier snapshot what the rules know beyond one epoch."""
        self._engine.restore(state["engine"])

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self.captures = CaptureMap(msgspec.convert(state["anchors"], tuple[Anchor, ...]))
        self._newest_track = state["newest_track"]
        self.boxes = [tuple(box) for box in state["boxes"]]
        self._tracker.restore(state["tracker"])
        self._engine.restore(state["engine"])
        if self._faces is not None and state["shots"] is not None:
            self._faces.shots.restore(state["shots"])


def _faint(detections: Detections, tracked: Tracked) -> list[trace.Faint]:
    """What was detected and is no track: nobody counts it, but a person in it has to be hidden."""
    rows = [n for n in uncovered(detections, tracked.tracks) if detections.scores[n] >= FAINT]
    if not rows:
        return []
    edges = np.round(detections.boxes[rows].astype(np.float64), 1).tolist()
    return [(detections.labels[n], x1, y1, x2, y2) for n, (x1, y1, x2, y2) in zip(rows, edges, strict=True)]
