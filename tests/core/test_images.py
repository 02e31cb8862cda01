"""Pictures of every kind → RGB by the stated rules; label files raw; limits before decoding."""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segdata.core import images, png
from segdata.errors import InvalidImage, SegdataError, Unsafe, UsageError
from tests.helpers import made

RED = (200, 30, 40)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_is_repeated() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    pixels = images.decode(encoded(Image.fromarray(values)))
    assert np.array_equal(pixels, np.repeat(values[:, :, None], 3, axis=2))
    grey = images.decode(encoded(Image.fromarray(values), "JPEG", quality=100))
    assert grey.shape == (3, 4, 3) and np.array_equal(grey[..., 0], grey[..., 2])


def test_sixteen_bits_keep_their_high_byte() -> None:
    values = np.array([[0, 255, 256], [0x1234, 0xFFFF, 0x80FF]], np.uint16)
    assert images.decode(encoded(Image.fromarray(values)))[..., 1].tolist() == [[0, 0, 1], [0x12, 0xFF, 0x80]]


def test_alpha_is_dropped_and_never_blended() -> None:
    image = Image.new("RGBA", (2, 2), (*RED, 3))
    assert images.decode(encoded(image)).tolist() == [[list(RED)] * 2] * 2
    assert images.decode(encoded(Image.new("LA", (1, 1), (77, 0)))).tolist() == [[[77] * 3]]


def test_palettes_are_applied_to_photos_also_with_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert images.decode(encoded(image)).tolist() == [[[0, 0, 0], list(RED)]]
    assert images.decode(encoded(image, transparency=1)).tolist() == [[[0, 0, 0], list(RED)]]


def test_cmyk_is_converted_without_profile() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = images.decode(encoded(image, "JPEG", quality=100))
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 3
    assert images.probe(encoded(image, "JPEG")).color == "CMYK"


def test_progressive_jpegs_decode_and_equal_pillow() -> None:
    data = made.photo(64, 48)
    progressive = encoded(Image.open(io.BytesIO(data)), "JPEG", progressive=True, quality=95)
    for jpeg in (data, progressive):
        assert np.array_equal(images.decode(jpeg), np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


@pytest.mark.parametrize("compress", [png.compress, zlib.compress])
@pytest.mark.parametrize("mode", ["P", "L", "I;16", "RGB", "RGBA", "1"])
def test_label_files_are_read_raw_and_written_back(
    mode: str, compress: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "compress", compress)  # zlib's, where there is no other
    rng = np.random.default_rng(0)
    palette = None
    if mode == "I;16":
        values = rng.integers(0, 65536, (5, 7)).astype(np.uint16)
    elif mode == "1":
        values = rng.integers(0, 2, (5, 7)).astype(np.uint8)
    else:
        values = rng.integers(0, 256, (5, 7, {"RGB": 3, "RGBA": 4}.get(mode, 1)), np.uint8)
        values = values[:, :, 0] if mode in ("P", "L") else values
        palette = bytes(made.voc_palette()) if mode == "P" else None
    data = png.encode_png(values, palette=palette, mode=mode)
    stored = Image.open(io.BytesIO(data))
    assert stored.mode == mode
    assert np.array_equal(np.asarray(stored).astype(values.dtype), values)
    read = png.read_labels(data)
    assert (read.mode, read.palette) == (mode, palette)
    assert np.array_equal(read.values, values)


def test_jpegs_are_no_label_files() -> None:
    with pytest.raises(InvalidImage, match="changes label values"):
        png.read_labels(made.photo())


def test_limits_hold_before_decoding() -> None:
    data = made.photo(40, 30, kind="PNG")
    with pytest.raises(Unsafe, match="40 × 30"):
        images.decode(data, max_pixels=1199)
    with pytest.raises(Unsafe):
        png.read_labels(data, max_pixels=1199)
    assert images.decode(data, max_pixels=1200).shape == (30, 40, 3)


def test_images_above_the_default_limit_are_refused_where_memory_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    side = 8200
    row = zlib.compress(bytes(side + 1) * 50)  # as many rows as it takes to see that more were read
    data = b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in (
            (b"IHDR", side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))),
            (b"IDAT", row),
            (b"IEND", b""),
        )
    )
    monkeypatch.setattr(images, "_free_memory", lambda: 4 * side * side - 1)
    for read in (images.decode, png.read_labels):
        with pytest.raises(Unsafe, match=f"{side} × {side} pixels, {4 * side * side:,} bytes; .* are free"):
            read(b"\x89PNG\r\n\x1a\n" + data, max_pixels=images.MOST_PIXELS)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says how much memory is free")
def test_free_memory_is_some_of_this_machine_s() -> None:
    assert 1 << 24 < images._free_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_no_caller_raises_the_limit_beyond_all_measure() -> None:
    assert images.limit_of(None) == 8192 * 8192
    assert images.limit_of(32768 * 32768) == 32768 * 32768
    for wrong in (0, -1, 32768 * 32768 + 1):
        with pytest.raises(UsageError, match="max_pixels"):
            images.limit_of(wrong)


@given(st.sampled_from(["JPEG", "PNG"]), st.data())
def test_damaged_images_decode_or_give_a_declared_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(made.photo(kind=kind))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        pixels = images.decode(bytes(whole[: cut or None]), max_pixels=10_000)
    except SegdataError:
        return
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
def test_what_is_decoded_may_be_written_to(mode: str) -> None:
    """PyTorch warns of arrays that may not."""
    for kind in ("JPEG",) if mode == "CMYK" else ("PNG", "JPEG") if mode in ("RGB", "L") else ("PNG",):
        assert images.decode(encoded(Image.new(mode, (5, 4)), kind)).flags.writeable


def test_decoding_into_a_buffer_gives_that_buffer_and_no_other_size_fits() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8))
    buffer = np.empty((7, 11, 3), np.uint8)
    jpeg = encoded(image, "JPEG")
    for data in (
        jpeg,
        jpeg + b"more",
        encoded(image),
        encoded(image.convert("CMYK"), "JPEG"),
        encoded(image.convert("L")),
    ):
        assert images.decode(data, out=buffer) is buffer
        assert np.array_equal(buffer, images.decode(data))
        for shape in ((11, 7, 3), (6, 11, 3), (8, 11, 3)):
            with pytest.raises(InvalidImage, match="not of the expected size"):
                images.decode(data, out=np.empty(shape, np.uint8))


@pytest.mark.parametrize("largest, low", [(200, 0), (255, 0), (1023, 2), (4080, 4), (0xFFFF, 8)])
def test_more_than_eight_bits_lose_as_many_as_the_largest_value_has_too_many(largest: int, low: int) -> None:
    values = np.array([[0, largest // 3, largest]], np.uint16)
    assert images.decode(encoded(Image.fromarray(values)))[0, :, 0].tolist() == [0, largest // 3 >> low, largest >> low]


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "GIF"])
def test_rarer_kinds_are_decoded_as_pillow_does(kind: str) -> None:
    photo = Image.open(io.BytesIO(made.photo(kind="PNG")))
    data = encoded(photo, kind, **({"lossless": True} if kind == "WEBP" else {}))
    header = images.probe(data)
    assert (header.codec, header.height, header.width) == (kind.lower(), photo.height, photo.width)
    assert np.array_equal(images.decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    with pytest.raises(InvalidImage):
        images.probe(data[: len(data) // 2])
    with pytest.raises(Unsafe):
        images.decode(data, max_pixels=photo.height * photo.width - 1)


def test_the_first_of_several_frames_counts() -> None:
    red, blue = Image.new("RGB", (4, 3), RED), Image.new("RGB", (4, 3), (0, 0, 200))
    data = encoded(red, "TIFF", save_all=True, append_images=[blue])
    assert images.probe(data).frames == 2
    assert images.decode(data)[0, 0].tolist() == list(RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_in_the_header(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert images.probe(encoded(Image.new("RGB", (4, 3)), kind, exif=exif)).orientation == orientation
