"""The reference pictures of a dome's presets, on disk: `presets/CAMERA/PRESET/TIME.png` and, where the camera
told one, `position.json`.

The pictures are grey and at most 320 pixels across, each the median of about a second: enough to recognise
the place, too little for a face at a dome's usual distance. Who stands there at that moment is in it; teach a
preset while nobody is close. A picture appears whole or not at all.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from events.errors import StorageError
from events.media import rfc3339
from ingest.gate import Luma
from ingest.views import PtzPosition
from storage.database import storage_error
from storage.objects import FolderObjects

ACROSS = 320
"""Pixels across a kept picture."""
MOST = 6
"""Pictures that a preset may have: by day, by night, in snow ..."""
POSITION = "position.json"


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a camera's presets."""

    pictures: Mapping[str, Sequence[Luma]]
    """Of each preset that has some, oldest first: [h, 320] uint8."""
    positions: Mapping[str, PtzPosition]
    """Of those that were learned with a position."""
    digest: str
    """Identifies both; empty if there are none. A camera's events depend on it."""
    damaged: tuple[str, ...] = ()
    """What is wrong with files that cannot be read, and how to mend it: they are left out."""


class References:
    """The folder of references."""

    def __init__(self, root: Path) -> None:
        """`root`: `presets` in the data folder; made when something is learned."""
        self._root = root
        self._objects = FolderObjects(root)

    def load(self, camera: str) -> Learned:
        """All of a camera. A damaged file costs its preset that picture, not the site its start.

        Raises:
            StorageError: a file cannot be read.
        """
        found = hashlib.sha256()
        pictures: dict[str, list[Luma]] = {}
        positions: dict[str, PtzPosition] = {}
        damaged: list[str] = []
        for key in self._objects.keys(f"{camera}/"):
            _, preset, name = key.split("/", 2)
            data = self._objects.get(key) or b""
            try:
                if name == POSITION:
                    positions[preset] = self._position(key, data)
                elif name.endswith(".png"):
                    picture = self._picture(key, data)
                    pictures.setdefault(preset, []).append(picture)
                else:
                    continue
            except StorageError as e:
                damaged.append(str(e))
                continue
            found.update(f"{preset}/{name} {len(data)} ".encode() + data)
        digest = found.hexdigest() if pictures else ""
        kept = {preset: position for preset, position in positions.items() if preset in pictures}
        return Learned(pictures=pictures, positions=kept, digest=digest, damaged=tuple(damaged))

    def add(
        self,
        camera: str,
        preset: str,
        picture: Luma,
        taken_us: int,
        position: PtzPosition | None = None,
        replace: bool = False,
    ) -> Path:
        """Keep a picture of the preset, made small; answers its file.

        Args:
            picture: luma, [h, w].
            taken_us: capture time, microseconds since 1970: the file's name.
            position: where the camera said that it looks; it takes the place of the one before.
            replace: earlier pictures of the preset go, and its position.

        Raises:
            StorageError: the folder cannot be written, or the preset has `MOST` pictures already.
        """
        before = self.files(camera, preset)
        if len(before) >= MOST and not replace:
            raise StorageError(
                f"preset {preset!r} of {camera} has {len(before)} pictures already, which is the most; "
                "learn it with --replace"
            )
        done, data = cv2.imencode(".png", small(picture))
        if not done:
            raise StorageError(f"a picture of {picture.shape} cannot be encoded as PNG")
        name = rfc3339(taken_us).replace(":", "-")
        key = f"{camera}/{preset}/{name}.png"
        self._objects.put(key, data.tobytes())
        if position is not None:
            self._objects.put(f"{camera}/{preset}/{POSITION}", msgspec.json.encode(position))
        elif replace:
            self._objects.delete(f"{camera}/{preset}/{POSITION}")
        if replace:
            for path in before:
                if path != self._objects.path(key):
                    self._objects.delete(path.relative_to(self._root).as_posix())
        return self._objects.path(key)

    def files(self, camera: str, preset: str) -> list[Path]:
        """The preset's pictures, oldest first."""
        keys = self._objects.keys(f"{camera}/{preset}/")
        return [self._objects.path(key) for key in keys if key.endswith(".png")]

    def forget(self, camera: str, preset: str) -> None:
        """Delete what was learned of a preset; nothing happens if nothing was.

        Raises:
            StorageError: it cannot be deleted.
        """
        folder = self._objects.path(f"{camera}/{preset}")
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as e:
            raise storage_error(e, folder) from e

    def _picture(self, key: str, data: bytes) -> Luma:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
        if found is None:
            raise self._damaged(key)
        return np.asarray(found, np.uint8)

    def _position(self, key: str, data: bytes) -> PtzPosition:
        try:
            return msgspec.json.decode(data, type=PtzPosition)
        except msgspec.MsgspecError:
            raise self._damaged(key) from None

    def _damaged(self, key: str) -> StorageError:
        return StorageError(f"{self._objects.path(key)} is damaged; delete it and learn the preset again")


def small(picture: Luma) -> Luma:
    """The picture as it is kept: 320 across at most."""
    height, width = picture.shape
    if width <= ACROSS:
        return picture
    size = ACROSS, max(1, round(ACROSS * height / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
