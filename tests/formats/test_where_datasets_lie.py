"""Paths above and inside a dataset, folders with several, and folders with none: what is taken, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.formats.detection import ABOVE, BELOW
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.refusals import refused, remarks_of

MAKERS: dict[str, Callable[[Path], Path]] = {
    "voc": made.voc,
    "coco": made.coco,
    "cityscapes": made.cityscapes,
    "camvid": made.camvid,
}


def keys(pack: Path) -> list[str]:
    return sorted(segdata.open(pack).keys)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("above", ["name", "name/name"])
def test_a_folder_that_holds_one_dataset_stands_for_it(name: str, above: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "given" / above)
    made.put(tmp_path / "given/README.txt", "from somewhere")
    remarks = remarks_of(tmp_path / "given", tmp_path / "pack")
    assert remarks[BELOW] == 1
    assert ABOVE not in remarks_of(tmp_path / "given" / above, tmp_path / "direct")
    assert keys(tmp_path / "pack") == keys(tmp_path / "direct") != []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("voc", "Annotations"),
        ("voc", "JPEGImages"),
        ("voc", "ImageSets"),
        ("voc", "SegmentationClass"),
        ("coco", "annotations"),
        ("coco", "annotations/"),
        ("cityscapes", "gtFine"),
        ("cityscapes", "leftImg8bit"),
        ("camvid", "LabeledApproved_full"),
    ],
)
def test_a_part_of_a_dataset_stands_for_the_whole(name: str, part: str, tmp_path: Path) -> None:
    source = MAKERS[name](tmp_path / "source")
    outcome = run_segdata("convert", f"{source}/{part}", tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["problems"]["remarks"][ABOVE]["examples"] == [str(source)]
    segdata.convert(source, tmp_path / "whole", workers=1)
    assert keys(tmp_path / "pack") == keys(tmp_path / "whole") != []


def test_paths_from_inside_the_folder_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = made.voc(tmp_path / "source")
    monkeypatch.chdir(source / "Annotations")
    report = segdata.convert(".", tmp_path / "pack", workers=1)
    assert report.samples == 2 and ABOVE in report.problems["remarks"]


def test_a_document_within_a_dataset_is_read(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    report = segdata.convert(source / "annotations/instances_val2017.json", tmp_path / "pack", workers=1)
    assert report.samples == 3


def test_several_years_are_refused_by_name(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        made.voc(tmp_path / "VOCdevkit" / year)
    root = tmp_path / "VOCdevkit"
    refused(root, tmp_path / "pack", 4, "VOC2007, VOC2012", f"segdata convert {root / 'VOC2012'} PACK")


def test_packs_beside_a_dataset_are_no_datasets_to_choose_from(tmp_path: Path) -> None:
    made.voc(tmp_path / "given/VOC2012")
    segdata.convert(tmp_path / "given/VOC2012", tmp_path / "given/pack", workers=1)
    assert remarks_of(tmp_path / "given", tmp_path / "again")[BELOW] == 1


@pytest.mark.parametrize(("name", "part"), [("cityscapes", "gtFine/val"), ("coco", "val2017")])
def test_a_split_of_a_dataset_is_refused_with_the_command(name: str, part: str, tmp_path: Path) -> None:
    source = MAKERS[name](tmp_path / "source")
    split = part.rpartition("/")[2]
    refused(source / part, tmp_path / "pack", 4, f"segdata convert {source} PACK --split {split}")
    assert segdata.convert(source, tmp_path / "pack", splits=[split], workers=1).samples > 0


def test_a_folder_of_annotations_alone_is_read_with_images_elsewhere(tmp_path: Path) -> None:
    made.put(tmp_path / "xml/a.xml", made.voc_xml("a", made.voc_object(), segmented=0))
    made.put(tmp_path / "somewhere/a.jpg", made.photo())
    report = segdata.convert(tmp_path / "xml", tmp_path / "pack", images_dir=tmp_path / "somewhere", workers=1)
    assert (report.samples, report.instances) == (1, 1)
    assert segdata.open(tmp_path / "pack")[0].instances.bbox.tolist() == [[4, 5, 10, 7]]


def test_a_named_format_is_looked_for_above_and_below_too(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "given/coco")
    for path in (tmp_path / "given", source / "annotations"):
        assert segdata.convert(path, tmp_path / "pack", source_format="coco", workers=1, force=True).samples == 3


# ---------------------------------------------------------------------- Cityscapes, unzipped side by side


def test_archives_unzipped_side_by_side_are_one_dataset(tmp_path: Path) -> None:
    together = made.cityscapes(tmp_path / "together")
    apart = tmp_path / "apart"
    for name in ("gtFine", "leftImg8bit"):
        (apart / f"{name}_trainvaltest").mkdir(parents=True)
        made.cityscapes(tmp_path / name)
        (tmp_path / name / name).rename(apart / f"{name}_trainvaltest" / name)
    segdata.convert(together, tmp_path / "expected", workers=1)
    segdata.convert(apart, tmp_path / "pack", workers=1)
    expected, pack = segdata.open(tmp_path / "expected"), segdata.open(tmp_path / "pack")
    assert list(pack.keys) == list(expected.keys) and set(pack.splits) == set(expected.splits)
    for one, other in zip(pack, expected, strict=True):
        assert one.encoded == other.encoded
        assert np.array_equal(np.asarray(one.semantic), np.asarray(other.semantic))
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="cityscapes", workers=1)
    assert compare("cityscapes", apart, tmp_path / "again") == []


# ---------------------------------------------------------------------- endings


@pytest.mark.parametrize(("name", "folder"), [("cityscapes", "leftImg8bit"), ("camvid", "701_StillsRaw_full")])
def test_endings_of_images_in_capitals(name: str, folder: str, tmp_path: Path) -> None:
    source, expected = MAKERS[name](tmp_path / "source"), MAKERS[name](tmp_path / "expected")
    for path in [path for path in (source / folder).rglob("*") if path.is_file()]:
        path.rename(path.with_suffix(path.suffix.upper()))
    reports = [segdata.convert(root, tmp_path / f"{root.name}_pack", workers=1) for root in (source, expected)]
    assert reports[0].problems["remarks"] == reports[1].problems["remarks"]
    for one, other in zip(*(segdata.open(report.target) for report in reports), strict=True):
        assert one.key == other.key and one.encoded == other.encoded is not None
        assert np.array_equal(np.asarray(one.semantic), np.asarray(other.semantic))


@pytest.mark.parametrize("folders", [("images/{}", "masks/{}"), ("{}/images", "{}/masks")])
def test_splits_of_label_maps_are_named_after_folders(folders: tuple[str, str], tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid")):
        images, masks = (folder.format(split) for folder in folders)
        made.put(tmp_path / "source" / images / f"{split}.jpg", made.photo(seed=number))
        mask = np.full((made.HEIGHT, made.WIDTH), number, np.uint8)
        made.put(tmp_path / "source" / masks / f"{split}.png", made.png(mask))
    segdata.convert(tmp_path / "source", tmp_path / "pack", classes="background,cell", workers=1)
    pack = segdata.open(tmp_path / "pack")
    members = {name: [pack.keys[index] for index in indices] for name, indices in pack.splits.items()}
    assert members == {"train": ["train"], "valid": ["valid"]}


# ---------------------------------------------------------------------- folders without a dataset


UNKNOWN: dict[str, tuple[dict[str, str | bytes], tuple[str, ...]]] = {
    "YOLO": (
        {"photos/a.jpg": b"x", "photos/b.jpg": b"x", "boxes/a.txt": "0 0.5 0.5 0.2 0.1\n",
         "boxes/b.txt": "", "README.txt": "From a tool."},
        ("2 .jpg", "3 .txt", "YOLO", "images/ and labels/"),
    ),
    "Labelme": ({"a.jpg": b"x", "a.json": json.dumps({"version": "5", "shapes": []})}, ("1 .json", "Labelme")),
    "VIA": ({"a.jpg": b"x", "via.json": json.dumps({"a.jpg1": {"filename": "a.jpg", "regions": []}})}, ("VIA",)),
    "Supervisely": ({"ds/img/a.jpg": b"x", "ds/ann/a.jpg.json": json.dumps({"objects": []})}, ("Supervisely",)),
    "CSV": ({"a.jpg": b"x", "_annotations.csv": "filename,width\na.jpg,40\n"}, ("_annotations.csv: filename,width",)),
    "CVAT": ({"images/a.jpg": b"x", "a/b/c/annotations.xml": "<annotations><version>1.1</version></annotations>"}, ("CVAT",)),
    "archives": ({"VOCtrainval.tar": b"x"}, ("archives", "unpack")),
    "images alone": ({"a.jpg": b"x", "b.jpg": b"x"}, ("2 .jpg", "images alone")),
    "nothing": ({"folder/.hidden": b"x"}, ("no files", "folder")),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_an_unknown_folder_looks_like_is_said(name: str, tmp_path: Path) -> None:
    files, expected = UNKNOWN[name]
    for file, content in files.items():
        made.put(tmp_path / "given" / file, content)
    refused(tmp_path / "given", tmp_path / "pack", 4, "no known dataset layout", "docs/your-data.md", *expected)


def test_of_a_huge_folder_only_the_beginning_is_looked_at(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for number in range(5_100):
        (given / f"{number}.dat").touch()
    outcome = refused(given, tmp_path / "pack", 4, "more than 5,00")
    assert ".dat" in outcome.err


def test_a_pack_in_the_folder_is_named(tmp_path: Path) -> None:
    segdata.convert(made.voc(tmp_path / "source"), tmp_path / "given/pack", workers=1)
    refused(tmp_path / "given", tmp_path / "target", 4, str(tmp_path / "given/pack"))


@pytest.mark.parametrize("name", ["voc", "coco"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_an_image_behind_a_dead_link_is_said_to_be(name: str, is_folder: bool, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "given")
    image = sorted(root.rglob("*.jpg"))[0]
    link = image.parent if is_folder else image
    link.rename(tmp_path / "moved")
    link.symlink_to("nowhere")
    refused(root, tmp_path / "pack", 4, "dead link", f"{link.relative_to(root)} leads to nowhere")


BRUSH = {"image": "a.jpg", "id": 1, "tag": [{"format": "rle", "rle": [0], "original_width": 9, "original_height": 9}]}


def test_label_studios_short_json_is_named(tmp_path: Path) -> None:
    made.put(tmp_path / "given/project-1.json", [BRUSH])
    made.put(tmp_path / "given/a.jpg", made.photo())
    refused(tmp_path / "given", tmp_path / "pack", 4, "JSON-MIN", "export it as JSON")
