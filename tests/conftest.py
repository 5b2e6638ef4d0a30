"""Fixtures that many tests share: small clips, made once, and a real RTSP server that plays them."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.clipmaker import make_clip
from tests.noisemaker import encode_noise

pytest_plugins = ["tests.servers"]

SHARED = Path(__file__).parents[1].parent / "shared"


def shared(name: str) -> Path:
    """A file beside the project; the test is skipped where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is absent")
    return path


def need_server(error: ServerMissing) -> None:
    """Skip the test, unless LINLI_REQUIRE_SERVERS=1 says that the servers have to be there."""
    if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
        raise error
    pytest.skip(f"no RTSP server: {error}")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """H.264 (`plain`), with B-frames (`bframes`), H.265 (`hevc`), larger (`wide`), Motion JPEG (`jpeg`).

    All but `wide` and `jpeg` are 320x180 at 10 pictures a second, GOP 10: a box walks over a noisy floor.
    """
    folder = tmp_path_factory.mktemp("clips")
    return SimpleNamespace(
        plain=make_clip(folder / "plain.mp4", seconds=4),
        bframes=make_clip(folder / "bframes.mp4", seconds=4, b_frames=2),
        hevc=make_clip(folder / "hevc.mp4", seconds=3, codec="libx265"),
        wide=encode_noise(folder / "wide.mp4", seconds=2, size=(480, 272)),
        jpeg=encode_noise(folder / "jpeg.avi", seconds=1, codec="mjpeg"),
    )


CAMERAS = ("stalls", "closes", "jumps", "switches", "garbage", "flips", "stops", "loses", "extra")
"""Cameras of the plain clip; each test that causes a fault has one of its own."""


@pytest.fixture(scope="session")
def gst_server(clips: SimpleNamespace) -> Iterator[GstServer]:
    """A running RTSP server: `plain`, `bframes`, `hevc`, `jpeg`, `sound`, `locked` and `CAMERAS`."""
    mounts = {name: Mount(clips.plain) for name in CAMERAS} | {
        "plain": Mount(clips.plain, audio=True),
        "bframes": Mount(clips.bframes),
        "hevc": Mount(clips.hevc),
        "jpeg": Mount(clips.jpeg),
        "sound": Mount(None),
        "locked": Mount(clips.plain, user="guard", password="p w@:/%"),
    }
    try:
        server = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()
