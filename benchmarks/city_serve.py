"""What `benchmarks.city` asks a loaded store, as a service does: in a process of its own, for its memory."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from benchmarks.common import say
from desk.synth import City
from storage.city.casequery import CaseQuery
from storage.city.featurereads import Window
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.objects import FolderObjects
from testbed.intake import MASTER

HITS = 10_000


class Where(msgspec.Struct, frozen=True):
    """A store with all that belongs to it."""

    store: str
    """postgresql://... or a file."""
    vault: str
    folder: str
    """Of objects and journal."""

    def open(self) -> CityStore:
        """The store."""
        objects = FolderObjects(Path(self.folder) / "objects")
        return CityStore(place(self.store), objects, Vault(place(self.vault), MASTER))


def place(text: str) -> Path | str:
    """An address as it is, a file as a path."""
    return text if text.startswith("postgresql://") else Path(text)


class Questions(msgspec.Struct, frozen=True):
    """What is asked, drawn beforehand: what drawing needs is no memory of the service."""

    boxes: list[tuple[float, float, float, float]]
    points: list[tuple[float, float]]
    holders: list[str]
    days: tuple[str, str]
    now_us: int


def drawn(city: City, holders: Sequence[str], count: int) -> Questions:
    """Boxes around appeals with as many of them as are asked for (fewer if there are few), and so on."""
    rng = np.random.default_rng(11)
    appeals, ground = city.appeals, city.ground
    places = appeals.place[appeals.placed]
    hits = max(1, min(HITS, len(places) // 3))
    boxes = []
    for centre in places[rng.integers(0, len(places), count)]:
        far = np.abs(places - centre).max(axis=1)
        half = float(np.partition(far, hits)[hits - 1])
        x, y = map(float, centre)
        boxes.append((x - half, y - half, x + half, y + half))
    cells = rng.integers(0, ground.nx * ground.ny, count)
    last = np.datetime64(city.end_day - 1, "D")
    return Questions(
        boxes=boxes,
        points=[(x, y) for x, y in ground.inside(cells, rng.random(count), rng.random(count)).tolist()],
        holders=[holders[n % len(holders)] for n in range(count)],
        days=(str(last - city.plan.days), str(last)),
        now_us=city.end_day * 86_400_000_000,
    )


def serve(where: Where, questions: Questions) -> dict[str, Any]:
    """Ask everything; answers percentiles in milliseconds, and the process's memory."""
    before = psutil.Process().memory_info().rss
    store = where.open()
    cases, features, (first, last) = store.cases, store.features, questions.days

    def appeals(n: int, limit: int) -> int:
        return len(features.items("appeals", Window(bbox=questions.boxes[n]), limit=limit).texts)

    def overdue(n: int) -> int:
        mine = CaseQuery(
            scenario="matter", overdue_at_us=questions.now_us, order="due", holder=questions.holders[n]
        )
        return len(cases.page(mine, limit=50).cases)

    asked: dict[str, Callable[[int], int]] = {
        "bbox": lambda n: appeals(n, HITS),
        "bbox_first_100": lambda n: appeals(n, 100),
        "overdue": overdue,
        "closure_by_town": lambda _: len(cases.closure("appeal", first, last, "town")),
        "closure_by_month": lambda _: len(cases.closure("appeal", first, last, "month")),
        "locate": lambda n: len(features.locate(*questions.points[n])),
    }
    found: dict[str, Any] = {"layers": {layer.name: layer.count for layer in features.layers()}}
    for name, question in asked.items():
        found[name] = _timed(question, len(questions.boxes))
        say(f"  {name}: {found[name]}")
    found["rss_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    found["rss_at_start_mib"] = round(before / 2**20)
    store.close()
    return found


def _timed(question: Callable[[int], int], times: int) -> dict[str, float]:
    got, took, own = [], [], []
    for n in range(times):
        start, busy = time.perf_counter(), time.process_time()
        got.append(question(n))
        took.append((time.perf_counter() - start) * 1e3)
        own.append((time.process_time() - busy) * 1e3)
    half, most = np.percentile(took, (50, 95))
    return {
        "p50_ms": round(float(half), 2),
        "p95_ms": round(float(most), 2),
        "own_p95_ms": round(float(np.percentile(own, 95)), 2),
        "rows": int(np.median(got)),
    }
