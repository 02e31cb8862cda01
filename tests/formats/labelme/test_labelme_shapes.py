"""What Labelme's shapes cover, judged by pycocotools, Pillow, arithmetic, and Labelme's own exports."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from pycocotools import mask as coco_mask

import segdata
from segdata.formats.contract import ReadOptions
from tests.helpers import made
from tests.helpers.compare import compare
from tests.helpers.samples import SAMPLES, needs_samples

WIDTH, HEIGHT = made.WIDTH, made.HEIGHT


def polygons(*rings: list[float], size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    encoded = coco_mask.merge(coco_mask.frPyObjects(list(rings), *size))
    return np.asarray(coco_mask.decode(encoded), bool)


def objects(sample: Any) -> list[tuple[str, np.ndarray]]:
    instances = sample.instances
    return [
        (sample.labels[int(category)].name, instances.masks[index].astype(bool))
        for index, category in enumerate(instances.category)
    ]


def test_shapes_of_every_type_are_drawn(tmp_path: Path) -> None:
    sample = segdata.read(made.labelme(tmp_path / "source"))[0]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    octagon = np.zeros((HEIGHT, WIDTH), bool)
    octagon[20:26, 14:23] = True
    octagon[20, 14] = octagon[23, 18] = False
    expected = [
        ("cat, wild", polygons([2.5, 3.25, 12, 3, 9.75, 14.5], [2, 18, 12, 18, 12, 26, 2, 26])),
        ("dog", (x > 20.5) & (x < 30) & (y > 4) & (y < 20)),
        ("dog", (x - 33) ** 2 + (y - 10) ** 2 <= 2**2 + 3.5**2),
        ("dog", octagon),
    ]
    actual = objects(sample)
    assert [name for name, _ in actual] == [name for name, _ in expected]
    for (_, mask), (_, truth) in zip(actual, expected, strict=True):
        assert np.array_equal(mask, truth)
    assert sample.semantic is None


def test_labels_have_the_order_of_their_list_or_of_the_alphabet(tmp_path: Path) -> None:
    listed = segdata.read(made.labelme_splits(tmp_path / "splits")).labels
    assert [(item.name, item.id) for item in listed.categories] == [("_background_", 0), ("cat", 1), ("dog", 2)]
    sorted_ones = segdata.read(made.labelme(tmp_path / "plain")).labels
    assert [(item.name, item.id) for item in sorted_ones.categories] == [
        ("cat, wild", 1),
        ("dog", 2),
        ("eye", 3),
        ("leash", 4),
    ]


def test_later_shapes_hide_earlier_ones_in_label_maps(tmp_path: Path) -> None:
    folder = segdata.read(made.labelme_splits(tmp_path / "splits"))
    train, val = folder
    assert {name: list(members) for name, members in folder.splits.items()} == {"train": [0], "val": [1]}
    cat = np.zeros((HEIGHT, WIDTH), np.uint8)
    cat[2:20, 2:30] = 1
    expected = cat.copy()
    expected[10:28, 10:20] = 255
    expected[4:8, 4:8] = 0
    assert train.semantic is not None and np.array_equal(train.semantic, expected)
    below = cat.copy()
    below[20:28, 10:20] = 255
    assert val.semantic is not None and np.array_equal(val.semantic, below)
    assert [name for name, _ in objects(train)] == ["cat"]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_shapes_of_the_upright_picture_lie_where_they_lie_on_the_stored_one(orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[3:9, 5:25] = 255
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(buffer, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue()))))[:, :, 0] > 0
    rows, columns = np.nonzero(upright.any(axis=1))[0], np.nonzero(upright.any(axis=0))[0]
    x0, x1, y0, y1 = columns[0].item(), columns[-1].item(), rows[0].item(), rows[-1].item()
    mask = made.labelme_mask(upright[y0 : y1 + 1, x0 : x1 + 1])
    shapes = [
        made.labelme_shape("box", [[x0, y0], [x1 + 1, y1 + 1]], "rectangle"),
        made.labelme_shape("box", [[x0, y0], [x1 + 1, y0], [x1 + 1, y1 + 1], [x0, y1 + 1]]),
        made.labelme_shape("box", [[float(x0), float(y0)], [float(x1), float(y1)]], "mask", mask=mask),
        made.labelme_shape("odd", [[0.1, 0.2], [7.3, 1.7], [3.9, 5.1]]),
    ]
    height, width = upright.shape
    document = made.labelme_document("a.png", shapes, imageHeight=height, imageWidth=width)
    made.put(tmp_path / "source/a.png", buffer.getvalue())
    made.put(tmp_path / "source/a.json", document)
    pack = segdata.convert(tmp_path / "source", tmp_path / "pack")
    assert any("turned into the image as stored" in kind for kind in pack.problems["remarks"])
    sample = segdata.open(tmp_path / "pack")[0]
    assert (sample.height, sample.width) == (HEIGHT, WIDTH)
    for index in range(3):
        assert np.array_equal(sample.instances.masks[index] > 0, stored[:, :, 0] > 0)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="labelme")
    assert compare("labelme", tmp_path / "source", tmp_path / "back") == []
    # as from another format: written for the upright picture again
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco")
    report = segdata.convert(tmp_path / "coco", tmp_path / "again", to="labelme", allow_loss=True)
    assert any("written for the upright picture" in kind for kind in report.problems["remarks"])
    written = json.loads((tmp_path / "again/a.json").read_bytes())
    assert (written["imageHeight"], written["imageWidth"]) == (height, width)
    again = segdata.read(tmp_path / "again")[0]
    assert again.instances.masks == sample.instances.masks


def test_shapes_of_the_stored_image_stay_where_the_size_says_so(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(buffer, "PNG", exif=exif)
    made.put(tmp_path / "a.png", buffer.getvalue())
    shape = made.labelme_shape("box", [[5, 3], [25, 9]], "rectangle")
    made.put(tmp_path / "a.json", made.labelme_document("a.png", [shape]))
    folder = segdata.read(tmp_path)
    mask = folder[0].instances.masks[0]
    assert mask.shape == (HEIGHT, WIDTH) and mask[3:9, 5:25].all() and mask.sum() == 6 * 20
    assert any("as stored" in kind for kind in folder.findings.remarks)


# ---------------------------------------------------------------------- images


def test_an_image_that_is_only_in_its_document_is_read_and_written(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    photo = (source / "photo 2.jpg").read_bytes()
    (source / "photo 2.jpg").unlink()
    report = segdata.convert(source, tmp_path / "pack")
    assert report.problems["remarks"]["image taken from imageData: no file beside"]["count"] == 1
    assert segdata.open(tmp_path / "pack").find("photo 2").encoded == photo
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="labelme")
    assert compare("labelme", source, tmp_path / "back") == []
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco", allow_loss=True)
    assert (tmp_path / "coco/images/photo 2.jpg").read_bytes() == photo
    with pytest.raises(segdata.errors.UsageError, match="inside annotation files"):
        segdata.convert(source, tmp_path / "reference", images="reference")


@pytest.mark.parametrize("written", ["C:\\data\\photo 0.jpg", "/home/me/photo 0.jpg", "../../elsewhere/photo 0.jpg"])
def test_a_path_of_another_machine_means_the_file_beside(written: str, tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    document = json.loads((source / "photo 0.json").read_bytes())
    made.put(source / "photo 0.json", {**document, "imagePath": written})
    folder = segdata.read(source)
    assert folder[0].file == "photo 0.jpg"
    assert folder.findings.remarks[
        "imagePath leads out of the folder: the image of its name beside the document is taken"
    ].examples == ["photo 0.json"]


def test_a_renamed_pair_belongs_together(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    for ending in ("jpg", "json"):
        (source / f"photo 0.{ending}").rename(source / f"new.{ending}")
    assert segdata.read(source).find("new").file == "new.jpg"


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    source = made.labelme(tmp_path / "source")
    (tmp_path / "photos").mkdir()
    for path in source.glob("*.jpg"):
        path.rename(tmp_path / "photos" / path.name)
    (source / "photo 2.json").unlink()
    folder = segdata.read(source, options=ReadOptions(images_dir={"": tmp_path / "photos"}))
    assert [sample.encoded is not None for sample in folder] == [True, True]


# ---------------------------------------------------------------------- Labelme's own exports


@needs_samples
def test_real_label_maps_differ_from_labelme2voc_along_outlines_alone(tmp_path: Path) -> None:
    root = SAMPLES / "formats/labelme/instance_segmentation"
    folder = segdata.read(root)
    assert [sample.key for sample in folder] == ["2011_000003", "2011_000006", "2011_000025"]
    for sample in folder:
        truth = np.asarray(Image.open(root / f"data_dataset_voc/SegmentationClass/{sample.key}.png"))
        assert sample.semantic is not None and set(np.unique(sample.semantic)) == set(np.unique(truth))
        differs = sample.semantic != truth
        assert 0 < differs.mean() < 0.0065
        shapes = json.loads((root / f"data_annotated/{sample.key}.json").read_bytes())["shapes"]
        canvas = Image.new("1", (sample.width, sample.height))
        for shape in shapes:
            points = [tuple(point) for point in shape["points"]]
            ImageDraw.Draw(canvas).line([*points, *points[:2]], fill=1, width=5, joint="curve")
        assert not (differs & ~np.asarray(canvas)).any()


@needs_samples
def test_real_objects_are_those_of_labelme2voc(tmp_path: Path) -> None:
    root = SAMPLES / "formats/labelme/instance_segmentation"
    for sample in segdata.read(root):
        truth = np.asarray(Image.open(root / f"data_dataset_voc/SegmentationObject/{sample.key}.png")).astype(int)
        document = json.loads((root / f"data_annotated/{sample.key}.json").read_bytes())
        groups = [
            (shape["label"], f"alone {n}" if shape["group_id"] is None else shape["group_id"])
            for n, shape in enumerate(document["shapes"])
        ]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups), 1)}  # as labelme2voc counts
        expected = [(label, number) for (label, _), number in numbers.items() if label != "__ignore__"]
        assert [name for name, _ in objects(sample)] == [label for label, _ in expected]
        for (_, mask), (_, number) in zip(objects(sample), expected, strict=True):
            visible = truth == number
            assert (visible & ~mask).sum() <= 0.07 * visible.sum()


@needs_samples
def test_a_real_mask_shape_is_its_png(tmp_path: Path) -> None:
    root = SAMPLES / "formats/labelme/primitives"
    (sample,) = segdata.read(root)
    (octagon,) = [mask for name, mask in objects(sample) if name == "octagon"]
    record = json.loads((root / "primitives.json").read_bytes())["shapes"][-1]
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(record["mask"])))) > 0
    expected = np.zeros((450, 560), bool)
    expected[305:405, 417:517] = crop
    assert np.array_equal(octagon, expected)
    assert [name for name, _ in objects(sample)] == ["rectangle", "circle", "rectangle", "polygon", "octagon"]


@needs_samples
@pytest.mark.parametrize("folder", ["primitives", "instance_segmentation"])
def test_real_documents_come_back(folder: str, tmp_path: Path) -> None:
    source = SAMPLES / "formats/labelme" / folder
    segdata.convert(source, tmp_path / "pack")
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="labelme")
    assert compare("labelme", source, tmp_path / "back", ("data_dataset_*",)) == []
