"""Evaluation: scores that can be checked by hand, and a truth of crossings that nobody has to trust."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detections import Crop, Detections
from events.errors import ConfigError, SourceError
from events.observations import Box, Observation, Track
from pipeline.evaluate import count, detect, evaluate, metrics, share, track
from pipeline.truth import Point, Truth, read_truth, true_crossings, ways_of

SHARED = Path(__file__).parents[1].parent / "shared"
ACROSS = ((0.0, 100.0), (200.0, 100.0))
"""From left to right: `in` is downwards."""
W, H, FPS, FRAMES = 320, 240, 10, 60


# --- what truly crosses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "crossed"),
    [
        ([(50, 80), (50, 120)], (1, 0)),
        ([(50, 120), (50, 80)], (0, 1)),
        ([(50, 80), (50, 99), (50, 101), (50, 107), (50, 120)], (1, 0)),
        ([(50, 80), (50, 101), (50, 99), (50, 101), (50, 80)], (0, 0)),
        ([(50, 80), (50, 107)], (0, 0)),
        ([(50, 95), (50, 120)], (0, 0)),
        ([(50, 80), (50, 120), (50, 80), (50, 120)], (2, 1)),
        ([(250, 80), (250, 120)], (0, 0)),
        ([(250, 80), (250, 120), (50, 120), (50, 80)], (0, 1)),
        ([(190, 80), (190, 104), (260, 104), (260, 96), (260, 120)], (1, 0)),
        ([(200, 80), (200, 120)], (1, 0)),
        ([(50, 80)], (0, 0)),
        ([], (0, 0)),
    ],
    ids=[
        "down",
        "up",
        "jitter within the band",
        "turns back on the line",
        "stays within the band",
        "appears within the band",
        "to and fro",
        "past the end",
        "round the end and back over the line",
        "over the line, then to and fro beside its end",
        "over the very end",
        "a single point",
        "nothing",
    ],
)
def test_the_rule(way: list[Point], crossed: tuple[int, int]) -> None:
    assert true_crossings({1: way}, ACROSS) == crossed


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(-50, 250), st.integers(0, 200)), max_size=30),
    st.tuples(st.integers(0, 200), st.integers(0, 200)),
    st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
def test_turning_the_line_round_swaps_in_and_out(way: list[Point], a: Point, b: Point) -> None:
    if a == b:
        return
    a, b = (a[0] + 0.371, a[1] + 0.137), (b[0] + 0.213, b[1] + 0.319)  # no point is exactly on an end
    there = true_crossings({1: way}, (a, b))
    back = true_crossings({1: way}, (b, a))
    assert there == back[::-1]
    assert abs(there[0] - there[1]) <= len(way)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=30))
def test_over_an_endless_line_in_and_out_take_turns(ys: list[int]) -> None:
    into, out = true_crossings({1: [(100.0, float(y)) for y in ys]}, ((-1e5, 100), (1e5, 100)))
    assert abs(into - out) <= 1


# --- reading the truth ------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gt.txt"
    path.write_text(text)
    return path


def test_frames_count_from_0_and_what_is_marked_as_left_out_is_left_out(tmp_path: Path) -> None:
    truth = read_truth(
        written(
            tmp_path,
            "1,7,10,20,30,40,1,-1,-1,-1\n"  # MOT15
            "1,8,10,20,30,40,0,-1,-1,-1\n"
            "\n"
            "3,7,11,20,30,40,1,1,0.8\n"  # MOT16: a pedestrian
            "3,9,11,20,30,40,1,3,0.8\n",  # MOT16: a car
        )
    )
    assert truth == {0: {7: Box(10, 20, 40, 60)}, 2: {7: Box(11, 20, 41, 60)}}
    assert ways_of(truth) == {7: [(25, 60), (26, 60)]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2,3,4,5\n", "line 1"),
        ("1,1,0,0,9,9,1\nframe,id\n", "line 2"),
        ("0,1,0,0,9,9,1\n", "count from 1"),
        ("1,1.5,0,0,9,9,1\n", "whole numbers"),
        ("1,1,0,0,-9,9,1\n", "not a box"),
        ("1,1,nan,0,9,9,1\n", "not a box"),
        ("", "no boxes"),
    ],
)
def test_a_malformed_truth_is_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_truth(written(tmp_path, text))


def test_a_missing_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        read_truth(tmp_path / "nowhere.txt")


# --- scores -----------------------------------------------------------------------------------------------


def observed(frames: Sequence[dict[int, Box]], seen: bool = True) -> dict[int, Observation]:
    return {
        n: Observation(
            pts=n,
            capture_us=0,
            width=W,
            height=H,
            tracks=tuple(Track(ordinal=i, label="person", score=0.9, box=b, seen=seen) for i, b in f.items()),
        )
        for n, f in enumerate(frames)
    }


HERE, THERE = Box(0, 0, 10, 20), Box(100, 0, 110, 20)


def test_scores_by_hand() -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    truth: Truth = {n: {1: HERE, 2: THERE} for n in range(10)}
    perfect = metrics(truth, observed([{5: HERE, 6: THERE}] * 10))
    assert (perfect.hota, perfect.mota, perfect.idf1) == pytest.approx((1, 1, 1))
    assert (perfect.identities, perfect.tracks, perfect.frames) == (2, 2, 10)

    swapped = metrics(truth, observed([{5: HERE, 6: THERE}] * 5 + [{6: HERE, 5: THERE}] * 5))
    assert swapped.id_switches == 2
    assert swapped.mota == pytest.approx(1 - 2 / 20)
    assert swapped.idf1 == pytest.approx(0.5)

    half = metrics(truth, observed([{5: HERE}] * 10))
    assert (half.misses, half.false_positives) == (10, 0)
    assert half.mota == pytest.approx(0.5)
    assert half.idf1 == pytest.approx(2 / 3)

    nothing = metrics(truth, observed([{}] * 10))
    assert (nothing.hota, nothing.mota, nothing.idf1) == (0, 0, 0)


def test_predictions_do_not_count_as_seen() -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    truth: Truth = {n: {1: HERE} for n in range(4)}
    assert metrics(truth, observed([{5: HERE}] * 4, seen=False)).misses == 4


def test_only_the_frames_that_were_analysed_are_scored() -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    truth: Truth = {n: {1: HERE} for n in range(10)}
    every_other = {n: o for n, o in observed([{5: HERE}] * 10).items() if n % 2 == 0}
    assert metrics(truth, every_other).mota == 1


def test_without_trackeval_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackeval.metrics", None)
    with pytest.raises(ConfigError, match="pip install --no-deps 'trackeval"):
        metrics({0: {1: HERE}}, observed([{1: HERE}]))


# --- a clip from end to end -------------------------------------------------------------------------------


class BrightSpots:
    """A real, if simple, detector: what is much brighter than the ground is a person."""

    digest = "0" * 64

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        import cv2

        luma = frame.to_ndarray(format="gray")
        _, _, stats, _ = cv2.connectedComponentsWithStats((luma > 128).astype(np.uint8))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 100]
        n = len(boxes)
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4), np.full(n, 0.9, np.float32), ("person",) * n
        )


def walkers(n: int) -> dict[int, Box]:
    """One goes down on the left, one up on the right and back down again."""
    down = 20 + 2 * n
    up = 160 - 4 * n if n < 30 else 40 + 4 * (n - 30)
    return {1: Box(60, down, 80, down + 50), 2: Box(220, up, 240, up + 50)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=FPS, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        for n in range(FRAMES):
            picture = np.full((H, W, 3), 40, np.uint8)
            for box in walkers(n).values():
                picture[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("fps", "analysed"), [(None, 60), (10.0, 60), (5.0, 30), (4.0, 24), (30.0, 60)])
def test_the_rate_of_analysis(clip: Path, fps: float | None, analysed: int) -> None:
    seen = list(detect(clip, BrightSpots(), fps=fps))
    assert len(seen) == analysed
    assert [s.pts for s in seen] == [s.frame * 9000 for s in seen]
    assert seen[0].size == (W, H)


@pytest.mark.parametrize("fps", [None, 5.0])
def test_a_clip_from_pictures_to_scores(clip: Path, fps: float | None) -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    truth = {n: walkers(n) for n in range(FRAMES)}
    line = ((0.0, 130.0), (320.0, 130.0))
    beside = ((120.0, 130.0), (180.0, 130.0))
    done = []
    result = evaluate(
        clip, truth, BrightSpots(), fps=fps, lines=[line, beside], progress=lambda n, of: done.append((n, of))
    )
    assert result.metrics.hota > 0.8
    assert result.metrics.idf1 > 0.95
    assert result.metrics.id_switches == 0
    assert result.metrics.tracks == 2
    first, second = result.lines
    assert (first.true_in, first.true_out) == (first.counted_in, first.counted_out) == (2, 1)
    assert (second.true, second.off) == (0, 0)
    assert (result.crossing_error, result.crossing_surplus) == (0, 0)
    assert done[-1] == (FRAMES, FRAMES)


def test_classes_that_the_truth_is_not_about_are_left_out(clip: Path) -> None:
    pytest.importorskip("trackeval", reason="TrackEval is not installed")
    truth = {n: walkers(n) for n in range(FRAMES)}
    result = evaluate(clip, truth, BrightSpots(), labels=("car",))
    assert result.metrics.tracks == 0
    assert result.crossing_error is None


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gt\.txt"):
        list(detect(written(tmp_path, "not a video"), BrightSpots()))
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        list(detect(tmp_path / "nowhere.mp4", BrightSpots()))


def test_the_product_counts_as_the_rule_does_on_clean_ways() -> None:
    """Five walk down, one turns back on the line, one passes its end."""
    frames: list[dict[int, Box]] = []
    for n in range(40):
        y = 20.0 + 5 * n
        there = {i: Box(30.0 * i - 5, y - 40, 30.0 * i + 5, y) for i in range(1, 6)}
        back = min(y, 206 - y)
        there[6] = Box(175, back - 40, 185, back)
        there[7] = Box(225, y - 40, 235, y)
        frames.append(there)
    observations = [o for _, o in sorted(observed(frames).items())]
    timed = [
        Observation(pts=n * 18_000, capture_us=0, width=W, height=H, tracks=o.tracks)
        for n, o in enumerate(observations)
    ]
    true = true_crossings(ways_of(dict(enumerate(frames))), ACROSS)
    assert count(timed, [ACROSS]) == [true] == [(5, 0)]


def test_shares_of_nothing_are_unknown() -> None:
    assert share([], "off") is None


def test_the_truth_of_the_shared_clip() -> None:
    path = SHARED / "footage" / "vtest.gt.txt"
    if not path.exists():
        pytest.skip("the PETS ground truth is not on this machine")
    truth = read_truth(path)
    ways = ways_of(truth)
    assert len(ways) == 19
    assert max(truth) == 794
    into, out = true_crossings(ways, ((384.0, 60.0), (384.0, 570.0)))
    assert into + out > 10


def test_tracks_of_nothing() -> None:
    from detectors.tracking import ByteTracker

    assert track([], ByteTracker()) == []
