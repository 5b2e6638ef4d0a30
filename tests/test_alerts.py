"""The life of an alert: its table, its timers, its manners."""

from typing import get_args

import pytest

from events.alerts import LIFE, Alert, Alerts, Evidence, Signal, State, step
from events.errors import IllegalTransition
from events.events import AlertCleared, AlertRaised, AlertUpdated
from events.media import TICKS
from events.scene import Draft, Naming, Scene

BOX = (0.1, 0.1, 0.2, 0.3)
ELSEWHERE = (0.5, 0.1, 0.6, 0.3)


def alert(state: State) -> Alert:
    return Alert(
        key=1,
        epoch=1,
        occurrence=0,
        since=0,
        since_us=0,
        last=0,
        last_us=0,
        label="person",
        tracks=(1,),
        box=BOX,
        detail={},
        state=state,
    )


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("signal", get_args(Signal))
def test_what_the_table_does_not_have_is_refused_and_changes_nothing(state: State, signal: Signal) -> None:
    subject = alert(state)
    if (state, signal) in LIFE:
        assert step(subject, signal) == LIFE[state, signal][1]
        assert subject.state == LIFE[state, signal][0]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} cannot {signal}"):
            step(subject, signal)
        assert subject.state == state


def test_every_life_ends_and_nothing_is_cleared_that_was_not_raised() -> None:
    published = {state: phase for (_, _), (state, phase) in LIFE.items() if phase == "raised"}
    assert published == {"open": "raised"}
    assert not any(state == "closed" for state, _ in LIFE)
    for state in ("waiting", "open", "fading"):
        assert LIFE[state, "stop"] == ("closed", None if state == "waiting" else "cleared")


class Life:
    """One rule's alerts, driven second by second."""

    def __init__(self, need_s: float = 3, clear_s: float = 5) -> None:
        self.drafts: list[Draft] = []
        self.alerts = Alerts(
            Naming("town", "gate", "rule"), "loitering", "minor", (need_s, clear_s), self.drafts
        )
        self.t = 0
        self.since = (0, 0)

    def second(
        self, holds: bool, tracks: tuple[int, ...] = (1,), box: tuple[float, float, float, float] = BOX
    ) -> None:
        scene = Scene(1, self.t * TICKS, self.t * TICKS, self.t * 1_000_000, (100, 100))
        if holds:
            if 1 not in self.alerts.state.alerts:
                self.since = (scene.watched, scene.capture_us)
            shown = Evidence("person", tracks, box, {"dwell_s": float(self.t)})
            self.alerts.holds(1, self.since, shown, scene)
        else:
            self.alerts.lapses(1, "left")
        self.alerts.sweep(scene.watched)
        self.t += 1

    def kinds(self) -> list[str]:
        return [type(draft.data).__name__ for draft in self.drafts]


def test_it_waits_is_raised_once_and_is_cleared_when_it_was_over_for_long_enough() -> None:
    life = Life()
    for _ in range(3):
        life.second(True)
    assert life.kinds() == []
    for _ in range(30):
        life.second(True)
    assert life.kinds() == ["AlertRaised"], "nothing changed, nothing more is said"
    for _ in range(4):
        life.second(False)
    assert life.kinds() == ["AlertRaised"]
    life.second(False)
    assert life.kinds() == ["AlertRaised", "AlertCleared"]
    raised, cleared = (draft.data for draft in life.drafts)
    assert isinstance(raised, AlertRaised)
    assert isinstance(cleared, AlertCleared)
    assert raised.alert == cleared.alert
    assert (raised.since_us, cleared.until_us, cleared.reason) == (0, 32_000_000, "left")


def test_a_short_lapse_does_not_clear_it() -> None:
    life = Life()
    for n in range(60):
        life.second(n % 4 != 3)
    assert life.kinds() == [], "each lapse of the condition starts the wait anew"
    for _ in range(4):
        life.second(True)
    for n in range(60):
        life.second(n % 5 == 4)
    assert life.kinds() == ["AlertRaised"]


def test_updates_are_rate_limited_and_only_of_changes() -> None:
    life = Life()
    for n in range(40):
        life.second(True, tracks=(n,))
    assert life.kinds() == ["AlertRaised", *["AlertUpdated"] * 3], "at most each 10 s"
    for _ in range(40):
        life.second(True, tracks=(39,))
    assert life.kinds().count("AlertUpdated") == 4, "the last change is told, then there is silence"
    for _ in range(5):
        life.second(True, tracks=(39,), box=ELSEWHERE)
    assert life.kinds().count("AlertUpdated") == 5
    updates = [draft.data for draft in life.drafts if isinstance(draft.data, AlertUpdated)]
    assert updates[-1].box == ELSEWHERE


def test_a_second_alert_for_the_same_key_is_another_one() -> None:
    life = Life()
    for _ in range(2):
        for _ in range(5):
            life.second(True)
        for _ in range(6):
            life.second(False)
    assert life.kinds() == ["AlertRaised", "AlertCleared"] * 2
    assert len({draft.id for draft in life.drafts}) == 4
    assert len({getattr(draft.data, "alert", "") for draft in life.drafts}) == 2


def test_alerts_of_one_key_that_began_at_the_same_capture_time_differ() -> None:
    life = Life(need_s=0)
    life.second(True)
    life.alerts.stop(1, "left", 0)
    life.t = 0  # the clock was set back
    life.second(True)
    assert life.kinds() == ["AlertRaised", "AlertCleared", "AlertRaised"]
    assert len({draft.id for draft in life.drafts}) == 3


def test_stopping_says_why_and_says_nothing_of_what_was_never_raised() -> None:
    life = Life()
    life.second(True)
    life.alerts.stop_all("stream-ended", 0)
    assert life.kinds() == []
    life = Life(need_s=0)
    life.second(True)
    life.alerts.stop_all("stream-ended", 0)
    last = life.drafts[-1].data
    assert isinstance(last, AlertCleared)
    assert last.reason == "stream-ended"
    assert life.alerts.state.alerts == {}
