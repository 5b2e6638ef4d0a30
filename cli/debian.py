"""One file out of one of Debian's packages: downloaded by apt-get and unpacked without root or installing."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from events.errors import ConfigError

Progress = Callable[[str, float], None]
"""Told what is being done and how much of it is done, 0 to 1."""


def download(package: str, work: Path, progress: Progress) -> Path:
    """A package as a .deb in the folder `work`, by apt-get with the machine's own sources and keys.

    Raises:
        ConfigError: this is no Debian, or the package cannot be had.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ConfigError(f"{package} is a package of Debian, and here is no apt-get")
    # A second try with lists of our own: a machine on which nobody ran `apt-get update` yet has none.
    for own_lists in (False, True):
        options = _own_lists(work, progress) if own_lists else []
        size = _package_size(package, work, options)
        if size and _run_apt(package, options, work, size, progress):
            found = sorted(work.glob(f"{package}_*.deb"))
            if found:
                return found[0]
    raise ConfigError(
        f"apt-get could not download {package} (no root needed); check the network and /etc/apt/sources.list"
    )


def _own_lists(work: Path, progress: Progress) -> list[str]:
    (work / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (work / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        f"-oDir::State::lists={work}/lists",
        f"-oDir::Cache={work}",
        f"-oDir::Cache::archives={work}/archives",
    ]
    progress("updating package lists", 0)
    subprocess.run(["apt-get", *options, "-qq", "update"], capture_output=True, check=False)
    progress("updating package lists", 1)
    return options


def _package_size(package: str, work: Path, options: list[str]) -> int:
    """Bytes of the package by apt's lists; 0 if they do not know it."""
    command = ["apt-get", *options, "-qq", "--print-uris", "download", package]
    shown = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    # 'http://.../opencv-doc_4.6.0_all.deb' opencv-doc_4.6.0_all.deb 95715012 SHA256:...
    fields = shown.stdout.split()
    return int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else 0


def _run_apt(package: str, options: list[str], work: Path, size: int, progress: Progress) -> bool:
    what = f"downloading {package}"
    with subprocess.Popen(
        ["apt-get", "-qq", *options, "download", package],
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as apt:
        while True:
            try:
                code = apt.wait(0.2)
            except subprocess.TimeoutExpired:
                have = sum(f.stat().st_size for f in work.rglob(f"{package}_*") if f.is_file())
                progress(what, min(have / size, 0.99))
                continue
            if code == 0:
                progress(what, 1)
            return code == 0


def extract(package: Path, name: str, to: Path) -> bool:
    """Write the file called `name`, wherever it lies in a .deb, to `to`; False if there is none."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as deb:
        assert deb.stdout is not None
        try:
            with tarfile.open(fileobj=deb.stdout, mode="r|") as tar:
                for member in tar:
                    if member.isfile() and member.name.rsplit("/", 1)[-1] == name:
                        data = tar.extractfile(member)
                        assert data is not None
                        with to.open("wb") as out:
                            shutil.copyfileobj(data, out)
                        return True
        except tarfile.ReadError:
            return False
        finally:
            deb.terminate()
    return False
