"""CVAT's documents that are not valid, or hostile: refused with the line, or left out and listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import refused

IMAGES = 2
BOX = '<box label="dog" xtl="1" ytl="1" xbr="4" ybr="5"/>'


def source_of(tmp_path: Path, shapes: str, *, name: str = "a.png", more: str = "") -> Path:
    root = tmp_path / "source"
    for image in ("a.png", "b.png"):
        made.put(root / f"images/{image}", made.photo(kind="PNG"))
    first = made.cvat_image(0, name, f"\n{shapes}\n", more)
    made.put(root / "annotations.xml", made.cvat_document(first, made.cvat_image(1, "b.png", BOX)))
    return root


def mask(**values: object) -> str:
    fields = {"rle": "1, 3, 2, 2", "left": 14, "top": 20, "width": 4, "height": 2, **values}
    return f"<mask label='dog' {' '.join(f'{name}={str(value)!r}' for name, value in fields.items())}/>"


SHAPES = {
    "kind": ('<blob label="dog"/>', "<blob>"),
    "no label": ('<box xtl="1" ytl="1" xbr="4" ybr="5"/>', "no label"),
    "label": ('<box label="cow" xtl="1" ytl="1" xbr="4" ybr="5"/>', "'cow'"),
    "no number": ('<box label="dog" xtl="one" ytl="1" xbr="4" ybr="5"/>', "'one'"),
    "not finite": ('<box label="dog" xtl="nan" ytl="1" xbr="4" ybr="5"/>', "'nan'"),
    "missing": ('<box label="dog" ytl="1" xbr="4" ybr="5"/>', "xtl"),
    "swapped": ('<box label="dog" xtl="9" ytl="1" xbr="4" ybr="5"/>', "ends before it begins"),
    "far": ('<polygon label="dog" points="1e20,1;2,2;3,1"/>', "1e20"),
    "two points": ('<polygon label="dog" points="1,1;2,2"/>', "fewer than three"),
    "no pairs": ('<polygon label="dog" points="1,1,1;2,2,2;3,3,3"/>', "no pairs"),
    "no points": ('<polygon label="dog"/>', "points"),
    "runs too long": (mask(rle="1, 8"), "sum to 9; width 4 · height 2 = 8"),
    "negative run": (mask(rle="1, -1"), "'1, -1'"),
    "huge run": (mask(rle="99999999999999999999"), "99999999"),
    "runs of nothing": (mask(rle=""), "run lengths"),
    "past the image": (mask(left=38), "4 × 2 at (38, 20)"),
    "before the image": (mask(top=-1), "(14, -1)"),
    "huge mask": (mask(width=10_000_000), "10000000"),
    "half a pixel": (mask(left=1.5), "whole number"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_shape_that_is_not_valid_is_refused_or_left_out(case: str, tmp_path: Path) -> None:
    shapes, text = SHAPES[case]
    source = source_of(tmp_path, shapes)
    line = 1 + next(n for n, row in enumerate((source / "annotations.xml").read_text().splitlines()) if shapes in row)
    refused(source, tmp_path / "pack", 4, "annotations.xml", f"line {line}", text)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3, outcome.err
    assert outcome.document["samples"] == IMAGES and outcome.document["problems"]["skipped"][0]["count"] == 1


ENTITY = '<!DOCTYPE a [<!ENTITY x "dog">]>\n'

DOCUMENTS = {
    "cut short": ("<annotations><image", 4, "line 1"),
    "entities": (f'<?xml version="1.0"?>\n{ENTITY}<annotations>&x;</annotations>', 11, "line 2"),
    "nested": ("<annotations>" + "<a>" * 40 + "</a>" * 40 + "</annotations>", 4, "nested too deep"),
    "text": ("<annotations>words</annotations>", 4, "text between the images"),
    "track": (
        '<annotations>\n<track id="0" label="dog"><box frame="7" outside="0"/></track></annotations>',
        4,
        "CVAT for images 1.1",
    ),
    "frame": ('<annotations>\n<track id="0" label="dog"><box frame="x"/></track></annotations>', 4, "frame is 'x'"),
    "encoding": ('<?xml version="1.0" encoding="gbk"?><annotations></annotations>', 4, "UTF-8"),
    "no size": ('<annotations><image name="a.png" width="0" height="9"/></annotations>', 4, "size in pixels"),
    "another size": ('<annotations><image name="a.png" width="30" height="9"/></annotations>', 4, "30 × 9 annotated"),
    "root": ("<x><annotations></annotations></x>", 4, "<x>"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_document_that_is_not_valid_is_refused(case: str, tmp_path: Path) -> None:
    text, code, why = DOCUMENTS[case]
    source = source_of(tmp_path, BOX)
    made.put(source / "annotations.xml", text)
    refused(source, tmp_path / "pack", code, "annotations.xml", why)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "..\\secret.png", "https://host/a.png"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    source = source_of(tmp_path, BOX, name=name)
    refused(source, tmp_path / "pack", 11, "annotations.xml", "line ")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["samples"] == 1


def test_a_subset_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    refused(source_of(tmp_path, BOX, more='subset="../up" '), tmp_path / "pack", 11, "subset")


def test_a_missing_image_is_refused_or_left_out(tmp_path: Path) -> None:
    source = source_of(tmp_path, BOX)
    (source / "images/a.png").unlink()
    refused(source, tmp_path / "pack", 4, "images/a.png", "not on disk")
    assert run_segdata("convert", source, tmp_path / "skipped", "--on-error", "skip").code == 3
    outcome = run_segdata("convert", source, tmp_path / "none", "--images", "none", "--json")
    assert outcome.code == 0 and outcome.document["samples"] == IMAGES


def test_labels_that_nothing_declares_may_come_from_the_shapes(tmp_path: Path) -> None:
    source = source_of(tmp_path, BOX.replace("dog", "cow"))
    assert run_segdata("convert", source, tmp_path / "pack", "--classes", "from-data").code == 0
    text = (source / "annotations.xml").read_text()
    start, end = text.index("<meta>"), text.index("</meta>") + len("</meta>")
    made.put(source / "annotations.xml", text[:start] + text[end:])
    outcome = run_segdata("convert", source, tmp_path / "bare", "--json")
    assert outcome.code == 0, outcome.err


def test_images_that_differ_in_their_endings_alone_have_different_keys(tmp_path: Path) -> None:
    source = source_of(tmp_path, BOX)
    made.put(source / "images/a.jpg", made.photo())
    images = [made.cvat_image(n, name, BOX) for n, name in enumerate(("a.png", "a.jpg"))]
    made.put(source / "annotations.xml", made.cvat_document(*images))
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    kind = "images of one name but for the ending: called with it"
    assert outcome.document["problems"]["remarks"][kind]["examples"] == ["a.jpg"]
