"""Invalid, hostile and odd PASCAL VOC files, through the real command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused

ENTITIES = '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'


QUADRATIC = '<!DOCTYPE a [<!ENTITY x "' + "y" * 5000 + '">]><annotation>' + "&x;" * 5000 + "</annotation>"


EXTERNAL = '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><annotation/>'


BAD_VOC: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "entity": (ENTITIES, 11, ("document type",)),
    "quadratic": (QUADRATIC, 11, ("document type",)),
    "external": (EXTERNAL, 11, ("document type",)),
    "include": ('<annotation xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></annotation>', 0, ()),
    "malformed": ("<annotation><object></annotation>", 4, ("malformed", "line 1")),
    "deep": ("<annotation>" + "<a>" * 10_000 + "</a>" * 10_000 + "</annotation>", 4, ("nested too deep",)),
    "another root": ("<html></html>", 4, ("<html>",)),
    "no box": (made.voc_xml("2007_000001", "\n<object><name>dog</name></object>"), 4, ("no box", "line 2")),
    "swapped": (made.voc_xml("2007_000001", made.voc_object(box=(14, 6, 5, 12))), 4, ("ends before it begins", "line 1")),
    "no number": (made.voc_xml("2007_000001", made.voc_object(box=("a", 6, 5, 12))), 4, ("no valid xmin", "'a'")),
    "not finite": (made.voc_xml("2007_000001", made.voc_object(box=("nan", 6, 5, 12))), 4, ("no valid xmin",)),
    "several names": (made.voc_xml("2007_000001", made.voc_object(more="<name>cat</name>")), 4, ("2 names",)),
    "unknown class": (made.voc_xml("2007_000001", made.voc_object("zebra")), 4, ("'zebra'", "labelmap.txt")),
    "another file name": (made.voc_xml("2007_000009", ""), 4, ("2007_000009", "line 1")),
    "no size": (made.voc_xml("2007_000001", "", width=0), 4, ("no valid size", "'0'")),
    "far outside": (made.voc_xml("2007_000001", made.voc_object(box=(5, 6, 44, 12))), 4, ("past the image", "40 × 30")),
    "image of another size": (made.voc_xml("2007_000001", "", width=41), 4, ("another size",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_VOC)
def test_bad_voc_annotations_are_refused(name: str, tmp_path: Path) -> None:
    text, code, texts = BAD_VOC[name]
    source = made.voc(tmp_path / "source")
    file = source / "Annotations/2007_000001.xml"
    good = file.read_bytes()
    made.put(file, text)
    if code:
        named = "2007_000001.xml" if name != "image of another size" else ""
        refused(source, tmp_path / "pack", code, named, *texts, options=("--strict",))
        file.write_bytes(good)
    assert run_segdata("convert", source, tmp_path / "pack").code == 0


def test_legal_oddities_of_voc_are_counted_and_come_back(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.voc(tmp_path / "source")
    objects = (
        made.voc_object("cat", (0, 1, 8, "12.5"))
        + made.voc_object("dog", ("45.70000076293945", 2, 41, 9)).replace("45.70000076293945", "5.70000076293945")
        + "<object><bndbox><xmax>9</xmax><xmin>2</xmin><ymin>3.0</ymin><ymax>8</ymax></bndbox><difficult>1</difficult>"
        "<occluded>1</occluded><pose></pose><truncated>0</truncated><name>person</name><point><x>3</x><y>4</y></point>"
        "<actions><jumping>1</jumping></actions></object>"
    )
    made.put(source / "Annotations/2007_000002.xml", made.voc_xml("2007_000002", objects, segmented=1))
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    remarks = {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}
    assert remarks["box begins at 0: the file may count from 0, VOC counts from 1"] == 1
    assert remarks["box reaches up to one pixel past the image"] == 1
    assert remarks["box corner is not a whole number"] == 2
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert compare("voc", source, tmp_path / "back") == []


def voc_masks(source: Path, **arrays: np.ndarray) -> None:
    for folder, array in arrays.items():
        made.put(source / folder / "2007_000001.png", made.png(array, made.voc_palette() if array.ndim == 2 else None))


def masks_of(source: Path) -> tuple[np.ndarray, np.ndarray]:
    return tuple(  # type: ignore[return-value]
        np.array(Image.open(source / folder / "2007_000001.png"))
        for folder in ("SegmentationClass", "SegmentationObject")
    )


def test_voc_masks_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    classes, objects = masks_of(source)
    voc_masks(source, SegmentationObject=objects[:-1])
    refused(source, tmp_path / "pack", 4, "different sizes")
    wrong = classes.copy()
    wrong[3, 7] = 33
    voc_masks(source, SegmentationClass=wrong, SegmentationObject=objects)
    refused(source, tmp_path / "pack", 4, "row 3, column 7", "value 33", "0 … 20")
    colors = np.array(made.voc_palette(), np.uint8).reshape(256, 3)[classes]
    colors[0, 0] = (1, 2, 3)
    voc_masks(source, SegmentationClass=colors)
    refused(source, tmp_path / "pack", 4, "(1, 2, 3) × 1")


def test_doubts_about_voc_objects_are_counted_and_come_back(tmp_path: Path) -> None:
    from tests.helpers.compare import compare

    source = made.voc(tmp_path / "source")
    _, objects = masks_of(source)
    swapped = np.where(objects == 1, 2, np.where(objects == 2, 1, objects)).astype(np.uint8)
    swapped[0, 0] = 255
    voc_masks(source, SegmentationObject=swapped)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    remarks = {kind: item["count"] for kind, item in outcome.document["problems"]["remarks"].items()}
    assert remarks == {
        "object number does not fit its place: matched by class and box": 2,
        "void differs between class and object mask": 1,
    }
    assert run_segdata("convert", tmp_path / "pack", tmp_path / "back", "--to", "voc").code == 0
    assert compare("voc", source, tmp_path / "back") == []


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    import segdata

    source = made.voc(tmp_path / "source")
    classes, _ = masks_of(source)
    segdata.convert(source, tmp_path / "pack")
    semantic = segdata.open(tmp_path / "pack").find("2007_000001").semantic
    assert semantic is not None and np.array_equal(semantic, classes)
    assert set(np.unique(classes)) == {0, 12, 15, 255}


@pytest.mark.parametrize(
    ("lists", "texts"),
    [
        (
            {"Segmentation/train.txt": "2007_000001\n2007_000077\n"},
            ("2007_000077", "line 2", "Segmentation/train.txt"),
        ),
        ({"Segmentation/val.txt": "2007_000001\n"}, ("both train and val", "2007_000001")),
    ],
    ids=["unknown", "overlap"],
)
def test_bad_lists_are_refused(lists: dict[str, str], texts: tuple[str, ...], tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    for name, text in lists.items():
        made.put(source / "ImageSets" / name, text)
    refused(source, tmp_path / "pack", 4, *texts)
