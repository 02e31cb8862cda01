"""Image files that are damaged, disguised or too large, through the real command."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused, remarks_of


def with_image(tmp_path: Path, data: bytes) -> Path:
    source = made.coco(tmp_path / "source")
    made.put(source / "val2017/000000000000.jpg", data)
    return source


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than its data holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def animation() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (4, 4)).save(buffer, "GIF", save_all=True, append_images=[Image.new("P", (4, 4), 3)])
    return buffer.getvalue()


BAD_IMAGES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "JPEG cut": (lambda: made.photo()[:-20], ("JPEG is cut short", "end marker")),
    "PNG cut": (lambda: made.photo(kind="PNG")[:-20], ("PNG is cut short", "IEND")),
    "HTML": (lambda: b"<!doctype html><title>not found</title>", ("HTML",)),
    "empty": (lambda: b"", ("0 bytes",)),
    "GIF": (animation, ("4 × 4", "40 × 30")),
    "WebP": (lambda: b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 20, ("WebP",)),
    "TIFF": (lambda: b"II*\0" + b"\0" * 40, ("TIFF",)),
    "lossless": (lambda: made.photo().replace(b"\xff\xc0", b"\xff\xc3", 1), ("JPEG is lossless",)),
    "hierarchical": (lambda: made.photo().replace(b"\xff\xc0", b"\xff\xc5", 1), ("JPEG is hierarchical",)),
    "turned": (lambda: made.photo(made.HEIGHT, made.WIDTH), ("30 × 40", "40 × 30", "swapped")),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_refused_and_named(name: str, tmp_path: Path) -> None:
    make, texts = BAD_IMAGES[name]
    source = with_image(tmp_path, make())
    refused(source, tmp_path / "pack", 4, "000000000000.jpg", *texts)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3
    assert outcome.document["samples"] == 2


def test_exif_orientation_explains_a_swapped_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (made.HEIGHT, made.WIDTH)).save(buffer, "JPEG", exif=exif)
    refused(with_image(tmp_path, buffer.getvalue()), tmp_path / "pack", 4, "EXIF orientation 6")


def test_exif_orientation_is_never_applied(tmp_path: Path) -> None:
    import segdata

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(io.BytesIO(made.photo())).save(buffer, "JPEG", exif=exif, quality=95)
    segdata.convert(with_image(tmp_path, buffer.getvalue()), tmp_path / "pack")
    assert segdata.open(tmp_path / "pack")[0].image.shape == (made.HEIGHT, made.WIDTH, 3)


def test_damage_inside_an_image_is_found_by_decoding(tmp_path: Path) -> None:
    data = bytearray(made.photo(kind="PNG"))
    middle = data.index(b"IDAT") + 30
    data[middle : middle + 40] = b"\xff" * 40
    source = with_image(tmp_path, bytes(data))
    refused(source, tmp_path / "pack", 4, "000000000000")  # by the checksum of its chunk
    chunk = data.index(b"IDAT")
    end = chunk + 4 + int.from_bytes(data[chunk - 4 : chunk], "big")
    data[end : end + 4] = zlib.crc32(data[chunk:end]).to_bytes(4, "big")
    source = with_image(tmp_path, bytes(data))
    refused(source, tmp_path / "pack", 4, "000000000000", options=("--decode",))
    assert run_segdata("convert", source, tmp_path / "pack").code == 0
    outcome = run_segdata("verify", tmp_path / "pack", "--deep")
    assert outcome.code == 8
    assert "record 0" in outcome.err and "000000000000" in outcome.err


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000)])
def test_bombs_are_refused_before_decoding(size: tuple[int, int], tmp_path: Path) -> None:
    document = made.coco_document()
    document["annotations"] = []
    document["images"][0].update(width=size[0], height=size[1])
    source = tmp_path / "source"
    for number, record in enumerate(document["images"]):
        made.put(source / "val2017" / record["file_name"], bomb(*size) if number == 0 else made.photo(seed=number))
    made.put(source / "annotations/instances_val2017.json", document)
    refused(source, tmp_path / "pack", 11, "larger than the limit", f"{size[0]} × {size[1]}")


@pytest.mark.parametrize("options", [(), ("--decode",)])
def test_a_text_that_grows_is_refused_before_it_does(options: tuple[str, ...], tmp_path: Path) -> None:
    text = b"c\0\0" + zlib.compress(b"x" * (1 << 21))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    photo = made.photo(kind="PNG")
    refused(
        with_image(tmp_path, photo[:33] + chunk + photo[33:]),
        tmp_path / "pack",
        11,
        "zTXt",
        "000000000000",
        options=options,
    )


def test_images_that_are_not_rgb_are_counted_by_kind(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    made.put(source / "val2017/000000000000.jpg", made.photo(mode="L"))
    made.put(source / "val2017/000000000001.jpg", made.photo(mode="CMYK"))
    made.put(source / "val2017/000000000002.jpg", made.photo(kind="PNG", mode="RGBA"))
    remarks = remarks_of(source, tmp_path / "pack")
    assert {kind: count for kind, count in remarks.items() if "image is" in kind} == {
        "image is grey: becomes RGB when it is read": 1,
        "image is CMYK: becomes RGB when it is read": 1,
        "image is RGB with alpha: becomes RGB when it is read": 1,
    }
    assert run_segdata("verify", tmp_path / "pack", "--deep").code == 0


def test_twelve_bit_jpegs_are_named(tmp_path: Path) -> None:
    data = bytearray(made.photo())
    data[data.index(b"\xff\xc0") + 4] = 12
    outcome = run_segdata("convert", with_image(tmp_path, bytes(data)), tmp_path / "pack", "--decode")
    assert outcome.code == 4 and "12-bit" in outcome.err
