"""The fault suite: each disaster on a town of its own. Short in CI, in full by one command.

The tests (`tests/test_disasters.py`) and the benchmark (`python -m benchmarks.faults`) run these.
"""

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from events.topics import topics
from storage import kafkatopics
from storage.brokers import Brokers
from testbed import disasters
from testbed.cable import Cable
from testbed.disasters import FAMILIES, Outcome, Town
from testbed.kafka import Kafka
from testbed.process import ServerMissing

PREFIX = "fault.linli"
DISK_MB = 64
"""Of the broker whose disk is filled."""


class Size(NamedTuple):
    """How much of each disaster."""

    boxes: int
    """Kills of a box."""
    centres: int
    """Kills of a centre."""
    brokers: int
    """Kills of a broker."""
    away_s: float
    hangs_s: float
    spells: int
    """Of dropped packets."""


SHORT = Size(boxes=12, centres=15, brokers=3, away_s=10, hangs_s=20, spells=2)
FULL = Size(boxes=500, centres=500, brokers=30, away_s=300, hangs_s=60, spells=10)

NAMES = (
    "boxes_killed",
    "centres_killed",
    "broker_killed",
    "broker_away",
    "broker_hangs",
    "broker_emptied",
    "packets_dropped",
    "disk_filled",
)


def run(name: str, folder: Path, where: Path | str, size: Size, seed: int) -> Outcome:
    """One disaster, in a folder of its own, into the store at `where`.

    Raises:
        ServerMissing: this machine cannot do it, and why.
    """
    with ExitStack() as stack:
        cable: Cable | None = None
        if name == "packets_dropped":
            cable = stack.enter_context(Cable())
            kafka = Kafka(folder / "kafka", host=cable.there, under=cable.under)
        else:
            kafka = Kafka(folder / "kafka")
        if name == "disk_filled":
            _small_disk(kafka, stack)
        kafka.start()
        stack.callback(kafka.kill)
        if kafka.stand_in:
            raise ServerMissing("Apache Kafka cannot be had here, and its stand-in forgets at a kill")
        make_topics(kafka)
        with disasters.town(folder, kafka, PREFIX, where, seed) as town:
            return _done(name, town, size, cable)


def _done(name: str, town: Town, size: Size, cable: Cable | None) -> Outcome:
    kafka = town.kafka
    runs: dict[str, Callable[[], Outcome]] = {
        "boxes_killed": lambda: disasters.boxes_killed(town, size.boxes),
        "centres_killed": lambda: disasters.centres_killed(town, size.centres),
        "broker_killed": lambda: disasters.broker_killed(town, size.brokers),
        "broker_away": lambda: disasters.broker_away(town, size.away_s),
        "broker_hangs": lambda: disasters.broker_hangs(town, size.hangs_s),
        "broker_emptied": lambda: disasters.broker_emptied(town, lambda: make_topics(kafka)),
        "disk_filled": lambda: disasters.disk_filled(town, lambda: _fill(kafka), lambda: _free(kafka)),
    }
    if cable is not None:
        laid = cable
        runs["packets_dropped"] = lambda: disasters.packets_dropped(town, laid.lose, laid.mend, size.spells)
    return runs[name]()


def make_topics(kafka: Kafka) -> None:
    """Those of a street's families, as they are declared."""
    brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=PREFIX)
    wanted = [topic for topic in topics(PREFIX) if topic.what in FAMILIES]
    if wrong := kafkatopics.apply(brokers, wanted, 1):
        raise RuntimeError(str(wrong))


def _small_disk(kafka: Kafka, stack: ExitStack) -> None:
    """The broker's data on a file system of their own.

    Raises:
        ServerMissing: it cannot be mounted.
    """
    if os.geteuid() != 0:
        raise ServerMissing("a small disk for the broker needs root")
    kafka.data.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(kafka.data)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise ServerMissing("a small disk for the broker cannot be mounted here")
    stack.callback(subprocess.run, ["umount", "-l", str(kafka.data)], check=False)


def _fill(kafka: Kafka) -> None:
    block = b"\0" * (1 << 20)
    try:
        with (kafka.data / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(block)
    except OSError:
        return


def _free(kafka: Kafka) -> None:
    (kafka.data / "ballast").unlink()
