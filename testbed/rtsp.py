"""Simulated cameras: a GStreamer RTSP server in a process of its own, controlled from Python.

    with GstServer({"gate": Mount("clip.mp4"), "yard": Mount("clip.mp4", user="u", password="p")}) as server:
        server.url("gate")
        server.fault("gate", "stall")

A clip is played in real time from its beginning when the first client comes, round and round, its timestamps
going on across the loop. Faults: `stall` (nothing more is sent), `drop` (share), `lose` (units), `flip`
(share: bits of access units), `sets` (parameter sets become noise), `jump` (seconds: of the timestamps),
`switch` (clip), `close` (the connections are cut), `heal`; `where` only answers how many units of the clip's
present round were sent. A mount is for one client at a time: a second one stalls the first.
"""

import json
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import av
from av.bitstream import BitStreamFilterContext

PYTHON = "/usr/bin/python3"
BINDINGS = "/usr/lib/python3/dist-packages"
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
_UNIT = struct.Struct("<qqBI")
_TICK = Fraction(1, 90_000)


class ServerMissing(Exception):
    """GStreamer's RTSP server or its Python bindings are not installed."""


@dataclass(frozen=True)
class Mount:
    """A simulated camera."""

    clip: Path | str | None
    """An H.264, H.265 or Motion-JPEG file; None: a stream with sound alone."""
    loop: bool = True
    user: str = ""
    password: str = ""
    audio: bool = False
    """Offer a (silent) audio stream too."""
    behind_s: float = 0.0
    """How far its clock is behind: its pictures are dated so much earlier than they are sent."""
    seed: int = 0
    """Of the faults that are drawn by chance."""


def write_units(clip: Path | str, target: Path) -> None:
    """The clip's access units as Annex B with times in 1/90000 s, for `gst_server.py`."""
    with av.open(str(clip)) as container, target.open("wb") as out:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [p for p in container.demux(stream) if p.size]
        if context.name in ("h264", "hevc") and (context.extradata or b"")[:1] == b"\x01":
            annexb = BitStreamFilterContext(f"{context.name}_mp4toannexb", stream)
            packets = [q for p in packets for q in annexb.filter(p)]
        rate = stream.average_rate or Fraction(25)
        step = max(1, round(90_000 / rate))
        base = stream.time_base or _TICK
        scale = base / _TICK
        times = [
            (n * step, n * step)
            if p.pts is None or p.dts is None
            else (round(p.pts * scale), round(p.dts * scale))
            for n, p in enumerate(packets)
        ]
        first = min(dts for _, dts in times)
        head = {
            "codec": context.name,
            "width": context.width,
            "height": context.height,
            "duration": times[-1][1] - first + step,
            "lead": max(pts - dts for pts, dts in times),
        }
        out.write(json.dumps(head).encode() + b"\n")
        for packet, (pts, dts) in zip(packets, times, strict=True):
            data = bytes(packet)
            out.write(_UNIT.pack(pts - first, dts - first, packet.is_keyframe, len(data)) + data)


class GstServer:
    """A running server; a context manager."""

    def __init__(self, mounts: dict[str, Mount]) -> None:
        users: dict[str, str] = {}
        for mount in mounts.values():
            if mount.user and users.setdefault(mount.user, mount.password) != mount.password:
                raise ValueError(f"user {mount.user!r} has two passwords")
        self._mounts = mounts
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="rtsp-")
        self._units: dict[str, str] = {}
        self.port = 0

    def __enter__(self) -> Self:
        specs = {
            name: {
                "units": self._prepare(mount.clip) if mount.clip else None,
                "loop": mount.loop,
                "user": mount.user,
                "password": mount.password,
                "audio": mount.audio,
                "behind_s": mount.behind_s,
                "seed": mount.seed,
            }
            for name, mount in self._mounts.items()
        }
        settings = Path(self._folder.name) / "mounts.json"
        settings.write_text(json.dumps(specs))
        if not Path(PYTHON).exists():
            raise ServerMissing(f"{PYTHON} is missing; install Debian's packages: {PACKAGES}")
        self._process = subprocess.Popen(
            [PYTHON, str(Path(__file__).with_name("gst_server.py")), str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": BINDINGS, "HOME": self._folder.name},
        )
        answer = self._read()
        if "missing" in answer:
            self.close()
            raise ServerMissing(f"{answer['missing']}; install Debian's packages: {PACKAGES}")
        self.port = int(answer["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, name: str, *, login: bool = False) -> str:
        """Where the camera is served; with `login`, with its user and password in it."""
        mount = self._mounts[name]
        who = (
            f"{quote(mount.user, safe='')}:{quote(mount.password, safe='')}@" if login and mount.user else ""
        )
        return f"rtsp://{who}127.0.0.1:{self.port}/{name}"

    def fault(self, name: str, fault: str, **values: float | Path | str) -> dict[str, Any]:
        """Cause a fault at a camera (see the module's text); answers the server's JSON."""
        command: dict[str, Any] = {"mount": name, "fault": fault, **values}
        if "clip" in command:
            command["units_file"] = self._prepare(command.pop("clip"))
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise ValueError(f"{fault} at {name}: {answer['error']}")
        return answer

    @property
    def pid(self) -> int:
        """The server's process (to stop or kill it in a test)."""
        return self._running().pid

    def close(self) -> None:
        """End the server. May be called twice."""
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._folder.cleanup()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ValueError("the server is not running; use it in a with statement")
        return self._process

    def _read(self) -> dict[str, Any]:
        stdout = self._running().stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise ServerMissing("the RTSP server ended without a word; run testbed/gst_server.py by hand")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _prepare(self, clip: Path | str) -> str:
        key = str(clip)
        if key not in self._units:
            target = Path(self._folder.name) / f"{len(self._units)}.units"
            write_units(clip, target)
            self._units[key] = str(target)
        return self._units[key]
