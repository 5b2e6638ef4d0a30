"""How well duplicates among appeals are found, on a synthetic city of which the truth is known.

    python -m benchmarks.duplicates --json [--scale 0.03]

`linli synth` says which appeals repeat another: the same person by the second channel, a neighbour, or one of
a burst. Linked ones are compared with that. A link between two that the truth keeps apart (the same kind of
trouble at one building within days, by accident) counts as wrong.
"""

import argparse
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from benchmarks.common import add_json_flag, run, say
from city.duplicates import Chain, Said
from desk.synth import City
from desk.synthground import Plan

GOAL = "at least 0.9 of the links right, 0.95 of those found who tried the other channel"
SEED = 7


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--scale", type=float, default=0.03, help="share of the full size")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    return run(lambda: measure(args.scale, args.seed), GOAL, args.json)


def measure(scale: float, seed: int) -> Mapping[str, Any]:
    """Link them all, and compare."""
    city = City(Plan.of(scale), seed)
    said = list(_said(city))
    say(f"{len(said)} appeals")
    of: dict[str, str] = {}
    same: set[str] = set()
    for part in city.table("duplicates"):
        for later, earlier, person in zip(part["reference"], part["of"], part["same_person"], strict=True):
            of[later] = earlier
            if person == "yes":
                same.add(later)

    def first(one: str) -> str:
        while one in of:
            one = of[one]
        return one

    links = {link.case: link.of for link in Chain().links(said)}
    right = {case for case, head in links.items() if first(case) == first(head)}
    precision = len(right) / max(len(links), 1)
    again = len(right & same) / max(len(same), 1)
    return {
        "appeals": len(said),
        "repeats": len(of),
        "links": len(links),
        "precision": round(precision, 3),
        "recall": round(len(right & of.keys()) / max(len(of), 1), 3),
        "recall_same_person": round(again, 3),
        "reached": precision >= 0.9 and again >= 0.95,
    }


def _said(city: City) -> Iterator[Said]:
    for part in city.table("appeals"):
        columns = ("reference", "received", "category", "lon", "lat", "channel", "phone")
        for number, at, category, lon, lat, channel, phone in zip(*(part[c] for c in columns), strict=True):
            yield Said(
                case=number,
                category=category,
                time_us=int(datetime.fromisoformat(at).timestamp()) * 1_000_000,
                place=(float(lon), float(lat)) if lon else None,
                channel=channel,
                caller=phone.encode(),
            )


if __name__ == "__main__":
    raise SystemExit(main())
