"""Decoding on demand gives the pictures that decoding everything gives."""

import zlib
from itertools import pairwise
from types import SimpleNamespace

import av
import numpy as np
import pytest

from events.errors import UnsupportedStream
from ingest.decode import LazyDecoder
from ingest.gate import luma
from ingest.packets import Packet, StreamInfo
from tests.clipmaker import packets_of

Marks = list[tuple[int, int]]
"""Media time and checksum of each picture."""


def marks(frames: list[av.VideoFrame]) -> Marks:
    return [(f.pts or 0, zlib.crc32(np.ascontiguousarray(luma(f)).data)) for f in frames]


def everything(info: StreamInfo, packets: list[Packet]) -> Marks:
    decoder = LazyDecoder(info)
    return marks([f for p in packets for f in decoder.decode(p)] + decoder.drain())


@pytest.mark.parametrize("annexb", [False, True])
@pytest.mark.parametrize("clip", ["plain", "bframes", "hevc"])
def test_pictures_carry_media_time(clips: SimpleNamespace, clip: str, annexb: bool) -> None:
    info, packets = packets_of(getattr(clips, clip), annexb, offset=123_456)
    shown = [pts for pts, _ in everything(info, packets)]
    assert shown == sorted(p.pts for p in packets)
    assert {b - a for a, b in pairwise(shown)} == {9000}


@pytest.mark.parametrize("clip", ["plain", "bframes", "hevc"])
def test_a_lone_keyframe_gives_the_picture_of_full_decoding(clips: SimpleNamespace, clip: str) -> None:
    info, packets = packets_of(getattr(clips, clip), annexb=True)
    full = dict(everything(info, packets))
    decoder = LazyDecoder(info)
    keyframes = [p for p in packets if p.keyframe]
    assert len(keyframes) >= 3
    for packet in keyframes:
        frame = decoder.probe(packet)
        assert frame is not None
        assert marks([frame]) == [(packet.pts, full[packet.pts])]
    assert decoder.frames == len(keyframes)


@pytest.mark.parametrize("clip", ["plain", "bframes", "hevc"])
def test_waking_decodes_the_held_group_as_if_it_had_never_slept(clips: SimpleNamespace, clip: str) -> None:
    info, packets = packets_of(getattr(clips, clip), annexb=True)
    full = everything(info, packets)
    starts = [n for n, p in enumerate(packets) if p.keyframe]
    decoder = LazyDecoder(info)
    for n in starts[:3]:
        decoder.probe(packets[n])
    decoder.reset()
    woken = marks([f for p in packets[starts[2] :] for f in decoder.decode(p)] + decoder.drain())
    assert woken == [m for m in full if m[0] >= packets[starts[2]].pts]


def test_a_probe_in_the_middle_of_decoding_leaves_the_decoder_fresh(clips: SimpleNamespace) -> None:
    info, packets = packets_of(clips.plain, annexb=True)
    full = everything(info, packets)
    decoder = LazyDecoder(info)
    for p in packets[:15]:
        decoder.decode(p)
    assert decoder.probe(packets[20]) is not None
    again = marks([f for p in packets[20:] for f in decoder.decode(p)] + decoder.drain())
    assert again == full[20:]


def test_damaged_packets_are_counted_and_decoding_goes_on(clips: SimpleNamespace) -> None:
    info, packets = packets_of(clips.plain, annexb=True)
    broken = av.Packet(b"\x00\x00\x00\x01\x65" + bytes(range(200)))
    decoder = LazyDecoder(info)
    frames = []
    for n, p in enumerate(packets):
        frames += decoder.decode(Packet(p.pts, p.dts, 0, True, True, 205, broken) if n == 10 else p)
    frames += decoder.drain()
    assert decoder.errors >= 1
    assert marks(frames)[-20:] == everything(info, packets)[-20:]


def test_a_damaged_keyframe_gives_no_picture_and_the_next_one_does(clips: SimpleNamespace) -> None:
    info, packets = packets_of(clips.plain, annexb=True)
    decoder = LazyDecoder(info)
    broken = av.Packet(b"\x00\x00\x00\x01\x65" + bytes(200))
    assert decoder.probe(Packet(0, 0, 0, True, True, 205, broken)) is None
    assert decoder.probe(packets[0]) is not None


def test_the_same_damage_gives_the_same_pictures_each_time(clips: SimpleNamespace) -> None:
    info, packets = packets_of(clips.plain, annexb=True)
    rng = np.random.default_rng(3)
    noisy = []
    for p in packets:
        data = bytearray(bytes(p.av))
        for _ in range(3):
            data[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
        noisy.append(bytes(data))

    def run() -> Marks:
        return everything(
            info,
            [
                Packet(p.pts, p.dts, 0, p.keyframe, False, len(d), av.Packet(d))
                for p, d in zip(packets, noisy, strict=True)
            ],
        )

    first = run()
    assert first != everything(info, packets)
    assert run() == first


def test_an_unknown_codec_is_refused_with_the_mend() -> None:
    info = StreamInfo(codec="nonsense", width=1, height=1, extradata=b"")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedStream, match=r"nonsense.*H\.264"):
        LazyDecoder(info)
