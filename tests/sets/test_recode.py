"""`convert --recode lossless`: PNG photos as QOI in the pack, with equal pixels, and as PNG again in folders."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.core import images
from segdata.core.codecs import qoi
from segdata.errors import InvalidImage, SegdataError, Unsafe, UsageError
from segdata.pack import layout
from tests.helpers import made


def by_hand(pixels: np.ndarray) -> bytes:
    """The QOI file of an image, (H, W, 3), every pixel as a literal (QOI_OP_RGB)."""
    height, width = pixels.shape[:2]
    literals = b"".join(b"\xfe" + bytes(pixel) for pixel in pixels.reshape(-1, 3))
    return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + literals + b"\0" * 7 + b"\1"


PIXELS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def test_a_file_made_by_hand_is_read() -> None:
    assert np.array_equal(images.decode(by_hand(PIXELS)), PIXELS)
    header = images.probe(by_hand(PIXELS))
    assert (header.codec, header.height, header.width, header.kind) == ("qoi", 3, 4, "RGB")


def test_pillow_reads_what_is_written() -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(qoi.encode(PIXELS)))), PIXELS)


@pytest.mark.parametrize("has_library", [True, False])
def test_with_and_without_the_library(has_library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qoi") if has_library else monkeypatch.setattr(qoi, "_library", None)
    assert np.array_equal(qoi.decode(qoi.encode(PIXELS)), PIXELS)
    with_alpha = b"qoif" + struct.pack(">IIBB", 1, 1, 4, 0) + b"\xff\x01\x02\x03\x80" + b"\0" * 7 + b"\1"
    assert qoi.decode(with_alpha).tolist() == [[[1, 2, 3]]]
    with pytest.raises(InvalidImage):
        qoi.decode(by_hand(PIXELS)[:22] + b"\0" * 7 + b"\1")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda data: data[:20], InvalidImage),
        (lambda data: data[:-1], InvalidImage),
        (lambda data: data[:12] + b"\x09" + data[13:], InvalidImage),
        (lambda data: data[:4] + b"\0\0\0\0" + data[8:], InvalidImage),
        (lambda data: data[:4] + b"\0\1\0\0" * 2 + data[12:], Unsafe),
        (lambda data: data[:4] + b"\0\0\0\x40" * 2 + data[12:], InvalidImage),
    ],
)
def test_damage_is_named(damage: Callable[[bytes], bytes], kind: type[SegdataError]) -> None:
    with pytest.raises(kind):
        images.decode(damage(by_hand(PIXELS)))


@pytest.mark.parametrize(("make", "name"), [(made.cityscapes, "cityscapes"), (made.camvid, "camvid")])
def test_frames_are_equal_in_the_pack_and_in_a_folder_again(
    make: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    make(tmp_path / "folder")
    verbatim, recoded = tmp_path / "verbatim", tmp_path / "recoded"
    segdata.convert(tmp_path / "folder", verbatim)
    report = segdata.convert(tmp_path / "folder", recoded, recode="lossless")
    one, other = segdata.open(verbatim), segdata.open(recoded)
    assert set(other.column("image/codec").tolist()) == {layout.CODECS["qoi"]}
    assert report.problems["remarks"]["PNG stored as QOI: equal pixels, not the file's bytes"]["count"] == len(one)
    for before, after in zip(one, other, strict=True):
        assert (before.key, before.file) == (after.key, after.file)
        assert np.array_equal(before.image, after.image)
        assert after.encoded is not None and after.encoded.startswith(b"qoif")
        assert (before.semantic is None) == (after.semantic is None)
    assert segdata.verify(recoded, deep=True).is_good
    segdata.convert(verbatim, tmp_path / "from_verbatim", to=name)
    segdata.convert(recoded, tmp_path / "from_recoded", to=name)
    names = sorted(path.relative_to(tmp_path / "from_verbatim") for path in (tmp_path / "from_verbatim").rglob("*.*"))
    photos = {sample.file for sample in one}
    for path in names:
        first, second = tmp_path / "from_verbatim" / path, tmp_path / "from_recoded" / path
        if str(path) in photos:
            assert second.read_bytes().startswith(b"\x89PNG")
            assert np.array_equal(np.asarray(Image.open(first).convert("RGB")), np.asarray(Image.open(second)))
        elif path.name != ".segdata.json":
            assert first.read_bytes() == second.read_bytes(), path


def test_other_images_stay_as_they_are(tmp_path: Path) -> None:
    buffers = []
    for image, kind in (
        (Image.fromarray(PIXELS), "JPEG"),
        (Image.fromarray(PIXELS[..., 0].copy()), "PNG"),
        (Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256), "PNG"),
        (Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])), "PNG"),
        (Image.fromarray(PIXELS), "BMP"),
    ):
        buffers.append(io.BytesIO())
        image.save(buffers[-1], kind)
    document = made.coco_document(len(buffers))
    root = tmp_path / "coco"
    for record, buffer in zip(document["images"], buffers, strict=True):
        record |= {"width": 4, "height": 3}
        made.put(root / "val2017" / record["file_name"], buffer.getvalue())
    document["annotations"] = []
    made.put(root / "annotations" / "instances_val2017.json", document)
    report = segdata.convert(root, tmp_path / "pack", recode="lossless")
    assert [sample.encoded for sample in segdata.open(tmp_path / "pack")] == [buffer.getvalue() for buffer in buffers]
    remarks = report.problems["remarks"]
    assert sum(item["count"] for kind, item in remarks.items() if kind.startswith("not recoded: ")) == len(buffers)


@pytest.mark.parametrize("options", [{"to": "coco"}, {"images": "reference"}, {"images": "none"}, {"recode": "best"}])
def test_it_is_refused_where_it_means_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    made.cityscapes(tmp_path / "folder")
    with pytest.raises(UsageError):
        segdata.convert(tmp_path / "folder", tmp_path / "out", **{"recode": "lossless", **options})
    assert not (tmp_path / "out").exists()
