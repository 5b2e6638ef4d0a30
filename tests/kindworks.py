"""A small world for tests of domes and face cameras: drawn, filmed by a dome on a tour, played over RTSP."""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import av
import cv2
import numpy as np

from detectors import manifest
from detectors.detections import NOTHING, Crop, Detections
from ingest.decode import LazyDecoder
from ingest.gate import Luma, luma
from ingest.packets import Packet
from ingest.views import PtzPosition
from storage import trace
from storage.references import small
from testbed.dome import DomeSpec, Pose, Stop, film
from testbed.onvif import OnvifDevice
from testbed.rtsp import GstServer
from testbed.sprites import Image
from tests.clipmaker import packets_of
from tests.loopmaker import Where
from tests.noisemaker import Grey, encode_noise

FPS = 10
WORLD = (640, 360)
SIZE = (320, 180)
BRIGHT = 195

SQUARE = Stop(preset="square", x=0.22, y=0.28, width=0.4, dwell_s=3.6, move_s=0.7)
TALL = Stop(preset="tall", x=0.5, y=0.75, width=0.4, dwell_s=3.8, move_s=0.7)
KERB = Stop(preset="kerb", x=0.76, y=0.26, width=0.4, dwell_s=3.2, move_s=0.7)
STOPS = (SQUARE, TALL, KERB)
"""At `square` somebody walks by, at `tall` something as high as the picture, at `kerb` something stands."""
ROUND_S = 12.4
"""Time of one tour: a clip of it can be played round and round."""


class World(Sequence[Image]):
    """Planar YUV pictures of what the dome turns in; drawn when asked for."""

    def __init__(self, empty: bool = False, round_s: float = ROUND_S) -> None:
        """`empty`: nobody is there."""
        width, height = WORLD
        rng = np.random.default_rng(5)
        blocks = rng.integers(50, 165, (height // 12, width // 12)).astype(np.uint8)
        ground = cv2.resize(blocks, WORLD, interpolation=cv2.INTER_NEAREST)
        self._ground = np.full((height * 3 // 2, width), 128, np.uint8)
        self._ground[:height] = cv2.GaussianBlur(ground, (3, 3), 0)
        self._empty = empty
        self._frames = round(round_s * FPS)

    def __len__(self) -> int:
        return self._frames

    @overload
    def __getitem__(self, n: int) -> Image: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[Image]: ...
    def __getitem__(self, n: int | slice) -> Image | Sequence[Image]:
        if isinstance(n, slice):
            return [self[i] for i in range(*n.indices(len(self)))]
        picture = self._ground.copy()
        for x, y, w, h in () if self._empty else bodies(n / FPS):
            picture[y : y + h, x : x + w] = 235
            picture[y + 4 : y + h - 4 : 8, x + 2 : x + w - 2] = 225
        return picture


def bodies(t: float) -> list[tuple[int, int, int, int]]:
    """What is bright at `t` seconds of the tour: x, y, width, height in the world's pixels."""
    walk = 30 + 200 * (t % 4.0) / 4.0  # through the window of `square`, again and again
    return [
        (round(walk), 90, 22, 55),
        (round(280 + 3 * t), 190, 44, 166),  # beyond the window of `tall` above and below
        (470, 90, 40, 50),
    ]


def tour(path: Path, seconds: float = ROUND_S) -> list[Pose]:
    """The dome's clip; answers where it looked, picture by picture."""
    spec = DomeSpec(stops=STOPS, seconds=seconds, size=SIZE, light=0.0, jitter=0.002)
    return film(path, World(), Fraction(FPS), spec)


def still(path: Path, preset: str, seconds: float = 3.0) -> Path:
    """What the dome sees at a preset while nobody is there."""
    spec = DomeSpec(stops=STOPS, seconds=seconds, size=SIZE, light=0.0, fixed=preset)
    film(path, World(empty=True), Fraction(FPS), spec)
    return path


def seen_in(clip: Path) -> Luma:
    """The clip's first picture, as a reference is kept."""
    info, packets = packets_of(clip)
    decoder = LazyDecoder(info)
    frame = next(frame for packet in packets for frame in decoder.decode(packet))
    return small(luma(frame).copy())


def passing(path: Path, seconds: float, where: Where) -> Path:
    """What a face camera sees: something bright, about as finely drawn as a face, sharpest in the middle."""
    rng = np.random.default_rng(3)
    fine = rng.choice([199, 234], (12, 10)).astype(np.uint8)
    sharp = cv2.resize(np.hstack([fine, fine[:, ::-1]]), (50, 72), interpolation=cv2.INTER_NEAREST)

    def paint(n: int, grey: Grey) -> None:
        left = where(n)
        if left is not None:
            x = round(left)
            blur = 0.4 + abs(x - SIZE[0] / 2) / 40
            grey[60:132, x : x + 50] = cv2.GaussianBlur(sharp, (0, 0), blur)

    return encode_noise(path, seconds, SIZE, paint=paint)


class Bright:
    """A detector of what is bright, crops or not. `landmarks`: each is a face that looks at the camera."""

    digest = "bright"
    manifest = manifest.named("centerface")
    """Says how large a crop is worth while."""

    def __init__(self, label: str = "person", landmarks: bool = False) -> None:
        self._label, self._landmarks = label, landmarks

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        bits = (luma(frame) > BRIGHT).astype(np.uint8)
        bits = np.asarray(cv2.morphologyEx(bits, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)))
        count, _, stats, _ = cv2.connectedComponentsWithStats(bits)
        rows = [stats[n] for n in range(1, count) if stats[n][cv2.CC_STAT_AREA] > 120]
        if not rows:
            return NOTHING
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in rows], np.float32)
        scores = np.full(len(rows), 0.9, np.float32)
        marks = _looking(boxes) if self._landmarks else None
        return Detections(boxes, scores, (self._label,) * len(rows), marks)


def _looking(boxes: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> Any:
    share = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    return boxes[:, None, :2] + share * (boxes[:, None, 2:] - boxes[:, None, :2])


# --- beside a running site


def position_of(pose: Pose) -> tuple[float, float, float]:
    """Pan, tilt and zoom that the dome's ONVIF service tells of a pose."""
    return round(2 * pose.x - 1, 4), round(2 * pose.y - 1, 4), round(1 - pose.width, 4)


def place(stop: Stop) -> PtzPosition:
    """Where a preset lies."""
    return PtzPosition(pan=2 * stop.x - 1, tilt=2 * stop.y - 1, zoom=1 - stop.width)


def positions(packets: Sequence[Packet], poses: Sequence[Pose], every: int) -> dict[int, list[trace.Told]]:
    """What the dome tells of where it looks, each `every` pictures."""
    told: dict[int, list[trace.Told]] = {}
    for n in range(0, len(packets), every):
        pan, tilt, zoom = position_of(poses[n])
        pts, moving = packets[n].pts, poses[n].state == "moving"
        told[pts] = [trace.Position(pts=pts, pan=pan, tilt=tilt, zoom=zoom, moving=moving)]
    return told


class Follower(threading.Thread):
    """Lets the ONVIF device tell where the dome looks that a mount shows. A context manager."""

    def __init__(self, server: GstServer, mount: str, poses: Sequence[Pose], device: OnvifDevice) -> None:
        """`poses`: of the mount's clip, picture by picture."""
        super().__init__(daemon=True)
        self._server, self._mount, self._poses, self._device = server, mount, poses, device
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.1):
            sent = int(self._server.fault(self._mount, "where")["sent"])
            pose = self._poses[sent % len(self._poses)]
            self._device.position = position_of(pose)
            self._device.moving = pose.state == "moving"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        self.join(5)


class Sender(threading.Thread):
    """A gateway: hands one sensor's readings in, each until it is acknowledged. A context manager."""

    def __init__(self, port: int, sensor: str, read: Callable[[int], object], every_s: float = 0.1) -> None:
        """`read`: the n-th value, under the key `value`; times are microseconds, under `t`."""
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{port}/readings/{sensor}"
        self._read, self._every_s = read, every_s
        self._over = threading.Event()
        self.acknowledged: list[int] = []
        """Times of the readings, microseconds."""
        self.refused: list[str] = []
        self.tries = 0

    def run(self) -> None:
        n = 0
        while not self._over.is_set():
            at = time.time_ns() // 1000
            body = json.dumps({"t": at, "value": self._read(n)}).encode()
            while not self._handed_in(body):
                time.sleep(0.05)
            self.acknowledged.append(at)
            n += 1
            time.sleep(self._every_s)

    def _handed_in(self, body: bytes) -> bool:
        self.tries += 1
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                self.refused.append(f"{error.code} {error.read().decode()}")
                return True
        except OSError:
            pass  # it is being started again
        return False

    def end(self) -> None:
        """Until the last one is acknowledged."""
        self._over.set()
        self.join(30)
        assert not self.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()


def post(url: str, body: object) -> int:
    """HTTP status of a POST of JSON; 0 while nobody answers."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def linli(*args: str | Path) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "cli.main", *map(str, args)]
