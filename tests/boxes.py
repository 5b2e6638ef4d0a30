"""Boxes of one group for tests, as processes that are started, ended, killed and held up."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
from kafka.admin import KafkaAdminClient, NewTopic

from events.bus import Record
from events.clock import SystemClock
from events.events import ClaimTaken, Crossing, Event
from pipeline.cluster_status import ClusterStatus, read_status
from storage.journal import Journal
from storage.store import SqliteStore
from testbed.kafka import Kafka
from tests.siteworks import until

ROOT = Path(__file__).parents[1]


def make_topics(kafka: Kafka, prefix: str, shares: int) -> None:
    """The topics of shares and claims."""
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        compact = {"cleanup.policy": "compact"}
        admin.create_topics(
            [
                NewTopic(f"{prefix}.shares", shares, 1),
                NewTopic(f"{prefix}.claims", 1, 1, topic_configs=compact),
            ]
        )


class LightBox:
    """A box of `tests.lightbox`. It is started again on the same folder."""

    def __init__(
        self, kafka: Kafka, prefix: str, name: str, folder: Path, shares: int = 4, when_cut: str = "go-on"
    ) -> None:
        self.name, self.folder = name, folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "WHEN_CUT": when_cut}
        self._log = folder.with_suffix(".log").open("a")
        self._command = [
            sys.executable, "-m", "tests.lightbox", kafka.bootstrap, prefix, name, str(folder), str(shares)
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "LightBox":
        (self.folder / "cluster.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )
        return self

    @property
    def status(self) -> ClusterStatus | None:
        return read_status(self.folder / "cluster.json")

    @property
    def state(self) -> str:
        """What it says of itself."""
        return self.status.state if self.status else ""

    @property
    def shares(self) -> set[int]:
        """What it says to read."""
        return set(self.status.shares) if self.status else set()

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def end(self) -> int:
        """In order."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def signal(self, what: signal.Signals) -> None:
        """To the box and all its workers."""
        assert self.process is not None
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(what)
        if what == signal.SIGKILL:
            psutil.wait_procs(family, 10)
            self.process.wait(10)

    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "worker" in child.cmdline() or "spare" in child.cmdline()]

    def events(self) -> list[Event]:
        """What is in its journal."""
        if not (self.folder / "journal.db").exists():
            return []
        journal = Journal(self.folder / "journal.db", SystemClock())
        try:
            return [record.event for record in journal.read(0, 1 << 30)]
        finally:
            journal.close()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.signal(signal.SIGKILL)
        self._log.close()


def read_by(boxes: Iterable[LightBox], shares: int = 4) -> bool:
    """Whether each share is read by just one of the boxes."""
    told = [share for box in boxes for share in box.shares]
    return sorted(told) == list(range(shares))


def settled(*boxes: LightBox, seconds: float = 40) -> None:
    """Wait until each share is read by one of them."""
    until(lambda: read_by(boxes), seconds, f"each share is read once: {[b.status for b in boxes]}")


def newest(box: LightBox, after: int = 0) -> list[ClaimTaken]:
    """The claims in its journal, from the given number of them on."""
    return [e.data for e in box.events() if isinstance(e.data, ClaimTaken)][after:]


def count_once(said: Sequence[Sequence[Event]], path: Path, seed: int) -> tuple[int, int]:
    """Project what all boxes said into one store, their journals interleaved by chance, and check it: of each
    camera and moment at most one word counts, and just one if the last to claim the camera before saw it.

    Answers how many words count, and how many do not.
    """
    chance = random.Random(seed)
    store = SqliteStore(path)
    at = [0] * len(said)
    while any(n < len(events) for n, events in zip(at, said, strict=True)):
        box = chance.choice([n for n in range(len(said)) if at[n] < len(said[n])])
        some = said[box][at[box] : at[box] + chance.randint(1, 200)]
        store.apply(f"box-{box}", [Record(at[box] + n + 1, event) for n, event in enumerate(some)])
        at[box] += len(some)
    totals = {row.source: row.count for row in store.totals()}
    sizes = store.sizes()
    store.close()
    expected = _expected([event for events in said for event in events])
    assert totals == {source: len(times) for source, times in expected.items() if times}
    return sum(totals.values()), sizes.superseded


def _expected(events: list[Event]) -> dict[str, set[int]]:
    """Source -> the times at which the camera was seen under the latest claim of then."""
    claims: dict[str, list[ClaimTaken]] = {}
    for event in events:
        if isinstance(event.data, ClaimTaken):
            claims.setdefault(event.source, []).append(event.data)
    tokens = {(source, c.stream_epoch): c.token for source, of in claims.items() for c in of}
    found: dict[str, set[int]] = {source: set() for source in claims}
    for event in events:
        if not isinstance(event.data, Crossing):
            continue
        latest = max(c.token for c in claims[event.source] if c.since_us <= event.time_us)
        if tokens[event.source, event.epoch] == latest:
            assert event.time_us not in found[event.source], "one claim, one worker"
            found[event.source].add(event.time_us)
    return found
