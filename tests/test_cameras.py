"""The demo's cameras: real RTSP read by libav, as the worker reads it."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from cli.cameras import DemoCameras
from cli.footage import DemoClip
from events.errors import SourceError

pytest.importorskip("aio_rtsp_toolkit", reason="the demo's extra is not installed")

RATE, FRAMES = 10, 20
OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "100000", "timeout": "8000000"}
LEVELS = {"one/main": 60, "one/sub": 120, "two/main": 200}
Received = list[tuple[float, float]]
"""(pts in seconds, mean grey level) of each frame."""


def write(path: Path, level: int, frames: int) -> Path:
    """A clip of the given grey with a mark that moves from frame to frame."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for n in range(frames):
            picture = np.full((64, 64, 3), level, np.uint8)
            picture[60:, 3 * n % 60 : 3 * n % 60 + 4] = 255
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[DemoClip]:
    folder = tmp_path_factory.mktemp("clips")
    one, sub, two = (write(folder / f"{n}.mp4", level, FRAMES) for n, level in enumerate(LEVELS.values()))
    return [
        DemoClip(camera="one", main=one, sub=sub, gop_s=1),
        DemoClip(camera="two", main=two, sub=None, gop_s=1),
        DemoClip(camera="long", main=write(folder / "long.mp4", 20, 200), sub=None, gop_s=1),
    ]


@pytest.fixture(scope="module")
def cameras(clips: list[DemoClip]) -> Iterator[DemoCameras]:
    with DemoCameras(clips) as running:
        yield running


def watch(url: str, frames: int, together: threading.Barrier) -> Received:
    """Decode so many frames of an RTSP stream; go on after the first when all the others have theirs."""
    received: Received = []
    with av.open(url, options=OPTIONS) as container:
        for frame in container.decode(video=0):
            if frame.pts is not None:
                received.append(
                    (float(frame.pts * frame.time_base), float(frame.to_ndarray(format="gray").mean()))
                )
            if len(received) == 1:
                together.wait(8)
            if len(received) == frames:
                break
    return received


def watch_all(urls: list[str], frames: int) -> list[Received | Exception]:
    """The same for many at once."""
    results: list[Received | Exception] = [[]] * len(urls)
    together = threading.Barrier(len(urls))

    def one(n: int) -> None:
        try:
            results[n] = watch(urls[n], frames, together)
        except (FFmpegError, threading.BrokenBarrierError) as e:
            results[n] = e

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(urls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def test_each_stream_loops_without_a_seam(cameras: DemoCameras) -> None:
    names = list(LEVELS)
    results = watch_all([cameras.url(*name.split("/")) for name in names], 2 * FRAMES + 5)
    for name, received in zip(names, results, strict=True):
        assert isinstance(received, list), f"{name}: {received}"
        assert len(received) == 2 * FRAMES + 5
        steps = [b[0] - a[0] for a, b in pairwise(received)]
        assert steps == pytest.approx([1 / RATE] * len(steps), abs=0.002), (
            f"{name}: a gap, repeat or jump back"
        )
        assert received[-1][1] == pytest.approx(LEVELS[name], abs=12), f"{name} shows another stream"


def test_more_clients_than_two_cores_have_threads(cameras: DemoCameras) -> None:
    """The toolkit's own pool serves six at once here; the others would wait for their time-outs."""
    results = watch_all([cameras.url("long", "main")] * 12, 60)
    assert [r for r in results if isinstance(r, Exception)] == []
    times = [[t for t, _ in r] for r in results if isinstance(r, list)]
    assert [len(t) for t in times] == [60] * 12
    assert min(b - a for t in times for a, b in pairwise(t)) > 0.09, "a packet was sent twice"


def test_streams_that_do_not_exist(cameras: DemoCameras) -> None:
    with pytest.raises(KeyError, match="one/main"):
        cameras.url("two", "sub")
    base = cameras.url("one", "main").removesuffix("one/main")
    for path in ("", "two/sub", "etc/passwd", "../../etc/passwd"):
        with pytest.raises(FFmpegError, match=r"404|not found|Not Found"):
            av.open(base + path, options=OPTIONS)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


def is_open(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_a_taken_port_is_named(clips: list[DemoClip], cameras: DemoCameras) -> None:
    port = port_of(cameras.url("one"))
    with pytest.raises(SourceError, match=f"port {port}"):
        DemoCameras(clips, port=port).start()
    assert is_open(port)


def test_stop_ends_the_server_and_may_be_repeated(clips: list[DemoClip]) -> None:
    running = DemoCameras(clips).start()
    port = port_of(running.url("one"))
    assert is_open(port)
    running.stop()
    running.stop()
    assert not is_open(port)


def test_the_server_does_not_outlive_a_killed_demo(clips: list[DemoClip]) -> None:
    program = """
import os, sys
from pathlib import Path
from cli.cameras import DemoCameras
from cli.footage import DemoClip
cameras = DemoCameras([DemoClip(camera="one", main=Path(sys.argv[1]), sub=None, gop_s=1)]).start()
print(cameras.url("one"), cameras._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, clips[0].main], capture_output=True, text=True, cwd=root, check=False
    )
    url = done.stdout.split()[0]
    for _ in range(100):
        if not is_open(port_of(url)):
            break
        threading.Event().wait(0.05)
    assert not is_open(port_of(url))
