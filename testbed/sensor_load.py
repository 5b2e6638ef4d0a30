"""A publisher for benchmarks: SenML readings at a steady rate, at QoS 1, and a list of what was acknowledged.

    python -m testbed.sensor_load PORT NUMBER OF SENSORS RATE SECONDS FILE

SECONDS 0: until SIGTERM. Publishes as sensors NUMBER, NUMBER + OF, ... below SENSORS in turn. The file's
first line says how many seconds it took, each further one `sensor time` of a reading that the broker has
acknowledged. A connection that breaks is made again, and what was not acknowledged is sent again.
"""

import select
import signal
import socket
import struct
import sys
import time
from collections import OrderedDict
from pathlib import Path

from events.media import rfc3339

INFLIGHT = 2000


class Publisher:
    """MQTT 3.1.1 by hand: it must cost less than what it measures."""

    def __init__(self, port: int, name: str) -> None:
        self._port, self._name = port, name.encode()
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._out = b""
        self.open: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self.acknowledged: list[str] = []
        self._mid = 0

    def add(self, topic: bytes, payload: bytes, name: str) -> None:
        """Send one, soon."""
        self._mid = self._mid % 65_535 + 1
        body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", self._mid) + payload
        self.open[self._mid] = body, name
        self._out += _packet(0x32, body)

    def work(self, wait_s: float) -> None:
        """Send and receive, for about so long."""
        if self._socket is None and not self._connect():
            time.sleep(max(wait_s, 0.02))
            return
        assert self._socket is not None
        try:
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if self._out else [], [], wait_s
            )
            if writable:
                self._out = self._out[self._socket.send(self._out) :]
            if readable:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise ConnectionResetError
                self._take(data)
        except OSError:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        try:
            self._socket = socket.create_connection(("127.0.0.1", self._port), 2)
            self._socket.sendall(
                _packet(0x10, b"\0\4MQTT\4\2\0\0" + struct.pack("!H", len(self._name)) + self._name)
            )
            answer = self._socket.recv(4)
        except OSError:
            answer = b""
        if len(answer) < 4 or answer[3] != 0:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            return False
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._buffer = b""
        self._out = b"".join(_packet(0x3A, body) for body, _ in self.open.values())
        return True

    def _take(self, data: bytes) -> None:
        self._buffer += data
        whole = len(self._buffer) // 4 * 4  # nothing but PUBACKs of 4 bytes comes
        for (mid,) in struct.iter_unpack("!xxH", self._buffer[:whole]):
            found = self.open.pop(mid, None)
            if found is not None:
                self.acknowledged.append(found[1])
        self._buffer = self._buffer[whole:]


def _packet(kind: int, body: bytes) -> bytes:
    left, length = len(body), b""
    while True:
        left, digit = left >> 7, left & 127
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


def main(arguments: list[str]) -> None:
    """Publish."""
    port, number, of, sensors = map(int, arguments[:4])
    rate, seconds, file = float(arguments[4]), float(arguments[5]), Path(arguments[6])
    publisher = Publisher(port, f"load-{number}")
    began, sent = time.monotonic(), 0
    mine = range(number, sensors, of)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    while not stopped and ((passed := time.monotonic() - began) < seconds or not seconds):
        due = int(passed * rate) - sent
        for _ in range(min(due, INFLIGHT - len(publisher.open))):
            sensor = f"s{mine[sent % len(mine)]}"
            time_us = time.time_ns() // 1000
            value = (sent // len(mine)) % 10 + 0.25
            payload = f'[{{"bn":"urn:{sensor}:","bt":{time_us / 1e6:.6f},"n":"level","u":"m","v":{value}}}]'
            publisher.add(f"bench/{sensor}".encode(), payload.encode(), f"{sensor} {rfc3339(time_us)}")
            sent += 1
        publisher.work(0.005)
    until = time.monotonic() + 60
    while publisher.open and time.monotonic() < until:
        publisher.work(0.05)
    took = time.monotonic() - began
    file.write_text("\n".join([f"{took:.3f}", *publisher.acknowledged, ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
