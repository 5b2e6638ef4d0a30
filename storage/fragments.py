"""Reading fragmented MP4 by its boxes: how a segment that is still being written can be followed.

Layout of a segment, guaranteed by `storage/muxer.py` (ISO/IEC 14496-12):

    ftyp moov            the init segment, written and flushed before the first packet
    moof mdat            one fragment, at most `fragment_s` long; begins at a keyframe if one came in time
    moof mdat ...        nothing follows the last fragment, whether the file was closed, cut or is open

Only whole fragments are ever answered, so a reader may run beside the writer, and after a kill.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from events.errors import StorageError

PART = ".part"
"""Suffix of a segment that is being written."""

_HEADER = 8
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}
_NOT_SYNC = 0x10000


def locate(path: Path) -> Path:
    """Where a segment's file is now: `path`, or `path` with `.part` while it is being written.

    Raises:
        StorageError: neither is there.
    """
    part = Path(f"{path}{PART}")
    for candidate in (path, part, path):  # the writer may rename it between two looks
        if candidate.exists():
            return candidate
    raise StorageError(f"footage {path} is gone: deleted by retention or by hand")


def _box(file: BinaryIO, offset: int) -> tuple[bytes, int] | None:
    """Type and whole size of the box at `offset`; None if there is no sound header."""
    file.seek(offset)
    head = file.read(16)
    if len(head) < _HEADER:
        return None
    size, kind = struct.unpack_from(">I4s", head)
    if size == 1 and len(head) == 16:
        size = struct.unpack_from(">Q", head, 8)[0]
    return (kind, size) if size >= _HEADER else None


def _init_length(file: BinaryIO, length: int) -> int:
    """Bytes of ftyp and moov; 0 if they are not whole."""
    end = 0
    for expected in (b"ftyp", b"moov"):
        box = _box(file, end)
        if box is None or box[0] != expected or end + box[1] > length:
            return 0
        end += box[1]
    return end


def _whole(file: BinaryIO, offset: int, length: int, limit: int) -> list[int]:
    """Ends of the whole fragments from `offset` on, until about `limit` bytes."""
    ends: list[int] = []
    start = offset
    while start - offset < limit:
        moof = _box(file, start)
        if moof is None or moof[0] != b"moof":
            break
        mdat = _box(file, start + moof[1])
        if mdat is None or mdat[0] != b"mdat":
            break
        start += moof[1] + mdat[1]
        if start > length:
            break
        ends.append(start)
    return ends


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def init_segment(path: Path) -> bytes:
    """ftyp and moov of the segment at `path`; empty if they are not there yet."""
    with open(path, "rb") as file:
        end = _init_length(file, _length(file))
        file.seek(0)
        return file.read(end)


def fragments(path: Path, offset: int = 0, limit: int = 8 << 20) -> tuple[int, bytes]:
    """Whole fragments from `offset` on: (offset to ask for next, their bytes, possibly none).

    Args:
        offset: the last answer's, or `live_offset`'s, or 0 for the first fragment.
        limit: stop after the fragment that reaches this many bytes.
    """
    with open(path, "rb") as file:
        length = _length(file)
        start = offset or _init_length(file, length)
        if start == 0:
            return 0, b""
        ends = _whole(file, start, length, limit)
        if not ends:
            return start, b""
        file.seek(start)
        return ends[-1], file.read(ends[-1] - start)


def whole_length(path: Path) -> int:
    """Bytes up to the end of the last whole fragment; 0 if there is none."""
    with open(path, "rb") as file:
        length = _length(file)
        start = _init_length(file, length)
        ends = _whole(file, start, length, length) if start else []
        return ends[-1] if ends else 0


def live_offset(path: Path) -> int:
    """Offset of the last whole fragment that begins with a keyframe: where a live view starts.

    0 if there is none yet.
    """
    with open(path, "rb") as file:
        length = _length(file)
        start = _init_length(file, length)
        ends = _whole(file, start, length, length) if start else []
        for begin in reversed([start, *ends[:-1]] if ends else []):
            box = _box(file, begin)
            assert box is not None
            file.seek(begin)
            if _begins_with_keyframe(file.read(box[1])):
                return begin
    return 0


def find_box(data: bytes, *path: bytes) -> bytes:
    """Payload of the first box down `path` (e.g. b"moov", b"trak"); empty if there is none."""
    offset = 0
    while offset + _HEADER <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if size < _HEADER:
            break
        if kind == path[0]:
            payload = data[offset + _HEADER : offset + size]
            return payload if len(path) == 1 else find_box(payload, *path[1:])
        offset += size
    return b""


def _begins_with_keyframe(moof: bytes) -> bool:
    """Whether the fragment's first sample is a sync sample (flags of trun, else of tfhd)."""
    trun = find_box(moof, b"moof", b"traf", b"trun")
    tfhd = find_box(moof, b"moof", b"traf", b"tfhd")
    flags = struct.unpack_from(">I", trun)[0] & 0xFFFFFF
    at = 8 + 4 * bool(flags & 0x1)  # version+flags, sample count, then the data offset if there is one
    if not flags & 0x4:  # no first-sample-flags
        if not flags & 0x400:  # no flags per sample: the track fragment's default
            default = struct.unpack_from(">I", tfhd)[0] & 0xFFFFFF
            skip = 8 * bool(default & 0x1) + 4 * sum(bool(default & bit) for bit in (0x2, 0x8, 0x10))
            return not struct.unpack_from(">I", tfhd, 8 + skip)[0] & _NOT_SYNC if default & 0x20 else True
        at += 4 * sum(bool(flags & bit) for bit in (0x100, 0x200))
    return not struct.unpack_from(">I", trun, at)[0] & _NOT_SYNC


def codec_string(init: bytes) -> str:
    """The `codecs` parameter for Media Source Extensions, e.g. avc1.64001F or hvc1.1.6.L93.B0.

    RFC 6381 for H.264, ISO/IEC 14496-15 annex E for H.265.

    Raises:
        StorageError: no H.264 or H.265 track in these bytes.
    """
    stsd = find_box(init, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    entry = stsd[8:]  # version, flags and entry count go before the sample entry
    kind = entry[4:8]
    boxes = entry[8 + 78 :]  # a visual sample entry's fixed fields are 78 bytes
    if kind in (b"avc1", b"avc3"):
        avcc = find_box(boxes, b"avcC")
        if len(avcc) >= 4:
            return f"{kind.decode()}.{avcc[1:4].hex().upper()}"
    if kind in (b"hvc1", b"hev1"):
        hvcc = find_box(boxes, b"hvcC")
        if len(hvcc) >= 13:
            return f"{kind.decode()}.{_hevc_profile(hvcc)}"
    raise StorageError("no H.264 or H.265 track in this init segment")


def _hevc_profile(hvcc: bytes) -> str:
    space = ("", "A", "B", "C")[hvcc[1] >> 6]
    tier = "H" if hvcc[1] & 0x20 else "L"
    compatibility = int(f"{int.from_bytes(hvcc[2:6], 'big'):032b}"[::-1], 2)  # bit order is reversed
    constraints = hvcc[6:12].rstrip(b"\0")
    parts = [f"{space}{hvcc[1] & 0x1F}", f"{compatibility:X}", f"{tier}{hvcc[12]}"]
    return ".".join(parts + [f"{byte:X}" for byte in constraints])
