"""A box with footage, clips and pictures to be copied; and, run as a program, a shipper that kills itself.

    python -m tests.shipworks DATA POINT < PLACE

ships all that DATA holds. At the POINTth of all points at which a kill could matter (before and after each
move in the spool, each request, each slice of a body) it ends by SIGKILL; 0: it does not.
"""

import hashlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from events.clock import Clock, ManualClock, SystemClock
from events.events import Health
from events.media import Anchor
from ingest.packets import StreamInfo
from pipeline.announce import AnnouncingIndex
from pipeline.gathering import Gatherer
from pipeline.shipping import Place, Shipper
from storage.footage import Label, label_row
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.pacing import Schedule
from storage.s3client import S3Place
from storage.s3objects import S3Objects
from storage.spool import Spool
from testbed.s3 import S3
from tests.clipmaker import START_US

BOX = "/town/box/here"
ALL = ("footage", "clips", "pictures")
PART = 5 << 20
INFO = StreamInfo(codec="h264", width=320, height=180, extradata=b"", fps=10.0)


def place(s3: S3, bucket: str, **other: Any) -> S3Place:
    given = {"access": s3.access, "secret": s3.secret, "part_bytes": PART, "prefix": "town"} | other
    return S3Place(url=s3.endpoint, bucket=bucket, **given)


class Box:
    """What a box has recorded: files of random bytes in place of video."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.data = data
        self.clock = clock
        self.footage = data / "footage"
        self.footage.mkdir(parents=True, exist_ok=True)
        self.objects = FolderObjects(data / "objects")
        self.journal = Journal(data / "journal.db", clock, group_s=0.001)
        self.spool = Spool(data / "spool.db")
        self._epoch = 0

    def segment(self, n: int, size: int = 1000, camera: str = "gate", state: str = "closed") -> str:
        """A finished segment, told in the journal; answers its path."""
        if not self._epoch:
            anchor = Anchor(pts=0, capture_us=START_US, source="file", uncertainty_us=0)
            self._epoch = self.journal.open_epoch(camera, "main", INFO, anchor)
        label = Label(
            camera=camera,
            stream="main",
            epoch=self._epoch,
            n=n,
            first_pts=n,
            start_us=START_US + n * 1_000_000,
        )
        row = label_row(label, INFO)
        data = random.Random(f"{camera}{n}").randbytes(size)
        path = self.footage / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        done = msgspec.structs.replace(
            row,
            state=state,
            bytes=size,
            sha256=hashlib.sha256(data).hexdigest(),
            end_us=row.start_us + 999_999,
            trace_path="",
        )
        AnnouncingIndex(self.journal, "town", self.clock).put_segment(done)
        self.journal.flush()
        return row.path

    def shipper(
        self, there: S3Place, schedule: Schedule | None = None, ship: tuple[str, ...] = ALL
    ) -> Shipper:
        def connect(pace: Callable[[int], None]) -> S3Objects:
            return S3Objects(there, pace=pace)

        gatherer = Gatherer(self.spool, self.journal, self.footage, self.data / "objects", ship, self.clock)
        told = Place(
            site="town", source=BOX, status=self.data / "status.json", schedule=schedule or Schedule()
        )
        return Shipper(gatherer, self.spool, connect, self.journal, told, self.clock)

    def health(self) -> list[Health]:
        """What was said of the copies."""
        self.journal.flush()
        found = [record.event.data for record in self.journal.read(0, 9999, ("health",))]
        return [data for data in found if isinstance(data, Health) and data.what == "uploads"]

    def close(self) -> None:
        self.spool.close()
        self.journal.close()


def rounds(shipper: Shipper, clock: ManualClock, count: int = 200) -> None:
    """Steps, with the waiting done by hand, until nothing is left to do or the rounds are used up."""
    for _ in range(count):
        clock.advance(shipper.step() or 0.01)
        if shipper.status().state == "idle" and not shipper.status().waiting:
            return


def main(data: Path, point: int) -> None:
    there = msgspec.json.decode(sys.stdin.buffer.read(), type=S3Place)
    passed = 0

    def at_a_point() -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def call(*args: Any, **named: Any) -> Any:
            at_a_point()
            result = inner(*args, **named)
            at_a_point()
            return result

        setattr(owner, name, call)

    box = Box(data, SystemClock())
    for name in ("begin", "done", "back", "take_in", "recover", "add"):
        around(box.spool, name)
    shipper = box.shipper(there)
    around(shipper._objects._client, "_execute")
    around(shipper._bucket, "take")
    while True:
        shipper.step()
        if shipper.status().state == "idle" and not shipper.status().waiting:
            break
    print("all sent", passed)
    box.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
