"""`python -m benchmarks [NAME ...]`: all benchmarks, or those named, one JSON line each."""

import subprocess
import sys

NAMES = (
    "quiet_camera",
    "busy_camera",
    "lazy_recall",
    "counting",
    "replay",
    "kill",
    "sensors",
    "anomaly",
    "faces",
    "health",
    "relay",
    "projector",
    "faults",
    "scale",
    "city",
    "duplicates",
)


def main(names: list[str]) -> int:
    """Answers 1 if a benchmark could not run; a goal that was not reached is no failure."""
    failed = 0
    for name in names or NAMES:
        print(f'{{"benchmark": "{name}"}}', flush=True)
        failed |= subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json"], check=False
        ).returncode
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
