"""Asking a dome where it looks: the real client against a device that checks its login."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import wiring
from events.clock import ManualClock, SystemClock
from events.errors import AuthError, ConfigError, DiskFull, SourceError
from ingest.credentials import Credentials
from ingest.onvif import PtzPoller, ask
from ingest.views import PtzPosition
from pipeline.contract import Note
from pipeline.policy import Limits, Live
from testbed.onvif import OnvifDevice

SECRET = "hush: p&<w>"
LOGIN = Credentials("guard", SECRET)


@pytest.fixture
def device() -> Iterator[OnvifDevice]:
    with OnvifDevice("guard", SECRET) as running:
        running.position = (0.25, -0.5, 0.125)
        yield running


class Heard:
    """What a poller said."""

    def __init__(self) -> None:
        self.positions: list[PtzPosition] = []
        self.health: list[tuple[str, str]] = []

    def until(self, happened: Callable[[], bool], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, (self.positions, self.health)
            time.sleep(0.02)


@pytest.fixture
def polled(device: OnvifDevice) -> Iterator[Heard]:
    heard = Heard()
    poller = PtzPoller(
        device.url,
        LOGIN,
        SystemClock(),
        heard.positions.append,
        every_s=0.05,
        on_health=lambda state, text: heard.health.append((state, text)),
    )
    poller.start()
    yield heard
    poller.stop()
    poller.join()
    assert not poller.alive


def test_the_position_is_asked_for_with_a_digest(device: OnvifDevice) -> None:
    assert ask(device.url, LOGIN) == PtzPosition(pan=0.25, tilt=-0.5, zoom=0.125)
    assert device.refused == 0
    assert device.asked[-1] == "GetStatus"


def test_a_camera_whose_clock_is_off_is_asked_in_its_own_time() -> None:
    with OnvifDevice("guard", SECRET, clock_off_s=-86_400) as device:
        assert ask(device.url, LOGIN).pan == 0
        assert device.refused == 0


@pytest.mark.parametrize("login", [Credentials("guard", "wrong"), Credentials("other", SECRET), None])
def test_wrong_credentials_are_told_without_showing_them(
    device: OnvifDevice, login: Credentials | None
) -> None:
    with pytest.raises(AuthError) as caught:
        ask(device.url, login)
    assert SECRET not in str(caught.value)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "says"), [("no-ptz", "PTZ"), ("no-position", "position"), ("broken", "usable")]
)
def test_what_a_camera_lacks_is_told(device: OnvifDevice, fault: str, says: str) -> None:
    device.fault = fault
    with pytest.raises(SourceError, match=says):
        ask(device.url, LOGIN)


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        ask("http://127.0.0.1:9/onvif/device_service", None)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://cam/onvif/device_service",
        "http://u:hush@cam/onvif/device_service",
        "http://cam/elsewhere",
        "http://cam:x/",
        "http:///",
    ],
)
def test_addresses_are_checked(url: str) -> None:
    with pytest.raises(ConfigError, match="must be http://") as caught:
        ask(url, None)
    assert "hush" not in str(caught.value)


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onvif", None)
    with pytest.raises(ConfigError, match=r"linli\[dome\]"):
        PtzPoller("http://cam/onvif/device_service", None, SystemClock(), lambda _: None)


def test_moves_are_told_and_rest_is_not_repeated(device: OnvifDevice, polled: Heard) -> None:
    polled.until(lambda: len(polled.positions) == 1)
    before = len(device.asked)
    polled.until(lambda: len(device.asked) > before + 5)
    assert len(polled.positions) == 1
    device.moving = True
    polled.until(lambda: polled.positions[-1].moving)
    device.position, device.moving = (0.5, 0.0, 0.0), False
    polled.until(lambda: polled.positions[-1] == PtzPosition(pan=0.5, tilt=0.0, zoom=0.0))


def test_a_camera_that_does_not_say_whether_it_moves(device: OnvifDevice, polled: Heard) -> None:
    device.tells_moving = False
    polled.until(lambda: len(polled.positions) >= 1)
    device.position = (0.3, -0.5, 0.125)
    polled.until(lambda: any(p.moving for p in polled.positions))
    polled.until(lambda: not polled.positions[-1].moving and polled.positions[-1].pan == 0.3)


def test_trouble_is_told_once_and_its_end(
    device: OnvifDevice, polled: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    polled.until(lambda: len(polled.positions) == 1)
    device.fault = "broken"
    polled.until(lambda: len(polled.health) == 1)
    assert polled.health[0][0] == "raised"
    device.fault = ""
    polled.until(lambda: len(polled.health) == 2)
    assert polled.health[1][0] == "cleared"
    said = caplog.text + str(polled.health)
    assert SECRET not in said


def test_it_stops_while_a_camera_is_silent(device: OnvifDevice) -> None:
    device.fault = "silent"
    poller = PtzPoller(device.url, LOGIN, SystemClock(), lambda _: None)
    poller.start()
    time.sleep(0.5)
    began = time.monotonic()
    poller.stop()
    poller.join()
    assert not poller.alive
    assert time.monotonic() - began < 3
    assert not [t for t in threading.enumerate() if t.name.startswith("ptz ")]


def test_it_may_be_stopped_before_it_began() -> None:
    poller = PtzPoller("http://cam/onvif/device_service", None, SystemClock(), lambda _: None)
    poller.stop()
    poller.join()
    assert not poller.alive


def test_a_journal_without_room_does_not_end_the_asking() -> None:
    """Its thread says what is wrong with the dome, and would die of what the journal answers."""

    def full(_: Note) -> None:
        raise DiskFull("no room")

    camera = SimpleNamespace(onvif="http://127.0.0.1:9/onvif/device_service", credentials="")
    settings: Any = SimpleNamespace(camera=lambda _: camera, path=Path("site.toml"))
    lane: Any = SimpleNamespace(camera="dome", policy=Live(Limits()), tell=full)
    poller = wiring._poller(settings, lane, SystemClock())
    assert poller is not None
    poller._on_health("raised", "it does not answer")


def test_a_dome_that_never_rests_is_told_and_when_it_rests() -> None:
    heard, clock = Heard(), ManualClock(0)
    url = "http://cam/onvif/device_service"
    poller = PtzPoller(
        url,
        None,
        clock,
        heard.positions.append,
        on_health=lambda state, text: heard.health.append((state, text)),
    )
    moves, rests = (PtzPosition(pan=0.0, tilt=0.0, zoom=0.0, moving=moving) for moving in (True, False))

    def says(position: PtzPosition, seconds: int) -> list[str]:
        for _ in range(seconds):
            poller._tell(position)
            clock.advance(1)
        return [state for state, _ in heard.health]

    assert says(moves, 290) == []
    assert says(rests, 1) == []
    assert says(moves, 300) == [], "it rested in between"
    assert says(moves, 300) == ["raised"]
    assert "says for 5 minutes that it moves" in heard.health[0][1]
    assert "leave out onvif" in heard.health[0][1]
    assert says(rests, 3) == ["raised", "cleared"]


def test_a_fault_of_ours_is_told_and_the_asking_goes_on(
    device: OnvifDevice, caplog: pytest.LogCaptureFixture
) -> None:
    heard, faults = Heard(), [SECRET, SECRET]

    def on_position(position: PtzPosition) -> None:
        if faults:
            raise KeyError(faults.pop())
        heard.positions.append(position)

    poller = PtzPoller(
        device.url,
        LOGIN,
        SystemClock(),
        on_position,
        every_s=0.02,
        on_health=lambda state, text: heard.health.append((state, text)),
    )
    poller.start()
    heard.until(lambda: len(heard.health) == 2, 20)
    assert [state for state, _ in heard.health] == ["raised", "cleared"]
    assert "failed (KeyError); see the log" in heard.health[0][1]
    assert len(heard.positions) > 0
    poller.stop()
    poller.join()
    assert "test_onvif.py" in caplog.text  # where it happened
    assert SECRET not in caplog.text + str(heard.health)
