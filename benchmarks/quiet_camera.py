"""A quiet camera, recorded and journaled, over real RTSP/TCP: how much more than libav alone?

The bare cost is libav's RTSP demux plus decoding of keyframes, in threads of one process, measured before
and after ours in one run; CPU of the whole process. The picture is a real empty room with sensor noise.

    python -m benchmarks.quiet_camera --json [--seconds 20]
"""

import argparse
from functools import partial
from typing import Any

import msgspec

from benchmarks.common import add_json_flag, run
from benchmarks.rigs import MAIN, SUB, cost, quiet_clip
from pipeline.contract import LoopSettings

GOAL = (
    "at most 1.5 times the bare cost for 640x360@12 GOP 24 and 1080p25 GOP 50; "
    "with 30 streams the cost of one at most 1.15 times that of a single stream"
)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    return run(partial(measure, args.seconds), GOAL, args.json)


def measure(seconds: float) -> dict[str, Any]:
    """One and thirty sub-streams, one and eight main streams."""
    lazy = LoopSettings(mode="lazy")
    sub, large = quiet_clip("quiet-360p", SUB), quiet_clip("quiet-1080p", MAIN)
    costs = {
        "sub_1": cost(sub, 1, 2 * seconds, lazy, "keyframes"),
        "sub_30": cost(sub, 30, seconds, lazy, "keyframes"),
        "main_1": cost(large, 1, 2 * seconds, lazy, "keyframes"),
        "main_8": cost(large, 8, seconds, lazy, "keyframes"),
    }
    scale = costs["sub_30"].ours_ms / costs["sub_1"].ours_ms
    ratios = {name: c.ratio for name, c in costs.items()}
    return {
        "ratios": ratios,
        "thirty_to_one": round(scale, 3),
        "costs": {name: msgspec.to_builtins(c) for name, c in costs.items()},
        "reached": max(ratios.values()) <= 1.5 and scale <= 1.15,
    }


if __name__ == "__main__":
    raise SystemExit(main())
