"""The structure of JPEG files: what libjpeg refuses before it decodes is found without decoding."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import pytest
from PIL import Image

from segdata.core import images
from segdata.errors import InvalidImage, SegdataError
from tests.helpers import made


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(made.photo(64, 48, kind="PNG"))).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(data: bytes, marker: int) -> int:
    """Where the content of the first segment of this kind begins."""
    position = 2
    while data[position + 1] != marker:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position + 4


def changed(marker: int, offset: int, value: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = segment(data, marker) + offset
        return data[:at] + bytes([value]) + data[at + 1 :]

    return change


DHT, DQT, SOF, SOS, DRI = 0xC4, 0xDB, 0xC0, 0xDA, 0xDD

BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "three codes of one bit": (changed(DHT, 1, 3), "Huffman"),
    "a table of more codes than follow": (changed(DHT, 9, 255), "Huffman tables that are none"),
    "a table of number 9": (changed(DHT, 0, 9), "Huffman tables that are none"),
    "a difference of 17 bits": (changed(DHT, 17, 17), "not defined, or no code"),
    "a quantisation table of number 7": (changed(DQT, 0, 7), "quantisation table 7"),
    "a quantisation table that is not there": (changed(SOF, 8, 3), "quantisation table 3 is not defined"),
    "a sampling factor of 5": (changed(SOF, 7, 0x51), "sampling factors are 1 … 4"),
    "two components of a frame of three": (changed(SOF, 5, 2), "frame header that is none"),
    "a scan of a component that the frame lacks": (changed(SOS, 1, 77), "components that the frame does not have"),
    "a scan of five components": (changed(SOS, 0, 5), "another length than its components have"),
    "a scan with Huffman table 3": (changed(SOS, 2, 0x33), "Huffman table 0x"),
    "a second frame header": (
        lambda data: (
            data[: segment(data, SOS) - 4]
            + data[segment(data, SOF) - 4 : segment(data, SOF) + 15]
            + data[segment(data, SOS) - 4 :]
        ),
        "a second one",
    ),
    "no scan": (lambda data: data[: segment(data, SOS) - 4] + b"\xff\xd9", "no scan"),
    "nothing behind the tables": (lambda data: data[: segment(data, SOS) - 4], "end marker"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_structure_is_found_without_decoding(name: str) -> None:
    change, text = BROKEN[name]
    data = change(jpeg())
    with pytest.raises(InvalidImage) as error:
        images.probe(data)
    assert text in str(error.value)
    with pytest.raises(OSError, match=r".*"):  # Pillow's libjpeg does not decode it either
        image = Image.open(io.BytesIO(data))
        image.load()


@pytest.mark.parametrize("options", [{}, {"progressive": True, "optimize": True}, {"restart_marker_blocks": 1}])
def test_what_can_be_decoded_is_never_refused(options: dict[str, object]) -> None:
    data = jpeg(**options)
    header = images.probe(data)
    assert (header.height, header.width, header.color, header.bits) == (48, 64, "RGB", 8)
    decoded = refused = 0
    for seed in range(1500):
        random_ = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(random_.choice((1, 1, 3))):
            at = random_.randrange(len(data) if random_.random() < 0.3 else data.find(b"\xff\xda") + 14)
            damaged[at] = random_.choice((0, 1, 2, 3, 17, 255, damaged[at] ^ 1 << random_.randrange(8)))
        try:
            images.decode(bytes(damaged))
            decoded += 1
        except SegdataError:
            refused += 1
            continue
        images.probe(bytes(damaged))
    assert decoded > 300 and refused > 300
