"""A disk that fills up under a running site, and a folder that cannot be written. Needs to mount a tmpfs."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.events import Health
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.loopmaker import draw, visits
from tests.siteworks import Site, linli, site_file, until


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs (root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    clip = draw(tmp_path_factory.mktemp("footage") / "plain.mp4", 5, visits((12, 36)))
    try:
        server = GstServer({"gate": Mount(clip)}).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield server
    server.close()


def fill(folder: Path) -> Path:
    """Use up what is free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def test_a_full_disk_is_told_and_mends_itself(disk: Path, cameras: GstServer, tmp_path: Path) -> None:
    """Every process lives on; what was committed stays; recording and events go on when there is room."""
    site = Site(site_file(disk, {"gate": cameras.url("gate")}), logs=tmp_path)
    try:
        until(lambda: len([e for e in site.events() if e.family == "count"]) >= 3, 30, "events flow")
        workers = {p.pid for p in site.children()}
        ballast = fill(disk)
        until(lambda: "no room" in site.log() or "No space" in site.log(), 15, "the full disk is in the log")
        time.sleep(3)  # long enough for several attempts
        committed = [e.id for e in site.events()]
        assert site.process.poll() is None
        ballast.unlink()
        cleared = until(lambda: site.health("gate", "disk", "cleared"), 40, "footage is written again")
        raised = site.health("gate", "disk", "raised")
        assert len(raised) == len(cleared) == 1  # said once, not at each attempt
        assert isinstance(raised[0].data, Health)
        assert "footage" in raised[0].data.message or "journal" in raised[0].data.message
        assert {p.pid for p in site.children()} == workers
        after = cleared[0].time_us
        until(
            lambda: [e for e in site.events() if e.family == "count" and e.time_us > after],
            15,
            "events flow again",
        )
        said = site.end()
    finally:
        site.close()
    events = site.events()
    assert [e.id for e in events][: len(committed)] == committed
    assert said["events_journaled"] == said["events_stored"]
    numbers: dict[tuple[str, int], list[int]] = {}
    for e in events:
        if e.family in ("count", "alert"):
            numbers.setdefault((e.family, e.epoch), []).append(e.sequence)
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert "Traceback" not in site.log()


def test_a_read_only_folder_is_named_at_the_start(disk: Path, cameras: GstServer) -> None:
    path = site_file(disk, {"gate": cameras.url("gate")})
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = linli("run", path)
    assert done.returncode == 2
    assert str(disk) in done.stderr
    assert "Traceback" not in done.stderr
    done = linli("doctor", path)
    assert done.returncode == 1
    assert "Read-only file system" in done.stdout
    assert "mend its rights or its mount" in done.stdout
    assert "h264 320x180" in done.stdout  # the camera is looked at all the same
