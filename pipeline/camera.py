"""The reader's thread of one stream: connect, record every packet, hand it to the lane; reconnect."""

import logging
import threading
import traceback
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

from events.clock import Clock, thread_cpu_ns
from events.errors import ConfigError, LinliError, SourceError, StorageError
from events.events import ClaimTaken, Event, Health, camera_source
from events.ids import event_id
from events.media import TICKS, Anchor, CaptureMap, Discontinuity
from ingest.backoff import Backoff, failure_of
from ingest.clockwatch import ClockWatch
from ingest.source import Opened, Source
from pipeline.contract import State
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.meter import Meter
from storage.journal import Journal
from storage.segments import SegmentWriter

log = logging.getLogger(__name__)

CALM_S = 0.25
"""How long packets of a stream that is asleep, or only recorded, may gather before they are read."""

AWAKE_S = 0.1
"""The same for a stream that is awake: half the time from look to look."""

WRITTEN_S = 3.0
"""Media time that has to be recorded without trouble before the disk is called mended: several fragments."""

RETRY_S = 60.0
"""Where the analysis of an epoch failed, recording goes on; after so long a new epoch is begun for it."""

ANALYSED_FRAGMENT_S = 0.25
"""Length of the footage's fragments where the stream is analysed: packets wait for theirs to be written."""

TROUBLES = frozenset({"clock", "connection", "disk", "reading"})
"""What a reader raises, and clears."""

HealthState = Literal["raised", "cleared", "note"]
MakeWriter = Callable[[int, Opened], SegmentWriter]


class Claim(NamedTuple):
    """Under what one of several boxes reads a camera."""

    box: str
    token: int


class Reader:
    """Reads one stream (`main`, `sub`) of a camera. Only the analysed stream has a lane."""

    def __init__(
        self,
        camera: str,
        stream: str,
        site: str,
        make_source: Callable[[], Source],
        make_writer: MakeWriter,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.camera, self.stream = camera, stream
        self._address = camera_source(site, camera)
        self._make_source = make_source
        self._make_writer = make_writer
        self._journal = journal
        self._clock = clock
        self.lane: Lane | None = None
        self.claim: Claim | None = None
        """Where several boxes share the cameras: told with each epoch of the analysed stream."""
        self._notify: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"read-{camera}-{stream}", daemon=True)
        self._troubles: dict[str, str] = {}
        """What is wrong at present -> what was last said of it."""
        self._clocks = ClockWatch()
        self._recorded_from: int | None = None
        self._lost_us: int | None = None
        self._writer: SegmentWriter | None = None
        self._gathered: list[Arrived] = []
        """Recorded, but perhaps not on disk yet."""
        self._done = (0.0, 0, 0)
        self._last_pts = 0
        self.meter = Meter(thread_cpu_ns)
        self.packets = 0
        self.connected = False

    def analyse(self, lane: Lane, notify: Callable[[], None]) -> None:
        """Hand packets to this lane and call `notify` when it has something to do."""
        self.lane, self._notify = lane, notify

    def take_over(self, raised: Collection[str]) -> None:
        """What the journal still calls wrong from before the start: it is cleared once it is well."""
        self._troubles = dict.fromkeys(TROUBLES.intersection(raised), "")
        self._clocks = ClockWatch("clock" in self._troubles)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stop.set()
        with self._lock:
            if self._source is not None:
                self._source.close()

    def join(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """Media time received so far."""
        return self._done[0] + self._last_pts / TICKS

    @property
    def segments(self) -> int:
        """Segments begun so far."""
        return self._done[1] + (self._writer.segments if self._writer else 0)

    @property
    def segment_bytes(self) -> int:
        """Bytes recorded so far."""
        return self._done[2] + (self._writer.bytes_written if self._writer else 0)

    # --- the thread

    def _run(self) -> None:
        backoff = Backoff(f"{self.camera}/{self.stream}")
        while not self._stop.is_set():
            started = self._clock.monotonic()
            try:
                self._once()
            except Discontinuity as e:
                self._health("gap", "note", f"{e}; a new stream epoch begins")
                backoff = backoff.failed(failure_of(e), self._clock.monotonic() - started)
            except LinliError as e:
                self._lost(e)
                backoff = backoff.failed(failure_of(e), self._clock.monotonic() - started)
            except Exception as e:  # noqa: BLE001 - a fault of ours at one camera must not stop the others
                # Without the message: libav's may carry the address with its password.
                where = "".join(traceback.format_tb(e.__traceback__))
                log.error("%s/%s: %s\n%s", self.camera, self.stream, type(e).__name__, where)
                self._lost(LinliError(f"reading failed ({type(e).__name__}); the log says where, report it"))
                backoff = backoff.failed("lost", self._clock.monotonic() - started)
            self._stop.wait(backoff.delay_s)

    def _once(self) -> None:
        source = self._make_source()
        with self._lock:
            self._source = source
        if self._stop.is_set():  # `stop` may have come before there was a source to close
            return
        try:
            opened = source.open()
            if not self._stop.is_set():
                self._epoch(source, opened)
        finally:
            source.close()
            self.connected = False

    def _epoch(self, source: Source, opened: Opened) -> None:
        epoch = self._journal.open_epoch(self.camera, self.stream, opened.info, opened.anchor)
        if self.lane is not None and self.claim is not None:
            self._tell_claim(self.claim, epoch, opened.anchor)
        writer = self._writer = self._make_writer(epoch, opened)
        self._recorded_from = None
        self._clocks.begin()
        lane = self.lane
        if lane is not None:
            lane.put(Begin(epoch, opened.info, opened.anchor))
        reason = "stopped"
        self._gathered.clear()
        try:
            self.meter.start()
            for packet in source.packets():
                self.meter.stop("demux")
                if not self.connected:
                    self._found()
                for anchor in source.anchors():
                    self._anchor(epoch, anchor)
                for off_us in source.clock_errors():
                    self._compare_clocks(off_us)
                before = writer.bytes_written
                segment = writer.write(packet)
                self.packets += 1
                self._last_pts = max(self._last_pts, packet.pts)
                if segment and self._troubles:
                    self._recorded(packet.pts)
                if lane is not None and writer.row is not None and segment:
                    if writer.bytes_written != before:
                        self._hand_over(lane)
                    self._gathered.append(Arrived(packet, writer.row))
                    if lane.failed_at is not None and packet.pts - lane.failed_at > RETRY_S * TICKS:
                        break  # a new epoch is tried
                self.meter.stop("record")
                awake = lane is not None and lane.loop.state is State.AWAKE
                source.pace_s = AWAKE_S if awake else CALM_S
                if self._stop.is_set():
                    break
        except (Discontinuity, LinliError) as e:
            reason = str(e)
            raise
        finally:
            self._finish(epoch, writer, reason)

    def _tell_claim(self, claim: Claim, epoch: int, anchor: Anchor) -> None:
        """Durable before the epoch's first event: without it, what two boxes saw would count twice.

        It is numbered by the stream epoch, so that it is told once, also when another box tells its own.
        """
        data = ClaimTaken(
            stream=self.stream,
            stream_epoch=epoch,
            token=claim.token,
            box=claim.box,
            since_us=CaptureMap((anchor,)).at(0),
        )
        told = Event(
            id=event_id(self._address, "claim", epoch, claim.token),
            source=self._address,
            time_us=data.since_us,
            epoch=epoch,
            sequence=0,
            data=data,
        )
        self._journal.append([told])
        self._journal.flush()

    def _hand_over(self, lane: Lane) -> None:
        """Let the lane have what is on disk. What was analysed is always recorded: after a kill the same
        packets are there to be analysed again, and give the same events."""
        wanted = False
        for item in self._gathered:
            lane.put(item)
            wanted = wanted or item.packet.keyframe or lane.loop.due(item.packet.pts)
        self._gathered.clear()
        if wanted:
            self._notify()

    def _anchor(self, epoch: int, anchor: Anchor) -> None:
        self._journal.add_anchor(self.camera, self.stream, epoch, anchor)
        if self.lane is not None:
            self.lane.put(anchor)

    def _finish(self, epoch: int, writer: SegmentWriter, reason: str) -> None:
        self._lost_us = self._clock.wall_us()
        last = self._last_pts
        try:
            writer.close()
            if self.lane is not None:
                self._hand_over(self.lane)
        finally:
            self._done = (self.seconds, self.segments, self.segment_bytes)
            self._writer, self._last_pts = None, 0
            if self.lane is not None:
                self.lane.put(End(reason))
                self._notify()
            else:
                self._journal.end_epoch(self.camera, self.stream, epoch, last, reason)

    # --- health

    def _lost(self, error: LinliError) -> None:
        text = str(error)
        if self._stop.is_set():  # we broke it off: nothing is wrong with the camera
            log.info("%s/%s: while stopping: %s", self.camera, self.stream, text)
            return
        what = "connection" if isinstance(error, SourceError | ConfigError) else "reading"
        said = text
        if isinstance(error, StorageError):
            what, said = "disk", type(error).__name__  # its text names another file at each attempt
        if said != self._troubles.get(what):  # said once, not at each attempt
            self._health(what, "raised", text)
            log.warning("%s/%s: %s", self.camera, self.stream, text)
        self._troubles[what] = said

    def _found(self) -> None:
        self.connected = True
        if self._lost_us is not None:
            gap_s = (self._clock.wall_us() - self._lost_us) / 1e6
            self._health("gap", "note", f"no video for {gap_s:.1f} s", {"seconds": round(gap_s, 3)})
            self._lost_us = None
        self._mended("connection", "the camera delivers again")

    def _compare_clocks(self, off_us: int) -> None:
        change = self._clocks.error(off_us)
        if change is None:
            return
        self._health("clock", change.state, change.message, {"offset_s": change.offset_s})
        if change.state == "raised":
            self._troubles["clock"] = change.message
        else:
            self._troubles.pop("clock", None)

    def _recorded(self, pts: int) -> None:
        """A packet went to disk: when enough of them did, all is well."""
        if self._recorded_from is None:
            self._recorded_from = pts
        if pts - self._recorded_from > WRITTEN_S * TICKS:
            self._mended("disk", "footage is written again")
            self._mended("reading", "the stream is read again")

    def _mended(self, what: str, text: str) -> None:
        if self._troubles.pop(what, None) is not None:
            self._health(what, "cleared", text)

    def _health(
        self, what: str, state: HealthState, message: str, detail: dict[str, float | str] | None = None
    ) -> None:
        data = Health(
            what=what, state=state, message=message, detail={"stream": self.stream, **(detail or {})}
        )
        try:
            self._journal.note(self._address, data, self._clock.wall_us())
        except StorageError as e:
            log.error("%s/%s: %s (not journaled: %s)", self.camera, self.stream, message, e)
