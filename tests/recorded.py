"""A small site's recording, made in memory time through the product's own parts: journal, footage, traces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli import analysing, settings, wiring
from cli.settings import Settings
from detectors.onnx_detector import OnnxDetector
from events.clock import ManualClock
from events.events import Event
from ingest.footage import FootageSource
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.policy import Policy, Unlimited
from pipeline.sink import JournalSink
from pipeline.stored import work
from storage.journal import Journal
from storage.logbus import LogBus
from storage.segments import SegmentWriter
from tests.clipmaker import START_US
from tests.siteworks import RULE, site_file

INTRUSION = """
[[camera.rules]]
kind = "intrusion"
name = "yard"
polygon = [[0.3, 0.2], [0.7, 0.2], [0.7, 1.0], [0.3, 1.0]]
"""


@dataclass
class Recorded:
    """What is open of a recording."""

    loaded: Settings
    clock: ManualClock
    journal: Journal
    model: OnnxDetector
    footage: Path

    @property
    def bus(self) -> LogBus:
        return LogBus(self.journal, self.clock)

    def sink(self, resume_pts: int | None = None) -> JournalSink:
        return JournalSink(
            "town",
            "gate",
            "main",
            self.journal,
            self.footage,
            model=self.model.digest,
            settings="",
            clock=self.clock,
            resume_pts=resume_pts,
        )

    @property
    def make_lane(self) -> Callable[..., Lane]:
        return analysing.lane_maker(self.loaded, self.loaded.camera("gate"), self.model, self.clock)

    def events(self) -> list[Event]:
        self.journal.flush()
        return [record.event for record in self.journal.read(0, 5000, ("count", "alert"))]


def open_site(folder: Path) -> Recorded:
    """A site with one camera, nothing recorded yet."""
    loaded = settings.load(site_file(folder, {"gate": "rtsp://h/m"}, rules=RULE + INTRUSION))
    clock = ManualClock(START_US)
    paths = wiring.Paths(loaded.data).make()
    journal = wiring.open_journal(loaded, clock)
    return Recorded(loaded, clock, journal, analysing.detector(loaded), paths.footage)


def record(
    site: Recorded,
    clip: Path,
    policy: Policy | None = None,
    killed_at: int | None = None,
    lane: Lane | None = None,
) -> int:
    """Record and analyse the clip as one epoch; answers its number. `lane`: instead of one of its own.

    `killed_at`: after so many packets the analysis stops, after five more the recording, and nothing is
    ended: as kill -9 leaves it.
    """
    source = FootageSource(clip, start_us=site.clock.wall_us())
    opened = source.open()
    epoch = site.journal.open_epoch("gate", "main", opened.info, opened.anchor)
    writer = SegmentWriter(
        site.footage, "gate", "main", epoch, opened.info, site.journal, segment_s=2.0, model=site.model.digest
    )
    lane = lane or site.make_lane(site.sink(), policy or Unlimited())
    lane.put(Begin(epoch, opened.info, opened.anchor))
    for n, packet in enumerate(source.packets()):
        if killed_at is not None and n == killed_at + 5:
            break
        writer.write(packet)
        assert writer.row is not None
        if killed_at is None or n < killed_at:
            lane.put(Arrived(packet, writer.row))
            work(lane, site.model)
        site.clock.advance(0.1)
    if killed_at is not None:
        site.journal.flush()
        KEPT.append(writer)
        return epoch
    writer.close()
    lane.put(End("stopped"))
    work(lane, site.model)
    site.journal.flush()
    return epoch


KEPT: list[SegmentWriter] = []
"""Writers of killed workers: were they freed, libav would finish their files."""
