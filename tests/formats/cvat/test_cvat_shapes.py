"""What CVAT's shapes cover, judged by pycocotools, arithmetic and a decoder of CVAT's runs that is written here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

import segdata
from segdata.formats.contract import ReadOptions
from tests.helpers import made
from tests.helpers.compare import compare
from tests.helpers.samples import SAMPLES, needs_samples

WIDTH, HEIGHT = made.WIDTH, made.HEIGHT


def decoded(node: ElementTree.Element, height: int, width: int) -> np.ndarray:
    """A `<mask>`: runs of 0, 1, 0 … over the pixels of its box, row by row."""
    left, top, columns, rows = (int(float(node.get(name, ""))) for name in ("left", "top", "width", "height"))
    pixels: list[int] = []
    for number, run in enumerate(node.get("rle", "").split(",")):
        pixels += [number % 2] * int(run)
    pixels += [0] * (rows * columns - len(pixels))
    mask = np.zeros((height, width), bool)
    mask[top : top + rows, left : left + columns] = np.array(pixels).reshape(rows, columns)
    return mask


def polygons(*texts: str) -> np.ndarray:
    rings = [[float(value) for value in text.replace(";", ",").split(",")] for text in texts]
    return np.asarray(coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, HEIGHT, WIDTH))), bool)


def objects(sample: Any) -> list[tuple[str, np.ndarray]]:
    instances = sample.instances
    return [
        (sample.labels[int(category)].name, instances.masks[index].astype(bool))
        for index, category in enumerate(instances.category)
    ]


def test_shapes_of_every_kind_are_drawn(tmp_path: Path) -> None:
    folder = segdata.read(made.cvat(tmp_path / "source"))
    sample = folder.find("ä/one")
    nodes = ElementTree.parse(tmp_path / "source/annotations.xml").getroot()
    first, second = nodes.iter("mask")
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = [
        ("dog", (x > 2) & (x < 12) & (y > 3) & (y < 9)),
        ("dog", (x > 23) & (x < 27) & (y > 7) & (y < 17)),  # turned by 90° around (25, 12)
        ("cat, wild", polygons("2.50,13.25;12.00,13.00;9.75,24.50", "2.0,26.0;12.0,26.0;12.0,29.5;2.0,29.5")),
        ("dog", ((x - 33) / 4.5) ** 2 + ((y - 8) / 2.5) ** 2 <= 1),
        ("dog", decoded(first, HEIGHT, WIDTH)),
        ("dog", decoded(second, HEIGHT, WIDTH)),
    ]
    actual = objects(sample)
    assert [name for name, _ in actual] == [name for name, _ in expected]
    for number, ((_, mask), (_, truth)) in enumerate(zip(actual, expected, strict=True)):
        assert truth.any() and np.array_equal(mask, truth), number
    assert sample.instances.occluded.tolist() == [True, False, False, False, False, False]
    assert sample.instances.bbox[0].tolist() == [2, 3, 10, 6] and np.isnan(sample.instances.bbox[1:]).all()
    assert sample.id == 0 and [item.id for item in folder] == [0, 3, 6]
    remark = folder.findings.remarks["mask with fewer pixels than its box: the rest is outside"]
    assert set(remark.examples) == {"ä/one: mask, child 7"}


def test_an_ellipse_is_turned_clockwise(tmp_path: Path) -> None:
    made.put(tmp_path / "images/a.png", made.photo(kind="PNG"))
    ellipse = '<ellipse label="dog" cx="20" cy="15" rx="10" ry="2" rotation="45"/>'
    made.put(tmp_path / "annotations.xml", made.cvat_document(made.cvat_image(0, "a.png", ellipse)))
    mask = segdata.read(tmp_path)[0].instances.masks[0]
    assert mask[20, 25] and not mask[10, 25]  # right and below: y goes down
    assert abs(int(mask.sum()) - np.pi * 20) < 4


def test_labels_are_those_that_the_document_declares(tmp_path: Path) -> None:
    labels = segdata.read(made.cvat(tmp_path / "source")).labels
    assert [(item.name, item.id, item.color) for item in labels.categories] == [
        ("cat, wild", 1, (255, 0, 16)),
        ("dog", 2, (0, 128, 255)),
        ("body", 3, None),
    ]


def test_subsets_are_splits(tmp_path: Path) -> None:
    folder = segdata.read(made.cvat_subsets(tmp_path / "source"))
    members = {name: [folder.keys[index] for index in indices] for name, indices in folder.splits.items()}
    assert members == {"Train": ["Train/a"], "Validation": ["Validation/a"], "test": ["b"]}
    assert [sample.file for sample in folder] == ["images/Train/a.png", "images/Validation/a.png", "images/b.jpg"]


def test_images_may_lie_beside_or_elsewhere(tmp_path: Path) -> None:
    source = made.cvat_subsets(tmp_path / "source")
    (source / "test.xml").unlink()
    (source / "images").rename(tmp_path / "photos")
    folder = segdata.read(source, options=ReadOptions(images_dir={"": tmp_path / "photos"}))
    assert all(sample.encoded for sample in folder)
    (tmp_path / "photos/Train/a.png").rename(source / "a.png")
    assert segdata.read(source)[0].file == "a.png"


@pytest.mark.parametrize("orientation", range(2, 9))
def test_shapes_of_the_upright_picture_lie_where_they_lie_on_the_stored_one(orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[3:9, 5:25] = 255
    stored[3, 5] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue()))))[:, :, 0] > 0
    rows, columns = np.nonzero(upright.any(axis=1))[0], np.nonzero(upright.any(axis=0))[0]
    x0, x1, y0, y1 = columns[0].item(), columns[-1].item() + 1, rows[0].item(), rows[-1].item() + 1
    crop = upright[y0:y1, x0:x1].reshape(-1)
    edges = [0, *(np.flatnonzero(np.diff(crop.astype(int))) + 1).tolist(), len(crop)]
    runs = ([0] if crop[0] else []) + np.diff(edges).tolist()
    shapes = (
        f'<mask label="dog" rle="{", ".join(map(str, runs))}" left="{x0}" top="{y0}" width="{x1 - x0}" '
        f'height="{y1 - y0}" z_order="0"/><box label="dog" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>'
        '<polygon label="dog" points="0.10,0.20;7.30,1.70;3.90,5.10"/>'
    )
    image = made.cvat_image(4, "a.png", shapes).replace(f'width="{WIDTH}" height="{HEIGHT}">', ">", 1)
    height, width = upright.shape
    image = image.replace('name="a.png"', f'name="a.png" width="{width}" height="{height}"')
    made.put(tmp_path / "source/images/a.png", buffer.getvalue())
    made.put(tmp_path / "source/annotations.xml", made.cvat_document(image))
    segdata.convert(tmp_path / "source", tmp_path / "pack")
    sample = segdata.open(tmp_path / "pack")[0]
    truth = stored[:, :, 0] > 0
    assert np.array_equal(sample.instances.masks[0] > 0, truth)
    box = sample.instances.masks[1] > 0
    assert box[3:9, 5:25].all() and box.sum() == 6 * 20
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cvat")
    assert compare("cvat", tmp_path / "source", tmp_path / "back") == []
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco", allow_loss=True)
    segdata.convert(tmp_path / "coco", tmp_path / "again", to="cvat", allow_loss=True)
    (written,) = ElementTree.parse(tmp_path / "again/annotations.xml").getroot().iter("image")
    assert (written.get("width"), written.get("height")) == (str(width), str(height))
    assert segdata.read(tmp_path / "again")[0].instances.masks == sample.instances.masks


def test_large_documents_are_read_image_by_image(tmp_path: Path) -> None:
    many = [made.cvat_image(number, f"{number}.png", made.CVAT_SHAPES) for number in range(3000)]
    made.put(tmp_path / "images/2999.png", made.photo(kind="PNG"))
    document = made.cvat_document(*many).replace("<annotations>", "<!-- ä -->\n<annotations>")
    made.put(tmp_path / "annotations.xml", b"\xef\xbb\xbf" + document.encode())
    folder = segdata.read(tmp_path)
    assert len(folder) == 3000 and len(folder[2999].instances) == 6


# ---------------------------------------------------------------------- real files


@needs_samples
def test_real_documents_come_back(tmp_path: Path) -> None:
    source = SAMPLES / "formats/cvat_shapes/for_images"
    report = segdata.convert(source, tmp_path / "pack", classes="from-data")
    assert report.samples == 2
    assert segdata.verify(tmp_path / "pack", deep=True).is_good
    pack = segdata.open(tmp_path / "pack")
    assert list(pack.splits) == ["train"]
    (box,) = pack[0].instances.masks.dense()
    expected = np.zeros((8, 8), np.uint8)
    expected[2:4, 0:4] = 1
    assert np.array_equal(box, expected) and pack[0].instances.occluded.tolist() == [True]
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cvat")
    assert compare("cvat", source, tmp_path / "back") == []


TRACKS = """<annotations><version>1.1</version><meta><task><labels><label><name>dog</name></label></labels></task></meta>
<track id="4" label="dog" source="manual">
<box frame="1" outside="0" occluded="1" keyframe="1" xtl="1" ytl="2" xbr="5" ybr="9" z_order="0"></box>
<polygon frame="3" outside="0" occluded="0" keyframe="1" points="1,1;9,1;9,9" z_order="0"></polygon>
<box frame="5" outside="1" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="5" ybr="9" z_order="0"></box>
<box frame="7" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="5" ybr="9" z_order="0"></box>
</track>
<track id="5" label="dog">
<mask frame="3" outside="0" keyframe="1" rle="0, 6" left="10" top="11" width="3" height="2" z_order="0"></mask>
</track></annotations>"""


def test_tracks_are_the_shapes_of_their_frames(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made.put(source / "annotations.xml", TRACKS)
    for number in (1, 2, 3, 5):
        made.put(source / f"images/frame_00000{number}.png", made.photo(kind="PNG", seed=number))
    report = segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    objects = {sample.key: sample.instances for sample in pack}
    assert {key: len(items) for key, items in objects.items()} == {
        "frame_000001": 1, "frame_000003": 2, "frame_000005": 0
    }  # fmt: skip
    assert objects["frame_000001"].bbox.tolist() == [[1, 2, 4, 7]] and objects["frame_000001"].occluded.tolist() == [
        True
    ]
    assert objects["frame_000003"].masks.areas[1] == 6 and objects["frame_000003"].masks[1][11:13, 10:13].all()
    remarks = {kind: item["count"] for kind, item in report.problems["remarks"].items()}
    assert remarks["frames of a video without an image: not read"] == 1
    assert remarks["images of a video without a shape in the document: not read"] == 1
    assert remarks["shapes of tracks that are outside their frame: no objects"] == 1
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cvat")
    assert compare("cvat", source, tmp_path / "back", ["images/frame_000002.png"]) == []


def test_a_shape_without_label_is_kept_and_no_object(tmp_path: Path) -> None:
    source = made.cvat(tmp_path / "source")
    document = source / "annotations.xml"
    text = document.read_text()
    first = text.index("<image ")
    start = text.index(">", first) + 1
    unlabelled = '<polygon label="" points="1.00,2.00;3.00,4.00;6.00,5.00"></polygon>'
    document.write_text(text[:start] + unlabelled + text[start:])
    report = segdata.convert(source, tmp_path / "pack")
    assert report.problems["remarks"]["shape without label: kept, no object"]["count"] == 1
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="cvat")
    assert compare("cvat", source, tmp_path / "back") == []


@needs_samples
def test_real_tracks_and_shapes_without_label_come_back(tmp_path: Path) -> None:
    for name, images in (("for_video", None), ("for_images", 2)):
        source = SAMPLES / "formats/cvat_shapes" / name
        segdata.convert(source, tmp_path / name)
        pack = segdata.open(tmp_path / name)
        assert len(pack) == (images or 2)
        segdata.convert(tmp_path / name, tmp_path / f"{name}_back", to="cvat")
        assert compare("cvat", source, tmp_path / f"{name}_back") == []
