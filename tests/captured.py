"""Captures in a recorded site: events as the engine emits them, of the box that walks through the scene."""

from pathlib import Path

import cv2
import numpy as np

from events.events import Event, FaceCaptured, FaceDeleted, NormBox, camera_source
from events.ids import event_id
from pipeline.portraits import Portraits
from storage.captures import FacesSettings, keys_of
from storage.objects import FolderObjects
from tests.clipmaker import START_US
from tests.facekeys import RECIPIENT
from tests.loopmaker import FPS, SIZE, Where, visits
from tests.recorded import Recorded

WALK = visits((5, 45))
SEALED = FacesSettings(originals="sealed", recipient=RECIPIENT)
CROPS = FacesSettings()


def face_at(picture: int, where: Where = WALK) -> NormBox:
    """Around the upper half of the box in that picture of the clip."""
    left = where(picture)
    assert left is not None
    w, h = SIZE
    return round(left / w, 4), round(60 / h, 4), round((left + 40) / w, 4), round(105 / h, 4)


def captured(
    site: Recorded, picture: int, n: int = 0, sealed: bool = True, at_us: int | None = None
) -> FaceCaptured:
    """The box's face is captured in that picture of the recording's first epoch; it is in the journal."""
    at = START_US + picture * 1_000_000 // FPS if at_us is None else at_us
    epoch = site.journal.epochs("gate", "main")[0].epoch
    source = camera_source("town", "gate")
    capture = event_id("town", "gate", epoch, "face", n)
    crop, original = keys_of("gate", capture)
    data = FaceCaptured(
        capture=capture,
        track=1 + n,
        since_us=at - 500_000,
        until_us=at + 500_000,
        at_us=at,
        box=face_at(picture),
        quality=0.8,
        measures={"size": 1.0, "sharpness": 0.8, "pose": 1.0, "visible": 1.0, "width_px": 40.0},
        picture=crop,
        sealed=original if sealed else "",
    )
    event = Event(id=capture, source=source, time_us=at + 600_000, epoch=epoch, sequence=n, data=data)
    site.journal.append([event])
    site.journal.flush()
    return data


def deleted(site: Recorded, data: FaceCaptured, what: str = "all") -> None:
    """An event says that it is gone."""
    event = FaceDeleted(capture=data.capture, what=what, reason="asked")  # type: ignore[arg-type]
    site.journal.note(camera_source("town", "gate"), event, site.clock.wall_us())
    site.journal.flush()


def portraits(site: Recorded, objects: Path, settings: FacesSettings = SEALED) -> Portraits:
    """The service, not started."""
    folder = FolderObjects(objects)
    return Portraits(site.bus, site.journal, site.footage, folder, lambda _: "main", settings, site.clock)


def decoded(jpeg: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Grey levels, [H, W]."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return grey.astype(int)
