"""Replay: the same bytes as live, and how many times faster than real time.

* `as_seen`: a site of busy and quiet cameras runs for a while over real RTSP; each camera's stored footage
  is replayed and compared with the journal event by event, byte by byte.
* `times_real_time` is that of the replay alone, held to one core; the goal is on the quiet 1080p camera.

    python -m benchmarks.replay --json [--seconds 30]
"""

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import Missing, add_json_flag, run, say
from benchmarks.rigs import MAIN, SUB, busy_clips, quiet_clip
from testbed.rtsp import GstServer, Mount, ServerMissing

GOAL = (
    "as-seen replay gives byte-identical events; quiet 1080p footage at least 20 times real time on one core"
)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    return run(partial(measure, args.seconds), GOAL, args.json)


def measure(seconds: float) -> dict[str, Any]:
    """Run, replay, compare."""
    cameras = as_seen(seconds)
    identical = all(c["missing"] == c["extra"] == 0 and c["same"] > 0 for c in cameras.values())
    quiet = cameras["large"]["times_real_time"]
    return {"as_seen": cameras, "identical": identical, "reached": identical and quiet >= 20}


def as_seen(seconds: float) -> dict[str, dict[str, float]]:
    """Run a site, replay each camera; what `linli replay` prints."""
    sub, _ = busy_clips()
    clips = {"busy": (sub, "full"), "lazy": (sub, "lazy"), "quiet": (quiet_clip("quiet-360p", SUB), "lazy")}
    clips["large"] = (quiet_clip("quiet-1080p", MAIN), "lazy")
    try:
        server = GstServer({name: Mount(clip) for name, (clip, _) in clips.items()}).__enter__()
    except ServerMissing as error:
        raise Missing(str(error)) from None
    with TemporaryDirectory(prefix="linli-bench-") as folder:
        site = Path(folder) / "site.toml"
        text = '[site]\nid = "bench"\n[recording]\nsegment_s = 10\n[analysis]\ninterval_s = 10\n'
        text += "[console]\nenabled = false\n"
        for name, (_, decode) in clips.items():
            text += f'[[camera]]\nid = "{name}"\nurl = "{server.url(name)}"\ndecode = "{decode}"\n'
            text += '[[camera.rules]]\nkind = "line"\nname = "across"\npoints = [[0.5, 0.0], [0.5, 1.0]]\n'
            text += '[[camera.rules]]\nkind = "intrusion"\nname = "inside"\n'
        site.write_text(text)
        say(f"a site of {len(clips)} cameras for {seconds:.0f} s")
        linli("run", site, "--for", str(seconds + 8))
        server.close()
        return {name: json.loads(linli("replay", site, "--camera", name, "--json")) for name in clips}


def linli(*args: str | Path) -> str:
    """The last line that a command of ours prints."""
    command = [sys.executable, "-m", "cli.main", *map(str, args)]
    one_core = (lambda: os.sched_setaffinity(0, {0})) if args[0] == "replay" else None
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        preexec_fn=one_core,
    )
    return done.stdout.strip().rsplit("\n", 1)[-1]


if __name__ == "__main__":
    raise SystemExit(main())
