"""Power cuts, without a plug: what would be on the disk had the power failed at a given moment.

A kill does not test durability, because the kernel still writes what the process left. So a real process
runs with a library preloaded (`powerloss.c`) that writes down every change it makes to the files of a folder,
and every fsync. From that record the folder can be made as a power cut would leave it at any point:

* what was written before a file's last fsync is there; of what was written since, any 512-byte sectors are,
  in any mixture, and a change of size may or may not be;
* a name made, changed or removed is durable when its folder was synced; of the later ones, the first few are.

That is what POSIX promises, and less than most file systems give. Not modelled: a disk that lies about
having written, sectors that tear, and changes made through `mmap` (SQLite's `-shm`, which no reader trusts
after a crash).
"""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<cQQII")


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the record; `op` as listed in powerloss.c."""

    op: str
    inode: int
    offset: int
    path: str
    data: bytes


def build(folder: Path) -> Path | None:
    """The library, compiled into `folder`; None on a machine without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "powerloss.so"
    source = Path(__file__).with_name("powerloss.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def environment(library: Path, root: Path, record: Path) -> dict[str, str]:
    """The environment for a process whose changes below `root` are to be recorded."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "LINLI_POWERLOSS_ROOT": str(root.resolve()),
        "LINLI_POWERLOSS_LOG": str(record),
    }


def read_record(record: Path) -> Iterator[Change]:
    """The entries in order."""
    raw = memoryview(record.read_bytes())
    at = 0
    while at < len(raw):
        op, inode, offset, path_len, data_len = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        path = bytes(raw[at : at + path_len]).decode()
        at += path_len
        yield Change(op.decode(), inode, offset, path, bytes(raw[at : at + data_len]))
        at += data_len


@dataclass(slots=True, eq=False)
class _File:
    """A file's content as the process sees it, what is durable of it, and the changes between the two."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        _apply(self.seen, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytes:
        """The durable content with some of the pending changes."""
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        content = bytearray(self.durable)
        for change in self.pending:
            if change.op == "t":
                if chance.random() < share:
                    _apply(content, change)
                continue
            at, end = change.offset, change.offset + len(change.data)
            while at < end:
                stop = min((at // SECTOR + 1) * SECTOR, end)
                if chance.random() < share:
                    part = change.data[at - change.offset : stop - change.offset]
                    _write(content, at, part)
                at = stop
        return bytes(content)


@dataclass(frozen=True, slots=True, eq=False)
class _Naming:
    """A change of names, and the file it is about where it makes one."""

    change: Change
    file: _File | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Whose syncing makes it durable; the last is the one that gets the name."""
        change = self.change
        paths = (change.path, change.data.decode()) if change.op == "r" else (change.path,)
        return tuple(os.path.dirname(path) for path in paths)

    def carry_out(self, names: "_Names") -> None:
        change = self.change
        if change.op in "cm":
            names[change.path] = self.file
        elif change.op == "u":
            names.pop(change.path, None)
        elif change.path in names:
            file = names.pop(change.path)
            if file is None:
                raise NotImplementedError(f"a folder was renamed: {change.path}")
            names[change.data.decode()] = file


_Names = dict[str, _File | None]
"""Files by path; None: a folder."""


class Disk:
    """A folder under a record of changes: feed it the record, cut the power where you like."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.resolve())
        self._inodes: dict[int, _File] = {}
        self._seen: _Names = {self._root: None}
        self._durable: _Names = {self._root: None}
        self._pending: list[_Naming] = []

    def feed(self, change: Change) -> None:
        """The next entry of the record."""
        if change.op in "wt":
            self._inodes[change.inode].change(change)
        elif change.op == "f":
            self._inodes[change.inode].sync()
        elif change.op == "d":
            for naming in self._pending:
                if change.path in naming.folders:
                    naming.carry_out(self._durable)
            self._pending = [naming for naming in self._pending if change.path not in naming.folders]
        else:
            if change.op == "c":
                self._inodes[change.inode] = _File()
            naming = _Naming(change, self._inodes[change.inode] if change.op == "c" else None)
            naming.carry_out(self._seen)
            self._pending.append(naming)

    def content(self, path: Path) -> bytes:
        """A file as the process sees it; empty if there is none."""
        file = self._seen.get(str(path.resolve()))
        return bytes(file.seen) if file else b""

    def everything(self, target: Path) -> None:
        """The folder as the process sees it, into `target`: what is there if no power is lost."""
        _lay_out(self._root, self._seen, target, lambda file: bytes(file.seen))

    def cut_power(self, target: Path, chance: random.Random) -> None:
        """The folder as a power cut now might leave it, into `target` (which must not exist)."""
        names = dict(self._durable)
        for folder in sorted({naming.folders[-1] for naming in self._pending}):
            mine = [naming for naming in self._pending if naming.folders[-1] == folder]
            for naming in mine[: chance.randint(0, len(mine))]:
                naming.carry_out(names)
        _lay_out(self._root, names, target, lambda file: file.after_cut(chance))


def _lay_out(root: str, names: _Names, target: Path, content: Callable[[_File], bytes]) -> None:
    target.mkdir()
    for path in sorted(names, key=lambda p: p.count("/")):
        if path == root:
            continue
        place = target / os.path.relpath(path, root)
        if not place.parent.is_dir():
            continue  # its folder's own name was lost
        file = names[path]
        if file is None:
            place.mkdir()
        else:
            place.write_bytes(content(file))


def _apply(content: bytearray, change: Change) -> None:
    if change.op == "t":
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
    else:
        _write(content, change.offset, change.data)


def _write(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
