"""Health over the ends of epochs and processes: what is raised is cleared by someone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.events import Health
from pipeline.contract import Note
from pipeline.lane import Lane
from pipeline.policy import Unlimited
from pipeline.sink import JournalSink
from storage.journal import Journal
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record

SOURCE = "/town/camera/gate"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    opened = open_site(tmp_path)
    yield opened
    opened.journal.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("sink") / "clip.mp4", 6, visits((15, 40)))


def sink(site: Recorded, resume_pts: int | None = None) -> JournalSink:
    return JournalSink(
        "town",
        "gate",
        "main",
        site.journal,
        site.footage,
        model="",
        settings="",
        clock=site.clock,
        resume_pts=resume_pts,
        raised=site.journal.raised(SOURCE),
    )


def lane(site: Recorded, told: JournalSink) -> Lane:
    return site.make_lane(told, Unlimited())


def say(site: Recorded, told: JournalSink, *whats: str) -> None:
    told.notes([Note(what, "raised", "it is bad") for what in whats], site.clock.wall_us())
    site.journal.flush()


def health(journal: Journal) -> list[tuple[str, str]]:
    journal.flush()
    found = [r.event.data for r in journal.read(0, 999, ("health",))]
    return [(data.what, data.state) for data in found if isinstance(data, Health)]


def test_what_an_epoch_left_raised_is_cleared_by_the_next(site: Recorded, clip: Path) -> None:
    told = sink(site)
    say(site, told, "corrupt", "decode-mode", "shedding")
    record(site, clip, lane=lane(site, told))
    assert health(site.journal)[3:] == [("corrupt", "cleared"), ("decode-mode", "cleared")]
    site.clock.advance(5)
    record(site, clip, lane=lane(site, told))
    assert len(health(site.journal)) == 5  # once
    assert site.journal.raised(SOURCE) == {"shedding": ""}  # of the process: it says itself when that is over


def test_what_an_epoch_cleared_is_not_cleared_again(site: Recorded, clip: Path) -> None:
    told = sink(site)
    say(site, told, "corrupt")
    told.notes([Note("corrupt", "cleared", "well")], site.clock.wall_us())
    record(site, clip, lane=lane(site, told))
    assert health(site.journal) == [("corrupt", "raised"), ("corrupt", "cleared")]


def test_a_new_process_clears_what_the_one_before_left(site: Recorded, clip: Path) -> None:
    say(site, sink(site), "corrupt", "analysis", "shedding", "clock")
    told = sink(site)
    told.restarted({})
    assert health(site.journal)[4:] == [("analysis", "cleared"), ("shedding", "cleared")]
    record(site, clip, lane=lane(site, told))
    assert health(site.journal)[6:] == [("corrupt", "cleared")]
    sink(site).restarted({})
    assert len(health(site.journal)) == 7


def test_what_a_resumed_loop_sees_of_the_picture_is_what_the_journal_says(site: Recorded) -> None:
    """A kill may have come between seeing a fault, or its mending, and saying so."""
    say(site, sink(site), "covered", "turned")
    sink(site).restarted({"turned": "look", "glare": "shade it"})
    assert health(site.journal)[2:] == [("covered", "cleared"), ("glare", "raised")]
    assert set(site.journal.raised(SOURCE)) == {"turned", "glare"}


def test_a_resume_says_nothing_of_health(site: Recorded, clip: Path) -> None:
    say(site, sink(site), "corrupt")
    record(site, clip, lane=lane(site, sink(site, resume_pts=-1)))
    assert health(site.journal) == [("corrupt", "raised")]
