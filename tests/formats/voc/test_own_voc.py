"""VOC folders that are not official: own classes, outlines, sizes that are none, masks of 0 and 255."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.compare import compare

W, H = made.WIDTH, made.HEIGHT


def folder(root: Path, xml: str | None = None, mask: np.ndarray | None = None, labelmap: str | None = None) -> Path:
    made.put(root / "JPEGImages/a.jpg", made.photo())
    made.put(root / "ImageSets/Segmentation/train.txt", "a\n")
    if xml is not None:
        made.put(root / "Annotations/a.xml", xml)
    if mask is not None:
        made.put(root / "SegmentationClass/a.png", made.png(mask, made.voc_palette()))
    if labelmap is not None:
        made.put(root / "labelmap.txt", labelmap)
    return root


def convert(source: Path, target: Path, **options: Any) -> tuple[Any, dict[str, int]]:
    report = segdata.convert(source, target, workers=1, **options)
    return segdata.open(target), {kind: item["count"] for kind, item in report.problems["remarks"].items()}


def differences(source: Path, pack: Path, again: Path) -> list[str]:
    segdata.convert(pack, again, to="voc", workers=1)
    assert not (again / "SegmentationObject").exists()
    return compare("voc", source, again)


def test_only_a_category_of_that_name_is_the_background(tmp_path: Path) -> None:
    xml = made.voc_xml("a", made.voc_object("RBC") + made.voc_object("WBC", (20, 3, 36, 28)))
    source = folder(tmp_path / "source", xml, labelmap="RBC:200,0,0::\nWBC:0,0,200::\n")
    pack, _ = convert(source, tmp_path / "pack")
    assert [(category.name, category.isthing) for category in pack.labels.categories] == [("RBC", True), ("WBC", True)]
    assert pack[0].instances.category.tolist() == [0, 1]


def test_a_background_that_is_not_first_is_still_the_background(tmp_path: Path) -> None:
    xml = made.voc_xml("a", made.voc_object("RBC"))
    source = folder(tmp_path / "source", xml, labelmap="RBC:200,0,0::\nbackground:0,0,0::\n")
    pack, _ = convert(source, tmp_path / "pack")
    assert [(category.name, category.isthing) for category in pack.labels.categories] == [
        ("RBC", True),
        ("background", False),
    ]


def test_a_mask_of_0_and_255_is_refused(tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[5:20, 5:25] = 255
    source = folder(tmp_path / "source", mask=mask)
    with pytest.raises(SegdataError, match="no class") as error:
        segdata.convert(source, tmp_path / "pack", workers=1)
    assert "300 of 1,200 pixels" in str(error.value) and "--classes background,NAME" in str(error.value)
    mask[5:20, 5:25] = 1
    folder(source, mask=mask)
    pack, _ = convert(source, tmp_path / "pack")
    assert pack.labels[int(pack[0].semantic.max())].name == "aeroplane"


@pytest.mark.parametrize("palette", [False, True])
def test_255_is_the_one_class_where_all_masks_hold_0_and_255_alone(palette: bool, tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[5:20, 5:25] = 255
    source = folder(tmp_path / "source")
    made.put(source / "SegmentationClass/a.png", made.png(mask, made.voc_palette() if palette else None))
    pack, remarks = convert(source, tmp_path / "pack", classes="background,cell")
    assert np.array_equal(pack[0].semantic, mask // 255)
    assert sum(count for kind, count in remarks.items() if "255" in kind) == 1
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="voc", workers=1)
    assert compare("voc", source, tmp_path / "again") == []


def test_255_is_void_where_masks_hold_the_class_too(tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[5:20, 5:25] = 1
    mask[5] = 255
    source = folder(tmp_path / "source", mask=mask)
    pack, remarks = convert(source, tmp_path / "pack", classes="background,cell")
    assert np.array_equal(pack[0].semantic, mask) and pack.labels.void == 255 and not remarks


CORNERS = ((5, 6), (17, 6), (17, 18), (5, 18))
OUTLINES = {
    "numbered": "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(CORNERS, 1)),
    "text": "<points>" + " ".join(f"{x},{y}" for x, y in CORNERS) + "</points>",
    "points": "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in CORNERS),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_an_outline_becomes_the_mask(name: str, tmp_path: Path) -> None:
    outline = f"<polygon>{OUTLINES[name]}</polygon>"
    source = folder(
        tmp_path / "source", made.voc_xml("a", made.voc_object("dog", (6, 7, 17, 18), outline), segmented=0)
    )
    pack, remarks = convert(source, tmp_path / "pack")
    expected = np.zeros((H, W), np.uint8)
    expected[6:18, 5:17] = 1
    assert np.array_equal(pack[0].instances.masks[0], expected) and pack[0].instances.has_mask.tolist() == [True]
    assert remarks == {"mask drawn from <polygon>": 1}
    assert differences(source, tmp_path / "pack", tmp_path / "again") == []


def test_an_outline_that_is_none_is_remarked(tmp_path: Path) -> None:
    outline = "<polygon><x1>5</x1><y1>6</y1></polygon>"
    source = folder(
        tmp_path / "source", made.voc_xml("a", made.voc_object("dog", (6, 7, 17, 18), outline), segmented=0)
    )
    pack, remarks = convert(source, tmp_path / "pack")
    assert not pack[0].instances.has_mask.any()
    assert remarks == {"<polygon> that cannot be read as a ring: no mask": 1}


def test_classes_that_nothing_names_are_assumed_loudly(tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[5:20, 5:25] = 1
    source = folder(tmp_path / "source", mask=mask)
    _, remarks = convert(source, tmp_path / "pack")
    assert any("VOC's own" in kind and "--classes" in kind for kind in remarks)
    pack, remarks = convert(source, tmp_path / "named", classes="background,cell")
    assert pack.labels[int(pack[0].semantic.max())].name == "cell" and not remarks


@pytest.mark.parametrize("width, height", [(0, 0), ("40.0", "30.0"), ("", "")])
def test_a_size_that_is_none_is_that_of_the_file(width: object, height: object, tmp_path: Path) -> None:
    xml = made.voc_xml("a", made.voc_object(), width=width, height=height, segmented=0)
    source = folder(tmp_path / "source", xml)
    pack, remarks = convert(source, tmp_path / "pack")
    assert (pack[0].height, pack[0].width) == (H, W)
    assert remarks == {"size of an image is none: taken from its file or mask": 1}
    assert differences(source, tmp_path / "pack", tmp_path / "again") == []
    with pytest.raises(SegdataError, match="no valid size"):
        segdata.convert(source, tmp_path / "strict", strict=True, workers=1)


def test_another_file_name_in_the_annotation_is_remarked(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", made.voc_xml("other", made.voc_object(), segmented=0))
    _, remarks = convert(source, tmp_path / "pack")
    assert remarks == {"<filename> is not the name of the file: the file's counts": 1}
    assert differences(source, tmp_path / "pack", tmp_path / "again") == []


def test_classes_of_the_files_are_taken_when_asked(tmp_path: Path) -> None:
    xml = made.voc_xml("a", made.voc_object("WBC") + made.voc_object("RBC", (20, 3, 36, 28)))
    source = folder(tmp_path / "source", xml)
    with pytest.raises(SegdataError, match="2 problems") as error:
        segdata.convert(source, tmp_path / "pack", workers=1)
    assert str(error.value).count("--classes from-data") == 1
    pack, _ = convert(source, tmp_path / "pack", classes="from-data")
    assert [category.name for category in pack.labels.categories] == ["background", "RBC", "WBC"]
    assert pack[0].instances.category.tolist() == [2, 1]
    pack, _ = convert(source, tmp_path / "named", classes=["background", "WBC", "RBC"])
    assert pack[0].instances.category.tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "GIF"])
def test_images_of_rarer_kinds_are_listed(kind: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "source", made.voc_xml("a", made.voc_object()))
    (source / "JPEGImages/a.jpg").unlink()
    made.put(source / f"JPEGImages/a.{kind.lower()}", made.photo(kind=kind))
    pack, _ = convert(source, tmp_path / "pack")
    assert pack[0].image.shape == (H, W, 3)


@pytest.mark.parametrize("line", ["{}:{},{},{}::", "{} {} {} {}", "{} {}, {}, {}"])
def test_a_labelmap_of_colours(line: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[5:20, 5:25] = (250, 50, 83)
    made.put(source / "SegmentationClass/a.png", made.png(pixels))
    with pytest.raises(SegdataError, match="colours") as refusal:
        segdata.convert(source, tmp_path / "pack", classes="background,red cell", workers=1)
    assert "NAME:R,G,B::" in (refusal.value.fix or "") and "--classes FILE" in (refusal.value.fix or "")
    rows = (("background", 0, 0, 0), ("red cell", 250, 50, 83))
    made.put(source / "labelmap.txt", "".join(line.format(*row) + "\n" for row in rows))
    pack, _ = convert(source, tmp_path / "pack")
    assert [category.name for category in pack.labels.categories] == ["background", "red cell"]
    assert np.array_equal(pack[0].semantic, pixels[..., 0] // 250)
    assert differences(source, tmp_path / "pack", tmp_path / "again") == []


NAMES = {
    "with the background": ("class_names.txt", "_background_\ncat\ndog\n", ["_background_", "cat", "dog"]),
    "without it": ("classes.txt", "cat\ndog\n", ["background", "cat", "dog"]),
    "labelme's": ("class_names.txt", "__ignore__\n_background_\ncat\ndog\n", ["_background_", "cat", "dog"]),
    "with colours": ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\ncat,128,0,0\ndog,0,128,0\n", ["background", "cat", "dog"]),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_a_table_beside_names_the_classes(case: str, tmp_path: Path) -> None:
    name, text, expected = NAMES[case]
    mask = np.zeros((H, W), np.uint8)
    mask[2:10, 3:9] = 2
    source = made.put(folder(tmp_path / "source", mask=mask) / name, text).parent
    pack, remarks = convert(source, tmp_path / "pack")
    assert [(category.id, category.name) for category in pack.labels.categories] == list(enumerate(expected))
    assert pack[0].semantic is not None and np.array_equal(pack[0].semantic, mask)
    assert [kind for kind in remarks if "without the background" in kind] == (
        ["table of classes without the background: it is 0, the first class 1"] if case == "without it" else []
    )
    assert differences(source, tmp_path / "pack", tmp_path / "again") == []
    assert (tmp_path / "again" / name).read_text() == text


def test_a_table_of_other_classes_is_passed_over(tmp_path: Path) -> None:
    xml = made.voc_xml("a", made.voc_object("dog"))
    source = folder(tmp_path / "source", xml)
    made.put(source / "predefined_classes.txt", "raccoon\ncar\n")
    pack, remarks = convert(source, tmp_path / "pack")
    assert pack.labels.name == "voc"
    assert [kind for kind in remarks if kind.startswith("table of classes passed over")]
