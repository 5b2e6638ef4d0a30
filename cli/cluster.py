"""A box among others: its seat in the group, its claims, and the workers of its shares."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Literal

from cli import wiring
from cli.settings import Settings
from cli.wiring import Part
from events.clock import Clock
from events.errors import StorageError
from events.events import Health
from events.topics import topic_name
from pipeline.claiming import Claims
from pipeline.crew import ShareCrew
from pipeline.holding import Holding, Plan
from pipeline.membership import Membership
from pipeline.seat import Seat
from pipeline.shares import cameras_of, read_held
from pipeline.supervisor import Child, Supervisor
from storage.journal import Journal

log = logging.getLogger(__name__)


@contextlib.contextmanager
def member(
    settings: Settings, supervisor: Supervisor, stop: threading.Event, clock: Clock
) -> Iterator[Membership]:
    """This box's part in the group, for as long as its supervisor runs.

    Raises:
        ConfigError: the topic of shares is not as it has to be, or another box has this name; here, or at the
            end if it came out under way.
        StorageError: the data folder cannot be read or written.
    """
    journal = wiring.open_journal(settings, clock)
    try:
        _finish_left(settings, journal)
        found = _membership(settings, supervisor, stop, journal, clock)
        found.open()
        supervisor.first = found.finish
        found.start()
        try:
            yield found
        finally:
            found.finish()
        if found.failure is not None:
            raise found.failure
    finally:
        journal.close()


def part(settings: Settings, share: int, shares: int) -> Part:
    """What the worker of a share does, under the tokens that the box has for it."""
    held = read_held(wiring.Paths(settings.data).run / "held.json")
    cameras = cameras_of([camera.id for camera in settings.file.camera], share, shares)
    return Part(
        name=f"share-{share}/{shares}",
        number=share,
        cameras=tuple(settings.camera(camera) for camera in cameras),
        strangers=False,
        box=settings.box,
        tokens=held.tokens(share),
    )


def wait_for_share(shares: int) -> str | None:
    """A spare process: `i/n` once its share is known; None at the end of input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    got = b""
    while not got.endswith(b"\n"):
        more = os.read(0, 1)  # not a byte more: what follows is the end of input, and asks for a drain
        if not more:
            return None
        got += more
    return f"{int(got)}/{shares}"


def left(settings: Settings, journal: Journal) -> Part:
    """All cameras of which a kill left something unfinished."""
    open_ = {camera for camera, _, _ in journal.open_epochs()}
    cameras = tuple(camera for camera in settings.file.camera if camera.id in open_)
    return Part(name="left", number=-1, cameras=cameras, strangers=True, box=settings.box)


def _finish_left(settings: Settings, journal: Journal) -> None:
    """What was left of this box's cameras is finished before it gets any: they may be another's by now."""
    if not journal.open_epochs():
        return
    command = [*linli(), "worker", str(settings.path), "--left"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        log.error("what was left unfinished is not finished (%d); it is at the next start", done.returncode)


def _membership(
    settings: Settings, supervisor: Supervisor, stop: threading.Event, journal: Journal, clock: Clock
) -> Membership:
    file, site = settings.file, str(settings.path)
    run = wiring.Paths(settings.data).run
    shares = file.cluster.shares
    ids = [camera.id for camera in file.camera]

    def children(share: int) -> list[Child]:
        mine = []
        if cameras_of(ids, share, shares):
            argv = [*linli(), "worker", site, "--share", f"{share}/{shares}"]
            mine.append(Child(f"worker-{share}", argv))
        if share == 0 and file.sensor:  # once for the site, not once for each box
            mine.append(Child("sensors", [*linli(), "sensors", "run", site]))
        return mine

    def tell(
        state: Literal["raised", "cleared", "note"], text: str, detail: Mapping[str, float | str]
    ) -> None:
        data = Health(what="cluster", state=state, message=text, detail=dict(detail))
        try:
            journal.note(wiring.box_source(settings), data, clock.wall_us())
        except StorageError as e:  # the cameras go before
            log.error("%s (not journaled: %s)", text, e)

    plan = Plan(
        box=settings.box,
        cameras=tuple(ids),
        shares=shares,
        when_cut=file.cluster.when_cut,
        session_s=file.cluster.session_s,
    )
    brokers = wiring.brokers(settings)
    crew = ShareCrew(
        supervisor,
        children,
        [*linli(), "worker", site, "--spare", str(shares)],
        lambda share: run / f"worker-{share}.json",
        lambda share: [*linli(), "worker", site, "--share", f"{share}/{shares}", "--left"],
        clock,
    )
    prefix = file.bus.prefix
    claims = Claims(brokers, topic_name(prefix, "claims"))
    holding = Holding(plan, claims, crew, run / "held.json", clock, tell)
    found = Membership(plan, holding, run / "cluster.json", clock, tell, stop.set)
    seat = Seat(
        brokers,
        topic_name(prefix, "shares"),
        settings.box,
        journal.id,
        file.cluster.session_s,
        clock,
        reads=holding.reads,
        give_up=holding.end,
    )
    found.sit(seat)
    return found


def linli() -> list[str]:
    """The command that starts a supervised process. -P: the folder it is started in is not searched."""
    return [sys.executable, "-P", "-m", "cli.main"]
