"""The demo's sensors: a manhole cover that is lifted now and then, a canal that rises and falls, a door.

They hand their readings in over HTTP as real gateways do: CloudEvents and SenML.
"""

import http.client
import json
import logging
import threading
from math import sin, tau
from typing import Any

from events.clock import Clock
from events.media import rfc3339

log = logging.getLogger(__name__)

EVERY_S = 1.0
ROUND_S = 60
"""After so long it begins anew."""


def level_m(t: float) -> float:
    """The canal's level: a surge once a round, beside a gentle swell."""
    surge = max(0.0, 1 - abs(t % ROUND_S - 35) / 8)
    return round(0.9 + 0.02 * sin(tau * t / 11) + 0.75 * surge, 3)


def cover_open(t: float) -> bool:
    """Whether the manhole is open."""
    return 12 <= t % ROUND_S < 40


def door_open(t: float) -> bool:
    """Whether the pump house's door is open."""
    return 20 <= t % ROUND_S < 26


class DemoSensors:
    """Readings once a second, from `start` to `stop`.

    with DemoSensors(port, clock): ...
    """

    def __init__(self, port: int, clock: Clock) -> None:
        """`port`: of the intake on this machine."""
        self._port = port
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo sensors", daemon=True)
        self.taken = 0
        """Requests that were answered with 200."""

    def __enter__(self) -> "DemoSensors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        begun = self._clock.monotonic()
        while not self._stop.wait(EVERY_S):
            t = self._clock.monotonic() - begun
            try:
                self._hand_in(t)
            except (OSError, http.client.HTTPException) as e:  # not up yet, or drained already
                log.info("the demo's sensors are not heard: %s", e)

    def _hand_in(self, t: float) -> None:
        now_us = self._clock.wall_us()
        events = [
            _event("manhole-7", now_us, {"cover": "open" if cover_open(t) else "closed"}),
            _event("pump-house", now_us, {"door": "open" if door_open(t) else "closed"}),
        ]
        senml = [{"bn": "urn:dev:canal-1:", "bt": now_us / 1e6, "n": "level", "u": "m", "v": level_m(t)}]
        self._post("application/cloudevents-batch+json", events)
        self._post("application/senml+json", senml)

    def _post(self, kind: str, body: Any) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("POST", "/readings", json.dumps(body), {"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            self.taken += answer.status == 200
        finally:
            connection.close()


def _event(sensor: str, at_us: int, data: dict[str, str]) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"{sensor}-{at_us}",
        "source": f"urn:demo:{sensor}",
        "type": "org.example.reading",
        "time": rfc3339(at_us),
        "data": data,
    }
