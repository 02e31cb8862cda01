"""Two images of one name in one folder: the annotation says which is meant, or both are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import InvalidAnnotation
from tests.helpers import made

OTHER = (20, 16)


def source(root: Path, filename: str, *, jpg: tuple[int, int] = (40, 30), png: tuple[int, int] = (40, 30)) -> Path:
    xml = made.voc_xml("a", made.voc_object("RBC"), width=40, height=30, segmented=0)
    assert "<filename>a.jpg</filename>" in xml
    made.put(root / "Annotations/a.xml", xml.replace("a.jpg", filename))
    made.put(root / "Annotations/b.xml", xml.replace("a.jpg", "b.jpg"))
    made.put(root / "JPEGImages/b.jpg", made.photo(40, 30, seed=2))
    made.put(root / "JPEGImages/a.jpg", made.photo(*jpg))
    made.put(root / "JPEGImages/a.png", made.photo(*png, seed=1, kind="PNG"))
    return root


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "A.PNG"])
def test_the_image_that_the_annotation_names(name: str, is_elsewhere: bool, tmp_path: Path) -> None:
    root = source(tmp_path / "source", name)
    folder = root / "JPEGImages"
    if is_elsewhere:
        folder = folder.rename(tmp_path / "elsewhere")
    options: dict[str, Any] = {"images_dir": folder} if is_elsewhere else {}
    segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1, **options)
    sample = segdata.open(tmp_path / "pack").find("a")
    assert sample.encoded == (folder / name.lower()).read_bytes()
    assert sample.file.endswith(name.lower())


def test_the_only_image_of_the_annotated_size(tmp_path: Path) -> None:
    root = source(tmp_path / "source", "a", jpg=OTHER)
    report = segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    sample = segdata.open(tmp_path / "pack").find("a")
    assert sample.encoded == (root / "JPEGImages/a.png").read_bytes()
    assert any("annotated size" in kind for kind in report.problems["remarks"])


@pytest.mark.parametrize(("name", "sizes"), [("a", {}), ("a.png", {"png": OTHER})])
def test_both_are_named_where_nothing_tells(name: str, sizes: dict[str, tuple[int, int]], tmp_path: Path) -> None:
    root = source(tmp_path / "source", name, **sizes)
    with pytest.raises(InvalidAnnotation) as refusal:
        segdata.convert(root, tmp_path / "pack", classes="from-data", workers=1)
    assert refusal.value.key == "a" and "a.jpg and a.png" in str(refusal.value.why)
    segdata.convert(root, tmp_path / "skipped", classes="from-data", workers=1, on_error="skip")
    assert list(segdata.open(tmp_path / "skipped").keys) == ["b"]
