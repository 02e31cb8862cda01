"""Images turned upright by EXIF orientation, with their annotations, against Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import segdata
from tests.helpers import made
from tests.helpers.command import run_segdata

HEIGHT, WIDTH = 30, 40
BOX = (5, 8, 12, 6)  # x, y, width, height in the stored image


def stored(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    pixels = np.random.default_rng(orientation).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def dataset(root: Path, data: bytes, box: tuple[int, ...], size: tuple[int, int]) -> Path:
    x, y, w, h = box
    record = {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": list(box), "area": w * h,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }  # fmt: skip
    made.put(root / "val2017/a.png", data)
    made.put(
        root / "annotations/instances_val2017.json",
        {
            "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
            "annotations": [record],
            "categories": [{"id": 1, "name": "cell"}],
        },
    )
    return root


def upright_mask(image: Image.Image) -> np.ndarray:
    """The stored image's box as a mask, turned by Pillow."""
    mask = Image.new("L", image.size)
    x, y, w, h = BOX
    mask.paste(1, (x, y, x + w, y + h))
    mask.getexif()[0x0112] = image.getexif()[0x0112]
    return np.asarray(ImageOps.exif_transpose(mask))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_masks_and_boxes_are_turned_together(orientation: int, tmp_path: Path) -> None:
    data = stored(orientation)
    image = Image.open(io.BytesIO(data))
    source = dataset(tmp_path / "source", data, BOX, (HEIGHT, WIDTH))
    report = segdata.convert(source, tmp_path / "pack", exif="apply")
    sample = segdata.open(tmp_path / "pack")[0]
    mask = upright_mask(image)
    rows, columns = np.nonzero(mask)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.array_equal(sample.image, np.asarray(ImageOps.exif_transpose(image)))
    assert np.array_equal(sample.instances.masks[0], mask)
    assert sample.instances.bbox[0].tolist() == [x0, y0, x1 - x0, y1 - y0]
    assert sample.instances.polygons[0][0].min(0).tolist() == [x0, y0]
    assert any("applied" in kind for kind in report.problems["remarks"]) == (orientation != 1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_upright_image_stay(orientation: int, tmp_path: Path) -> None:
    data = stored(orientation)
    image = Image.open(io.BytesIO(data))
    source = dataset(tmp_path / "source", data, (5, 8, 6, 12), (WIDTH, HEIGHT))
    assert "--exif apply" in run_segdata("convert", source, tmp_path / "pack").err
    assert run_segdata("convert", source, tmp_path / "pack", "--exif", "apply").code == 0
    sample = segdata.open(tmp_path / "pack")[0]
    assert np.array_equal(sample.image, np.asarray(ImageOps.exif_transpose(image)))
    assert sample.instances.boxes[0].tolist() == [5, 8, 11, 20]


def test_label_maps_are_turned(tmp_path: Path) -> None:
    source = made.camvid_segnet(tmp_path / "source")
    path = sorted((source / "train").glob("*.png"))[0]
    image, labels = Image.open(path), Image.open(source / "trainannot" / path.name)
    exif = Image.Exif()
    exif[0x0112] = 6
    expected = np.asarray(labels.transpose(Image.Transpose.ROTATE_270))
    image.save(path, exif=exif)
    segdata.convert(source, tmp_path / "pack", exif="apply", splits=["train"])
    pack = segdata.open(tmp_path / "pack")
    sample = next(sample for sample in pack if sample.key == path.stem)
    assert sample.semantic is not None and np.array_equal(sample.semantic, expected)
