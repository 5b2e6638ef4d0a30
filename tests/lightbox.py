"""A box without video: its seat, claims, supervisor and workers are real; a worker counts the time instead of
people.

    [WHEN_CUT=stop] python -m tests.lightbox BOOTSTRAP PREFIX NAME FOLDER SHARES

Every camera crosses its line once in each step of `STEP_US` by the wall clock, whoever reads it: so two boxes
that read a camera at once say the very same, and after all is over each step counts once.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Literal

from events.clock import SystemClock
from events.events import ClaimTaken, Crossing, Event, camera_source
from events.ids import event_id
from pipeline.claiming import Claims
from pipeline.crew import ShareCrew
from pipeline.holding import Holding, Plan
from pipeline.membership import Membership
from pipeline.seat import Seat
from pipeline.shares import cameras_of, read_held
from pipeline.supervisor import Child, Supervisor, ends_with_parent, stops_on
from storage.brokers import Brokers
from storage.journal import Journal

SITE = "town"
CAMERAS = ("gate", "hall", "road", "yard")
STEP_US = 100_000


def box(bootstrap: str, prefix: str, name: str, folder: Path, shares: int) -> int:
    """One box, until SIGTERM; 2 if it may not be one."""
    clock = SystemClock()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "journal.db", clock)
    identity = journal.id
    journal.close()
    stop = threading.Event()
    stops_on(stop, signal.SIGTERM)
    supervisor = Supervisor([], clock)
    program = [sys.executable, "-m", "tests.lightbox"]

    def children(share: int) -> list[Child]:
        return [Child(f"worker-{share}", [*program, "worker", str(folder), str(share), str(shares)])]

    crew = ShareCrew(
        supervisor,
        children,
        [*program, "spare", str(folder), str(shares)],
        lambda share: folder / f"worker-{share}.json",
        lambda share: [sys.executable, "-c", ""],
        clock,
    )
    brokers = Brokers(bootstrap=(bootstrap,), prefix=prefix)
    when_cut: Literal["go-on", "stop"] = "stop" if os.environ.get("WHEN_CUT") == "stop" else "go-on"
    plan = Plan(box=name, cameras=CAMERAS, shares=shares, when_cut=when_cut, session_s=6.0)

    def tell(state: str, text: str, detail: object) -> None:
        print(f"{time.time():.2f} {state}: {text} {detail}", flush=True)

    claims = Claims(brokers, f"{prefix}.claims")
    holding = Holding(plan, claims, crew, folder / "held.json", clock, tell)
    member = Membership(plan, holding, folder / "cluster.json", clock, tell, stop.set)
    seat = Seat(
        brokers,
        f"{prefix}.shares",
        name,
        identity,
        plan.session_s,
        clock,
        reads=holding.reads,
        give_up=holding.end,
    )
    member.sit(seat)
    member.open()
    supervisor.first = member.finish
    member.start()
    supervisor.run(stop)
    return 2 if member.failure is not None else 0


def worker(folder: Path, share: int, shares: int) -> None:
    """Counts the steps of the share's cameras until its parent is gone."""
    stop = threading.Event()
    ends_with_parent(stop)
    held = read_held(folder / "held.json")
    clock = SystemClock()
    journal = Journal(folder / "journal.db", clock)
    step = clock.wall_us() // STEP_US + 1
    epoch, sequence = clock.wall_us(), 0
    status = folder / f"worker-{share}.json"
    tokens = {camera: held.tokens(share)[camera] for camera in cameras_of(CAMERAS, share, shares)}
    for camera, token in tokens.items():
        taken = ClaimTaken(
            stream="main", stream_epoch=epoch, token=token, box=held.box, since_us=step * STEP_US
        )
        journal.append([_event(camera, epoch, 0, step * STEP_US, taken)])
    while not stop.wait(max(0.0, step * STEP_US / 1e6 - time.time())):
        crossed = Crossing(rule="clock", direction="in", label="person", track=step, at=(0.5, 0.5))
        journal.append([_event(camera, epoch, sequence, step * STEP_US, crossed) for camera in tokens])
        status.write_text("{}")
        # Held up (SIGSTOP): what went by meanwhile was not seen.
        step, sequence = max(step + 1, clock.wall_us() // STEP_US), sequence + 1
    journal.close()


def _event(camera: str, epoch: int, sequence: int, time_us: int, data: ClaimTaken | Crossing) -> Event:
    source = camera_source(SITE, camera)
    id_ = event_id(source, type(data).__name__, epoch, sequence)
    return Event(id=id_, source=source, time_us=time_us, epoch=epoch, sequence=sequence, data=data)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["worker", folder, share, shares]:
            worker(Path(folder), int(share), int(shares))
            return 0
        case ["spare", folder, shares]:
            got = b""
            while not got.endswith(b"\n"):
                more = os.read(0, 1)
                if not more:
                    return 0
                got += more
            worker(Path(folder), int(got), int(shares))
            return 0
        case [bootstrap, prefix, name, folder, shares]:
            return box(bootstrap, prefix, name, Path(folder), int(shares))
    return 64


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
