"""Retention: the plan is right for any index, and a sweep can be cut off anywhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.retention import Hold, Limits, Plan, plan, sized, sweep
from storage.rows import SegmentRow
from tests.clipmaker import MemoryIndex

NOW = 10_000_000_000


def row(n: int, camera: str, start_us: int, length_us: int, size: int, state: str = "closed") -> SegmentRow:
    return SegmentRow(
        id=str(n),
        camera=camera,
        stream="sub",
        epoch=1,
        n=n,
        path=f"{camera}/{n}.mp4",
        state=state,  # type: ignore[arg-type]
        codec="h264",
        width=640,
        height=360,
        first_pts=0,
        last_pts=0,
        start_us=start_us,
        end_us=start_us + length_us,
        bytes=size,
        trace_path=f"{camera}/{n}.trace.jsonl",
    )


cameras = st.sampled_from(["gate", "yard"])
states = st.sampled_from(["closed", "closed", "closed", "recovered", "open"])
spans = st.tuples(st.integers(0, NOW), st.integers(0, NOW // 20))
rows_of = st.lists(st.tuples(cameras, spans, st.integers(0, 1000), states), max_size=30).map(
    lambda items: [row(n, c, s[0], s[1], b, state) for n, (c, s, b, state) in enumerate(items)]
)
holds_of = st.lists(st.builds(lambda c, s: Hold(c, s[0], s[0] + s[1]), cameras, spans), max_size=5)
limits_of = st.builds(
    lambda age, size, reserve: Limits(max_age_s=age, max_bytes=size, reserve_bytes=reserve),
    st.none() | st.floats(1, 10_000),
    st.none() | st.integers(0, 20_000),
    st.integers(0, 20_000),
)


def overlaps(hold: Hold, r: SegmentRow) -> bool:
    return hold.camera == r.camera and hold.from_us <= r.end_us and hold.to_us >= r.start_us


@given(rows_of, st.integers(0, 20_000), limits_of, holds_of)
def test_a_plan_keeps_the_limits_with_the_oldest_and_no_more(
    rows: list[SegmentRow], free: int, limits: Limits, held: list[Hold]
) -> None:
    result = plan(rows, NOW, free, limits, held)
    gone = {r.id for r in result.delete}
    kept = [r for r in rows if r.id not in gone]
    spared = [r for r in rows if r.state == "open" or any(overlaps(h, r) for h in held)]
    assert not gone & {r.id for r in spared}
    assert [r.end_us for r in result.delete] == sorted(r.end_us for r in result.delete)

    oldest = NOW - int(limits.max_age_s * 1e6) if limits.max_age_s is not None else -1
    removable = [r for r in kept if r not in spared]
    assert all(r.end_us >= oldest for r in removable)

    def lacks(freed: int) -> int:
        excess = sum(r.bytes for r in rows) - limits.max_bytes if limits.max_bytes is not None else 0
        return max(excess - freed, limits.reserve_bytes - free - freed, 0)

    freed = sum(r.bytes for r in result.delete)
    assert result.missing_bytes == lacks(freed)
    assert not (result.missing_bytes and removable)  # falls short only when nothing is left to delete
    if removable and gone:  # oldest first, across cameras
        assert max(r.end_us for r in result.delete) <= min(r.end_us for r in removable)
    young = [r for r in result.delete if r.end_us >= oldest]
    if young:  # without the last one it would not have been enough
        assert lacks(freed - young[-1].bytes) > 0


def test_nothing_is_deleted_without_limits() -> None:
    assert plan([row(1, "gate", 0, 1, 10)], NOW, 0, Limits()) == Plan(())


@pytest.mark.parametrize("bad", [{"max_age_s": 0.0}, {"max_bytes": -1}, {"reserve_bytes": -1}])
def test_limits_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Limits(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", range(7))
def test_a_sweep_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MemoryIndex()
    rows = [row(n, "gate", n, 1, 10) for n in range(2)]
    for r in rows:
        for path in (r.path, r.trace_path):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(b"x" * 10)
        index.put_segment(r)
    steps = 0

    class Killed(BaseException):
        pass

    def step() -> None:
        nonlocal steps
        if steps == stop:
            raise Killed
        steps += 1

    unlink, forget = Path.unlink, MemoryIndex.delete_segment
    with monkeypatch.context() as m:
        m.setattr(Path, "unlink", lambda self, missing_ok=False: (step(), unlink(self, missing_ok)))
        m.setattr(MemoryIndex, "delete_segment", lambda self, id: (step(), forget(self, id)))
        try:
            sweep(tmp_path, index, rows)
        except Killed:
            assert stop < 6
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")}
    assert left <= {
        path for r in index.segments() for path in (r.path, r.trace_path)
    }  # no file without a row
    assert sweep(tmp_path, index, index.segments()) == 10 * len([r for r in rows if int(r.id) >= stop // 3])
    assert index.segments() == []
    assert not list(tmp_path.rglob("*.*"))


def test_an_open_segment_counts_with_what_its_file_has_now(tmp_path: Path) -> None:
    rows = [row(0, "gate", 0, 10, 400), row(1, "gate", 10, 0, 0, "open"), row(2, "yard", 10, 0, 0, "open")]
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "1.mp4.part").write_bytes(bytes(700))
    known = sized(tmp_path, rows)
    assert [r.bytes for r in known] == [400, 700, 0]
    limits = Limits(max_bytes=1000)
    assert plan(rows, NOW, 0, limits).delete == ()
    assert plan(known, NOW, 0, limits).delete == (rows[0],)
