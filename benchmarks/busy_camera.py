"""A busy camera: what the loop itself costs beside libav's decoding and ONNX Runtime's inference.

People are in the picture at every moment; everything is decoded, about five pictures a second are inferred.
The bare cost, in the same run: libav's demux and decoding of every frame, plus as many bare inferences.
`own_share` is ours without libav's decoding and without inference, to the bare sum.

    python -m benchmarks.busy_camera --json [--seconds 20]
"""

import argparse
from functools import partial
from typing import Any

import msgspec

from benchmarks.common import add_json_flag, run
from benchmarks.rigs import busy_clips, cost
from pipeline.contract import LoopSettings

GOAL = "the loop's own cost (all but libav's decoding and inference) at most 15 % of the bare sum"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    return run(partial(measure, args.seconds), GOAL, args.json)


def measure(seconds: float) -> dict[str, Any]:
    """One sub-stream, one main stream, four sub-streams."""
    full = LoopSettings(mode="full")
    sub, large = busy_clips()
    costs = {
        "sub_1": cost(sub, 1, seconds, full, "all"),
        "main_1": cost(large, 1, seconds, full, "all"),
        "sub_4": cost(sub, 4, seconds, full, "all"),
    }
    shares = {name: c.own_share for name, c in costs.items()}
    return {
        "own_share": shares,
        "costs": {name: msgspec.to_builtins(c) for name, c in costs.items()},
        "reached": max(shares.values()) <= 0.15,
    }


if __name__ == "__main__":
    raise SystemExit(main())
