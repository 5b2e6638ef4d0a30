"""Evidence from the main stream, people hidden by what the sub-stream saw: two streams, two clocks."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from events.events import AlertRaised
from events.media import TICKS, Anchor
from ingest.footage import FootageSource
from ingest.packets import Packet
from pipeline.evidence import Evidence, EvidenceSettings
from storage.objects import FolderObjects
from storage.segments import SegmentWriter
from tests.clipmaker import START_US
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record


def record_main(site: Recorded, clip: Path, skew_us: int) -> None:
    """The scene as the main stream, in one segment, its clock off by `skew_us`; and by 3 s more until its
    anchor is mended after half a second."""
    source = FootageSource(clip, start_us=START_US)
    opened = source.open()
    true_us = opened.anchor.capture_us + skew_us
    wrong = Anchor(pts=0, capture_us=true_us - 3_000_000, source="arrival", uncertainty_us=500_000)
    mended = Anchor(pts=TICKS // 2, capture_us=true_us + 500_000, source="rtcp", uncertainty_us=40_000)
    epoch = site.journal.open_epoch("gate", "main", opened.info, wrong)
    site.journal.add_anchor("gate", "main", epoch, mended)
    writer = SegmentWriter(site.footage, "gate", "main", epoch, opened.info, site.journal, segment_s=60.0)
    for p in source.packets():
        anchor = mended if p.pts >= mended.pts else wrong
        at = anchor.capture_us + (p.pts - anchor.pts) * 1_000_000 // TICKS
        writer.write(Packet(p.pts, p.dts, at, p.keyframe, False, p.size, p.av))
    writer.close()
    site.journal.end_epoch("gate", "main", epoch, 0, "stopped")
    site.journal.flush()


def stripes(grey: NDArray[np.uint8]) -> int:
    """The greatest step between the stripes of whoever walks there: 215 plain."""
    return int(np.abs(np.diff(grey[70:140].astype(int), axis=0)).max())


@pytest.mark.parametrize("skew_us", [-800_000, 0, 800_000])
def test_people_are_hidden_whatever_the_two_clocks_are_apart(tmp_path: Path, skew_us: int) -> None:
    site = open_site(tmp_path)
    clip = draw(tmp_path / "clip.mp4", 10, visits((25, 60)))
    record(site, clip)
    for row in site.journal.segments():
        site.journal.put_segment(replace(row, stream="sub"))
    record_main(site, clip, skew_us)
    site.clock.advance(30)
    objects = FolderObjects(tmp_path / "objects")
    settings = EvidenceSettings(pre_s=1.0, post_s=1.5)
    worker = Evidence(
        site.bus, site.journal, site.footage, objects, lambda camera: "sub", settings, site.clock
    )
    worker._round(site.bus.subscribe("evidence", ("alert",)), False)
    (alert,) = [e.data.alert for e in site.events() if isinstance(e.data, AlertRaised)]
    picture = cv2.imread(str(objects.path(f"pictures/{alert}.jpg")), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert stripes(picture.astype(np.uint8)) < 120
    with av.open(str(objects.path(f"clips/{alert}.mp4"))) as container:
        shown = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(shown) >= 20
    assert max(stripes(grey.astype(np.uint8)) for grey in shown) < 120
    assert np.abs(np.diff(picture[20:50, :60].astype(int))).max() > 8  # not hidden whole: its noise is there
    site.journal.close()
