"""The end of a supervised process: no abort, and its own exit status, whoever is still at work."""

import subprocess
import sys

import pytest

BUSY = """
import threading, time
import cv2, numpy as np
import sys
from cli.main import leave

def work():
    picture = np.zeros((3000, 3000), np.uint8)
    while True:
        cv2.GaussianBlur(picture, (31, 31), 5)

def command():
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.3)
    print("done")
    {end}

{start}
"""


def run(end: str, start: str = "leave(command)") -> subprocess.CompletedProcess[str]:
    script = BUSY.format(end=end, start=start)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


def test_without_it_a_thread_in_cpp_aborts_the_process() -> None:
    """If this fails, Python or OpenCV has mended it, and `leave` can go."""
    assert run("pass", "command()").returncode < 0


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [("pass", 0, ""), ("sys.exit(2)", 2, ""), ("sys.exit('why')", 1, ""), ("1 / 0", 1, "ZeroDivisionError")],
)
def test_a_process_leaves_with_its_own_status(end: str, code: int, said: str) -> None:
    done = run(end)
    assert done.returncode == code
    assert done.stdout == "done\n"
    assert "terminate called" not in done.stderr
    assert said in done.stderr
