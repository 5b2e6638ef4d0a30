"""Where a dome looks: settled, moving, unknown, and what must not fool it."""

import json
from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from events.media import TICKS
from events.views import View
from ingest.gate import Luma, shrink
from ingest.presets import SHIFT, same_view, structured
from ingest.registration import Reference, prepared
from ingest.views import HOLD_S, PtzPosition, Views

STEP = TICKS // 5
SIZE = (480, 270)
PLACES = {"gate": (300.0, 250.0), "yard": (1100.0, 700.0), "lane": (1200.0, 260.0)}


@lru_cache(maxsize=1)
def city() -> Luma:
    """A drawn world of walls, windows and kerbs, 1600 x 1000."""
    rng = np.random.default_rng(3)
    world = np.full((1000, 1600), 128, np.uint8)
    for _ in range(900):
        x, y = int(rng.integers(1600)), int(rng.integers(1000))
        w, h = (int(v) for v in rng.integers(8, 120, 2))
        world[y : y + h, x : x + w] = rng.integers(30, 220)
    return cv2.GaussianBlur(world, (0, 0), 1.2)


@lru_cache(maxsize=8)
def grain(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, (SIZE[1], SIZE[0])).astype(np.float32)


def look(x: float, y: float, zoom: float = 1.0, noise: int = 0, gain: float = 1.0) -> Luma:
    """What a dome sees that looks at x, y of the city; `noise` seeds the sensor's."""
    scale = 1 / zoom
    matrix = np.array([[scale, 0, x - scale * SIZE[0] / 2], [0, scale, y - scale * SIZE[1] / 2]], np.float32)
    seen = cv2.warpAffine(city(), matrix, SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    noisy = cv2.addWeighted(seen.astype(np.float32), gain, np.roll(grain(noise % 8), noise, 1), 1, 0)
    return cv2.convertScaleAbs(cv2.max(noisy, 0))


def taught(**more: tuple[float, float]) -> dict[str, list[Luma]]:
    return {name: [look(*place, noise=99)] for name, place in (PLACES | more).items()}


class Camera:
    """Feeds views at 5 pictures a second and keeps what they answer."""

    def __init__(self, views: Views) -> None:
        self.views, self.pts, self.n = views, 0, 0
        self.said: list[View] = []

    def shows(self, picture: Luma, step: int = STEP) -> View | None:
        self.pts += step
        view = self.views.see(self.pts, picture)
        if view is not None:
            self.said.append(view)
        return view

    def rests(self, x: float, y: float, seconds: float, **how: float) -> None:
        for _ in range(round(seconds * 5)):
            self.n += 1
            self.shows(look(x, y, noise=self.n, **how))  # type: ignore[arg-type]


def states(camera: Camera) -> list[str]:
    return [view.preset or view.state for view in camera.said]


def at_gate(views: Views | None = None) -> Camera:
    camera = Camera(views or Views(taught()))
    camera.rests(*PLACES["gate"], 1.4)
    assert states(camera) == ["gate"]
    return camera


def test_a_preset_is_recognised_soon_and_well() -> None:
    camera = at_gate()
    assert camera.said[0].pts <= TICKS
    assert camera.said[0].score > 0.9
    assert camera.views.settled == "gate"


def test_a_tour_is_told_in_order() -> None:
    camera = at_gate()
    x, y = PLACES["gate"]
    for k in range(1, 6):
        camera.shows(look(x + 140 * k, y + 60 * k, noise=1000 + k))
    camera.rests(*PLACES["yard"], 2)
    camera.rests(700, 500, 2.2)
    camera.rests(*PLACES["lane"], 2)
    assert states(camera) == ["gate", "moving", "yard", "moving", "unknown", "moving", "lane"]


@pytest.mark.parametrize(
    ("dx", "dy", "zoom"),
    [(5, 0, 1), (-5, 0, 1), (0, 5, 1), (4, -4, 1), (0, 0, 1.02), (200, 0, 1), (0, 0, 1.3), (0, 0, 0.8)],
)
def test_a_move_shows_at_its_first_picture(dx: float, dy: float, zoom: float) -> None:
    camera = at_gate()
    x, y = PLACES["gate"]
    view = camera.shows(look(x + dx, y + dy, zoom, noise=5))
    assert view is not None
    assert view.state == "moving"
    assert camera.views.settled == ""


@pytest.mark.parametrize("degrees", [1.0, 2.0])
def test_a_slow_pan_is_noticed_within_a_hundredth_of_the_width(degrees: float) -> None:
    camera = at_gate()
    x, y = PLACES["gate"]
    speed = degrees / 60 * SIZE[0]
    for k in range(1, 20):
        if camera.shows(look(x + speed * k / 5, y, noise=k)) is not None:
            break
    assert camera.said[-1].state == "moving"
    assert speed * k / 5 <= 0.01 * SIZE[0]


@pytest.mark.parametrize(("miss", "known"), [(0.004, True), (0.01, True), (0.025, False), (0.12, False)])
def test_a_return_may_miss_by_a_hundredth_and_a_half_of_the_width(miss: float, known: bool) -> None:
    assert 0.01 < SHIFT < 0.025
    camera = Camera(Views(taught()))
    x, y = PLACES["yard"]
    camera.rests(x + miss * SIZE[0], y, 2)
    assert states(camera) == (["yard"] if known else ["unknown"])


def test_without_references_every_still_view_is_unknown() -> None:
    camera = Camera(Views({}))
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["unknown"]


def test_passing_by_slowly_is_not_arriving() -> None:
    camera = Camera(Views(taught()))
    x, y = PLACES["gate"]
    for k in range(-25, 25):
        camera.shows(look(x + 4 * k, y, noise=1000 + k))
    assert states(camera) == ["moving"]


# --- what must not fool it


def bus(picture: Luma, left: int, width: int, seed: int = 0) -> Luma:
    """The picture with something large and textured before it."""
    rng = np.random.default_rng(seed)
    side = cv2.resize(rng.integers(0, 255, (12, 30)).astype(np.uint8), (width, SIZE[1]))
    out = picture.copy()
    a, b = max(0, left), min(SIZE[0], left + width)
    if b > a:
        out[:, a:b] = side[:, a - left : b - left]
    return out


@pytest.mark.parametrize("cover", [0.35, 0.6])
def test_a_bus_that_passes_and_stops_changes_nothing(cover: float) -> None:
    camera = at_gate()
    width = round(cover * SIZE[0])
    for k in range(60):
        left = min(-width + 30 * k, 60) if k < 40 else 60 + 30 * (k - 40)
        camera.shows(bus(look(*PLACES["gate"], noise=k), left, width))
    assert states(camera) == ["gate"]


def test_arriving_behind_a_bus() -> None:
    camera = Camera(Views(taught()))
    for k in range(8):
        camera.shows(bus(look(*PLACES["gate"], noise=k), 80, 190))
    assert states(camera) == ["gate"]


def test_a_covered_view_is_kept_for_a_while_and_known_at_once_afterwards() -> None:
    camera = at_gate()
    for k in range(16):
        camera.shows(bus(look(*PLACES["gate"], noise=k), min(-SIZE[0] + 30 * (k + 1), 0), SIZE[0]))
    for k in range(round((HOLD_S - 4) * 5)):
        camera.shows(bus(look(*PLACES["gate"], noise=k), 0, SIZE[0]))
    assert states(camera) == ["gate"]
    for k in range(40):
        camera.shows(bus(look(*PLACES["gate"], noise=k), 0, SIZE[0]))
    assert states(camera) == ["gate", "unknown"]
    camera.rests(*PLACES["gate"], 3)
    assert states(camera)[-1] == "gate"


def test_a_bus_that_rolls_to_a_halt_right_before_the_camera() -> None:
    camera = at_gate()
    for k in range(60):
        camera.shows(bus(look(*PLACES["gate"], noise=k), round(-SIZE[0] * (1 - k / 60) ** 2), SIZE[0]))
    for k in range(10):
        camera.shows(bus(look(*PLACES["gate"], noise=k), 0, SIZE[0]))
    assert "unknown" not in states(camera)  # it may be taken for a move: nothing shows that could tell
    camera.rests(*PLACES["gate"], 2)
    assert "unknown" not in states(camera)
    assert camera.views.settled == "gate"


def test_a_dome_that_moves_with_what_covers_it() -> None:
    camera = at_gate()
    for k in range(20):
        camera.shows(bus(look(*PLACES["gate"], noise=k), min(-SIZE[0] + 30 * (k + 1), -30), 640))
    assert states(camera) == ["gate"]
    for k in range(4):
        camera.shows(bus(look(*PLACES["gate"], noise=k), -30 - 8 * k, 640))
    assert states(camera) == ["gate", "moving"]


def test_a_dome_that_turns_while_it_is_covered_is_known_at_the_next_preset() -> None:
    camera = at_gate()
    for k in range(20):
        camera.shows(bus(look(*PLACES["gate"], noise=k), min(-SIZE[0] + 30 * (k + 1), 0), SIZE[0]))
    camera.rests(*PLACES["yard"], 2.5)
    assert states(camera) == ["gate", "moving", "yard"]


def test_a_move_while_the_view_is_half_covered_is_seen() -> None:
    camera = at_gate()
    for k in range(10):
        camera.shows(bus(look(*PLACES["gate"], noise=k), -200 + 30 * k, 260))
    assert states(camera) == ["gate"]
    x, y = PLACES["gate"]
    view = camera.shows(bus(look(x + 260, y + 100, noise=3), 100, 260))
    assert view is not None
    assert view.state == "moving"


def test_who_stood_close_and_walks_away_is_no_move() -> None:
    camera = Camera(Views(taught()))
    for k in range(6):
        camera.shows(bus(look(*PLACES["gate"], noise=k), 140, 250, seed=7))
    for k in range(40):  # first by parts of a cell, then away
        camera.shows(bus(look(*PLACES["gate"], noise=k), 140 + round(0.1 * k * k), 250, seed=7))
    assert states(camera) == ["gate"]


def test_exposure_dusk_and_a_lamp() -> None:
    camera = at_gate()
    for k in range(20):
        camera.shows(look(*PLACES["gate"], noise=k, gain=0.55 if k % 2 else 1.2))
    for k in range(120):
        camera.shows(look(*PLACES["gate"], noise=k, gain=1.2 - k * 0.0075))
    glare = np.zeros((SIZE[1], SIZE[0]), np.float32)
    cv2.circle(glare, (310, 150), 90, 255, -1)
    glare = cv2.GaussianBlur(glare, (0, 0), 40)
    for k in range(10):
        dark = look(*PLACES["gate"], noise=k, gain=0.3).astype(np.float32)
        camera.shows(np.clip(dark + glare, 0, 255).astype(np.uint8))
    assert states(camera) == ["gate"]


def test_rain_is_no_move() -> None:
    camera = at_gate()
    rng = np.random.default_rng(5)
    for k in range(25):
        wet = look(*PLACES["gate"], noise=k)
        for x, y in rng.integers(0, (SIZE[0], SIZE[1] - 14), (180, 2)):
            wet[y : y + 14, x] = np.minimum(wet[y : y + 14, x].astype(int) + 70, 255)
        camera.shows(wet)
    assert states(camera) == ["gate"]


def test_a_blank_wall_is_unknown_and_what_comes_after_is_a_move() -> None:
    camera = Camera(Views(taught()))
    rng = np.random.default_rng(1)
    for _ in range(12):
        camera.shows((128 + rng.normal(0, 2, (SIZE[1], SIZE[0]))).astype(np.uint8))
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["unknown", "moving", "gate"]
    assert not structured(np.full((SIZE[1], SIZE[0]), 128, np.uint8))
    assert structured(look(*PLACES["gate"]))


# --- the second witness

AWAY = PtzPosition(pan=0.5, tilt=0.1, zoom=0.2)
HERE = PtzPosition(pan=-0.995, tilt=-0.2, zoom=0.0)


def test_moving_by_its_own_word_suspends_at_once() -> None:
    camera = at_gate()
    camera.views.told(PtzPosition(pan=0, tilt=0, zoom=0, moving=True))
    assert camera.views.settled == ""
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["gate", "moving"]
    camera.views.told(PtzPosition(pan=0, tilt=0, zoom=0))
    camera.rests(*PLACES["gate"], 1)
    assert states(camera) == ["gate", "moving", "gate"]


def test_a_word_that_is_not_repeated_is_forgotten() -> None:
    camera = at_gate()
    camera.views.told(PtzPosition(pan=0, tilt=0, zoom=0, moving=True))
    camera.rests(*PLACES["gate"], 12)
    assert states(camera) == ["gate", "moving", "gate"]


def test_a_view_that_looks_the_same_elsewhere_is_not_recognised() -> None:
    camera = Camera(Views(taught(), {"gate": HERE}))
    camera.views.told(AWAY)
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["unknown"]
    camera.views.told(HERE)
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["unknown", "gate"]
    camera.views.told(AWAY)
    assert camera.views.settled == ""
    camera.rests(*PLACES["gate"], 2)
    assert states(camera) == ["unknown", "gate", "moving", "unknown"]


def test_pan_goes_round() -> None:
    assert HERE.agrees(PtzPosition(pan=0.995, tilt=-0.2, zoom=0.0))
    assert not HERE.agrees(PtzPosition(pan=0.9, tilt=-0.2, zoom=0.0))


# --- order, epochs, snapshots


def test_only_keyframes_while_asleep() -> None:
    camera = Camera(Views(taught()))
    for n in range(3):
        camera.shows(look(*PLACES["gate"], noise=n), step=2 * TICKS)
    assert states(camera) == ["gate"]
    camera.shows(look(*PLACES["yard"], noise=9), step=2 * TICKS)
    camera.shows(look(*PLACES["yard"], noise=10), step=2 * TICKS)
    assert states(camera) == ["gate", "moving", "yard"]


def test_a_picture_that_was_seen_is_passed_over() -> None:
    camera = at_gate()
    assert camera.shows(look(*PLACES["yard"]), step=0) is None
    assert camera.views.settled == "gate"


def test_a_new_epoch_knows_nothing() -> None:
    camera = at_gate()
    camera.views.begin()
    camera.pts = 0
    assert camera.views.settled == ""
    camera.rests(*PLACES["gate"], 1)
    assert states(camera) == ["gate", "gate"]


def story(seed: int) -> Iterator[Luma]:
    """A random tour, picture by picture."""
    rng = np.random.default_rng(seed)
    x, y = PLACES["gate"]
    for _ in range(4):
        for k in range(int(rng.integers(4, 9))):
            yield look(x, y, noise=k)
        tx, ty = list(PLACES.values())[int(rng.integers(3))] if rng.random() < 0.7 else (700, 500)
        for k in range(1, int(rng.integers(2, 5))):
            yield look(x + (tx - x) * k / 5, y + (ty - y) * k / 5, noise=k)
        x, y = tx, ty


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 30))
def test_a_snapshot_continues_bit_for_bit(seed: int, cut: int) -> None:
    whole, first = Views(taught()), Views(taught())
    answers = [whole.see(n * STEP + STEP, picture) for n, picture in enumerate(story(seed))]
    again = []
    for n, picture in enumerate(story(seed)):
        if n == cut:
            state = json.loads(json.dumps(first.snapshot()))
            first = Views(taught())
            first.restore(state)
        again.append(first.see(n * STEP + STEP, picture))
    assert again == answers
    assert first.snapshot() == whole.snapshot()


def test_a_snapshot_of_a_preset_that_is_gone() -> None:
    state = at_gate().views.snapshot()
    views = Views({"yard": [look(*PLACES["yard"])]})
    views.restore(state)
    assert views.settled == ""


def test_a_snapshot_is_small() -> None:
    assert len(json.dumps(at_gate().views.snapshot())) < 25_000


# --- registration itself


@settings(max_examples=12, deadline=None)
@given(
    dx=st.floats(-16, 16),
    dy=st.floats(-16, 16),
    zoom=st.floats(0.98, 1.02),
    gain=st.floats(0.5, 1.2),
)
def test_shift_and_zoom_are_measured_to_a_fraction_of_a_cell(
    dx: float, dy: float, zoom: float, gain: float
) -> None:
    x, y = PLACES["yard"]
    fit = Reference(shrink(look(x, y))).fit(prepared(shrink(look(x - dx, y - dy, zoom, noise=4, gain=gain))))
    assert fit.agree > 0.8
    cells = 160 / SIZE[0] * zoom  # the picture's middle moved by so much, in cells of the zoomed picture
    assert fit.dx == pytest.approx(dx * cells, abs=0.15)
    assert fit.dy == pytest.approx(dy * cells, abs=0.15)
    assert fit.zoom == pytest.approx(zoom, abs=0.003)


def test_pictures_of_other_sizes_are_compared() -> None:
    big = look(*PLACES["yard"])
    little = cv2.resize(big, (320, 180), interpolation=cv2.INTER_AREA)
    assert same_view(little, big) is not None
    assert same_view(little, look(*PLACES["gate"])) is None
