"""VOC annotations in the folders of other people: other names, images beside, splits as folders, deeper folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import segdata
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare


def pair(root: Path, xml: str, image: str, name: str = "RBC", seed: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    """An annotation of one object whose place depends on `seed`, and its image."""
    text = made.voc_xml(
        Path(xml).stem,
        made.voc_object(name, (5 + seed, 6, 14 + seed, 12)),
        width=size[0],
        height=size[1],
        segmented=0,
    )
    made.put(root / xml, text)
    kind = "PNG" if image.lower().endswith("png") else "JPEG"
    made.put(root / image, made.photo(*size, seed=seed, kind=kind))


def boxes(path: Path) -> list[list[float]]:
    """x, y, width, height, 0-based, of every object of an XML file, read with ElementTree."""
    corners = [[float(box.findtext(tag, "")) for tag in ("xmin", "ymin", "xmax", "ymax")] for box in
               ElementTree.parse(path).iter("bndbox")]  # fmt: skip
    return [[x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1] for x0, y0, x1, y1 in corners]


def convert(source: Path, target: Path, **options: Any) -> tuple[Any, dict[str, int]]:
    report = segdata.convert(source, target, workers=1, **{"classes": "from-data", **options})
    remarks = {kind: item["count"] for kind, item in report.problems["remarks"].items()}
    return segdata.open(target), {kind: count for kind, count in remarks.items() if "as asked" not in kind}


def check(pack: Any, source: Path, files: dict[str, tuple[str, str]]) -> None:
    """Key → (XML file, image file): boxes and pixels of every sample are theirs."""
    assert sorted(pack.keys) == sorted(files)
    for key, (xml, image) in files.items():
        sample = pack.find(key)
        assert sample.instances.bbox.tolist() == boxes(source / xml)
        assert sample.encoded == (source / image).read_bytes()
        with Image.open(source / image) as picture:
            assert (sample.width, sample.height) == picture.size


def members(pack: Any) -> dict[str, list[str]]:
    return {name: [pack.keys[index] for index in indices] for name, indices in pack.splits.items()}


LAYOUTS: dict[str, tuple[dict[str, tuple[str, str]], dict[str, list[str]]]] = {
    "raccoon": (
        {"a": ("annotations/a.xml", "images/a.jpg"), "b": ("annotations/b.xml", "images/b.JPG")},
        {"all": ["a", "b"]},
    ),
    "capitals": (
        {"a": ("Annotations/a.XML", "Images/a.png"), "b": ("Annotations/b.xml", "Images/b.png")},
        {"all": ["a", "b"]},
    ),
    "beside": ({"a": ("a.xml", "a.jpg"), "b": ("b.xml", "b.jpg")}, {"all": ["a", "b"]}),
    "Roboflow": (
        {"a": ("train/a.xml", "train/a.jpg"), "b": ("valid/b.xml", "valid/b.jpg"), "c": ("test/c.xml", "test/c.jpg")},
        {"train": ["a"], "valid": ["b"], "test": ["c"]},
    ),
    "splits with folders": (
        {
            "a": ("train/Annotations/a.xml", "train/JPEGImages/a.jpg"),
            "b": ("val/Annotations/b.xml", "val/JPEGImages/b.jpg"),
        },
        {"train": ["a"], "val": ["b"]},
    ),
    "splits with folders of other names": (
        {"a": ("train/xmls/a.xml", "train/images/a.jpg"), "b": ("val/xmls/b.xml", "val/images/b.jpg")},
        {"train": ["a"], "val": ["b"]},
    ),
    "one name in two splits": (
        {"train/a": ("train/a.xml", "train/a.jpg"), "test/a": ("test/a.xml", "test/a.jpg")},
        {"train": ["train/a"], "test": ["test/a"]},
    ),
    "deeper": (
        {
            "day/a": ("Annotations/day/a.xml", "JPEGImages/day/a.jpg"),
            "night/a": ("Annotations/night/a.xml", "JPEGImages/night/a.jpg"),
        },
        {"all": ["day/a", "night/a"]},
    ),
    "deeper, splits": (
        {
            "train/a": ("annotations/train/a.xml", "images/train/a.jpg"),
            "val/b": ("annotations/val/b.xml", "images/val/b.jpg"),
        },
        {"train": ["train/a"], "val": ["val/b"]},
    ),
    "annotations deeper than images": (
        {"a": ("annotations/xmls/a.xml", "images/a.jpg"), "b": ("annotations/xmls/b.xml", "images/b.jpg")},
        {"all": ["a", "b"]},
    ),
    "images in folders of splits": (
        {"a": ("annotations/a.xml", "images/train/a.jpg"), "b": ("annotations/b.xml", "images/test/b.jpg")},
        {"train": ["a"], "test": ["b"]},
    ),
    "annotations in folders of splits": (
        {
            "train_annotations/a": ("train_annotations/a.xml", "train_images/a.jpg"),
            "val_annotations/b": ("val_annotations/b.xml", "val_images/b.jpg"),
        },
        {"train": ["train_annotations/a"], "val": ["val_annotations/b"]},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_others_are_read_and_written_again(name: str, tmp_path: Path) -> None:
    files, splits = LAYOUTS[name]
    source = tmp_path / "source"
    for number, (xml, image) in enumerate(files.values()):
        pair(source, xml, image, ("RBC", "WBC")[number % 2], number)
    pack, remarks = convert(source, tmp_path / "pack")
    check(pack, source, files)
    assert members(pack) == splits
    assert [category.name for category in pack.labels.categories] == ["background", "RBC", "WBC"]
    assert sum(remarks.values()) == ("all" in splits), remarks
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="voc", workers=1)
    assert compare("voc", source, tmp_path / "again", ignore=("*.XML",)) == []


def test_lists_count_where_there_are_any(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number, name in enumerate("abc"):
        pair(source, f"annotations/{name}.xml", f"images/{name}.jpg", seed=number)
    made.put(source / "ImageSets/Segmentation/train.txt", "c\na\n")
    made.put(source / "ImageSets/Segmentation/val.txt", "b\n")
    pack, remarks = convert(source, tmp_path / "pack")
    assert members(pack) == {"train": ["c", "a"], "val": ["b"]} and not remarks


def test_images_without_annotation_are_samples_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "a.xml", "a.jpg")
    made.put(source / "b.jpg", made.photo(seed=7))
    pack, _ = convert(source, tmp_path / "pack")
    assert list(pack.keys) == ["a", "b"] and not pack.find("b").has_instances


def test_sizes_tell_which_of_two_folders_holds_the_images(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "annotations/a.xml", "large/a.jpg")
    made.put(source / "small/a.jpg", made.photo(20, 15, 1))
    pack, remarks = convert(source, tmp_path / "pack")
    check(pack, source, {"a": ("annotations/a.xml", "large/a.jpg")})
    assert any("chosen among several" in kind for kind in remarks)


def test_masks_of_the_same_names_are_no_images(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "annotations/xmls/a.xml", "images/a.jpg")
    made.put(source / "annotations/trimaps/a.png", made.png(np.ones((30, 40), np.uint8)))
    pack, _ = convert(source, tmp_path / "pack")
    check(pack, source, {"a": ("annotations/xmls/a.xml", "images/a.jpg")})


@pytest.mark.parametrize("other", ["masks", "small"])
def test_a_folder_that_is_complete_does_not_win_by_that(other: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number, name in enumerate("abc"):
        pair(source, f"annotations/{name}.xml", f"images/{name}.jpg", seed=number)
        if other == "masks":
            made.put(source / f"masks/{name}.png", made.png(np.ones((30, 40), np.uint8)))
        else:
            made.put(source / f"small/{name}.jpg", made.photo(20, 15))
    (source / "images/c.jpg").rename(source / "images/d.jpg")
    pack, _ = convert(source, tmp_path / "pack", on_error="skip")
    assert sorted(pack.keys) == ["a", "b", "d"]
    for name in pack.keys:
        assert pack.find(name).encoded == (source / f"images/{name}.jpg").read_bytes()


def test_two_folders_that_fit_are_refused_and_the_option_leads_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "annotations/a.xml", "images/a.jpg")
    made.put(source / "blurred/a.jpg", made.photo(seed=9))
    outcome = run_segdata("convert", source, tmp_path / "pack", "--classes", "from-data")
    assert outcome.code == 4
    assert "'blurred' and 'images'" in outcome.err and "--images-dir" in outcome.err
    pack, _ = convert(source, tmp_path / "pack", images_dir=source / "images")
    check(pack, source, {"a": ("annotations/a.xml", "images/a.jpg")})


def test_an_image_of_another_name_is_found_by_what_the_annotation_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "annotations/0.xml", "images/0.jpg")
    pair(source, "annotations/1.xml", "images/car.jpg", seed=1)
    xml = source / "annotations/1.xml"
    xml.write_text(xml.read_text().replace("1.jpg", "car.jpg"))
    pack, remarks = convert(source, tmp_path / "pack")
    check(pack, source, {"0": ("annotations/0.xml", "images/0.jpg"), "1": ("annotations/1.xml", "images/car.jpg")})
    assert remarks["image found by <path>, <folder> or <filename>"] == 1


def test_other_xml_is_no_voc(tmp_path: Path) -> None:
    made.put(tmp_path / "source/annotations.xml", "<dataset><image name='a.jpg'/></dataset>")
    made.put(tmp_path / "source/images/a.jpg", made.photo())
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack")
    assert outcome.code == 4 and "no known dataset layout" in outcome.err


def test_a_coco_document_beside_xml_is_still_coco(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    made.put(source / "xml/a.xml", made.voc_xml("a", made.voc_object()))
    assert segdata.convert(source, tmp_path / "pack", workers=1).source_format == "coco"


def test_a_size_that_is_not_said_is_that_of_the_image(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number, name in enumerate("ab"):
        pair(source, f"{name}.xml", f"{name}.jpg", seed=number)
        xml = source / f"{name}.xml"
        before, _, rest = xml.read_text().partition("<size>")
        xml.write_text(before + rest.partition("</size>")[2])
    pack, remarks = convert(source, tmp_path / "pack")
    check(pack, source, {name: (f"{name}.xml", f"{name}.jpg") for name in "ab"})
    assert remarks["annotation without <size>: taken from the mask or image"] == 2


# ---------------------------------------------------------------------- --images-dir


def test_images_elsewhere(tmp_path: Path) -> None:
    source, images = tmp_path / "source", tmp_path / "images"
    for number, name in enumerate("ab"):
        pair(source, f"Annotations/{name}.xml", f"../images/deep/{name}.jpg", seed=number)
    made.put(images / "deep/not_annotated.jpg", made.photo(seed=5))
    pack, _ = convert(source, tmp_path / "pack", images_dir=images)
    check(pack, source, {name: (f"Annotations/{name}.xml", f"../images/deep/{name}.jpg") for name in "ab"})


def test_images_elsewhere_by_split(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    made.put(source / "ImageSets/Segmentation/train.txt", "2007_000001\n")
    made.put(source / "ImageSets/Segmentation/val.txt", "2007_000002\n")
    lists = {"train": ["2007_000001"], "val": ["2007_000002"]}
    for split, keys in lists.items():
        for key in keys:
            made.put(tmp_path / split / f"{key}.jpg", (source / f"JPEGImages/{key}.jpg").read_bytes())
    expected = {path.stem: path.read_bytes() for path in (source / "JPEGImages").iterdir()}
    for path in list((source / "JPEGImages").iterdir()):
        path.unlink()
    given = {split: tmp_path / split for split in lists}
    segdata.convert(source, tmp_path / "pack", images_dir=given, splits=["train", "val"], workers=1)
    assert list(segdata.open(tmp_path / "pack").keys) == ["2007_000001", "2007_000002"]
    assert all(sample.encoded == expected[sample.key] for sample in segdata.open(tmp_path / "pack"))


def test_images_of_split_folders_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    pair(source, "train/a.xml", "train/a.jpg")
    pair(source, "valid/xml/b.xml", "../elsewhere/b.jpg", seed=1)
    made.put(source / "valid/images/other.jpg", made.photo(seed=4))
    pack, _ = convert(source, tmp_path / "pack", images_dir={"valid": tmp_path / "elsewhere"})
    check(pack, source, {"a": ("train/a.xml", "train/a.jpg"), "b": ("valid/xml/b.xml", "../elsewhere/b.jpg")})
    assert members(pack) == {"train": ["a"], "valid": ["b"]}


@pytest.mark.parametrize(
    ("name", "there", "is_like"), [("a", "A_rgb.jpg", True), ("0001", "1.jpg", True), ("cat", "catalogue.jpg", False)]
)
def test_what_lies_there_instead_is_said(name: str, there: str, is_like: bool, tmp_path: Path) -> None:
    pair(tmp_path / "source", f"Annotations/{name}.xml", f"../images/{there}")
    made.put(tmp_path / "images/zebra.jpg", made.photo())
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack", "--images-dir", tmp_path / "images")
    assert outcome.code == 4
    assert f"2 in {tmp_path / 'images'}, the first is {there}" in outcome.err and "--images-dir" in outcome.err
    assert (f"is {there} the image of {name!r}" in outcome.err) == is_like


def test_labelme_masks_in_folders_of_their_own(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:25] = 1
    made.put(tmp_path / "source/JPEGImages/a.jpg", made.photo())
    made.put(tmp_path / "source/SegmentationClass/a.npy", b"not read")
    made.put(tmp_path / "source/SegmentationClassPNG/a.png", made.png(mask, made.voc_palette()))
    pack, _ = convert(tmp_path / "source", tmp_path / "pack", classes="background,cell")
    with Image.open(tmp_path / "source/SegmentationClassPNG/a.png") as picture:
        assert np.array_equal(np.asarray(pack[0].semantic), np.asarray(picture))


@pytest.mark.parametrize("images", ["images", "../elsewhere"])
def test_masks_beside_images_of_another_folder(images: str, tmp_path: Path) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:25] = 1
    made.put(tmp_path / "source/SegmentationClass/a.png", made.png(mask, made.voc_palette()))
    image = made.put(tmp_path / "source" / images / "a.jpg", made.photo())
    options = {"images_dir": image.parent} if images.startswith("..") else {}
    pack, _ = convert(tmp_path / "source", tmp_path / "pack", classes="background,cell", **options)
    assert np.array_equal(np.asarray(pack[0].semantic), mask) and pack[0].encoded == image.read_bytes()


def test_endings_in_capitals(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    for path in [*source.glob("JPEGImages/*"), *source.glob("Annotations/*"), *source.glob("Segmentation*/*")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    expected, _ = convert(made.voc(tmp_path / "small"), tmp_path / "expected", classes=None)
    pack, remarks = convert(source, tmp_path / "pack", classes=None)
    assert list(pack.keys) == list(expected.keys) and not remarks
    for one, other in zip(pack, expected, strict=True):
        assert one.encoded == other.encoded and np.array_equal(one.instances.bbox, other.instances.bbox)
        assert one.instances.masks.areas.tolist() == other.instances.masks.areas.tolist()
