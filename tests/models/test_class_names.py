"""Names for the classes of weights that carry none: what fits, in which order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.catalog import manifest
from segdata.errors import InvalidInput, NotThere, UsageError
from segdata.models import class_names
from segdata.models.class_names import Names


def _of_classes(names: Names, count: int) -> list[str | None]:
    """The name of each class of the network from 1 on."""
    labels, categories, _ = class_names.fitted(names, count, "mine.pth")
    return [labels[index].name if index >= 0 else None for index in categories.tolist()]


@pytest.mark.parametrize(
    "names",
    ["cat,dog", "cat, dog", ["cat", "dog"], "background,cat,dog", "__background__,cat,dog", "BG,cat,dog"],
    ids=str,
)
def test_names_are_the_classes_in_order_with_or_without_the_background(names: Names) -> None:
    labels, categories, remarks = class_names.fitted(names, 2, "mine.pth")
    assert [(row.id, row.name) for row in labels.categories] == [(1, "cat"), (2, "dog")]
    assert categories.tolist() == [0, 1] and remarks == ()


_COCO = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.txt", "cat\ndog\n"),
        ("classes.txt", "_background_\ncat\ndog\n"),
        ("classes.csv", "name,r,g,b\ncat,1,2,3\ndog,4,5,6\n"),
        ("classes.json", '["cat", "dog"]'),
        ("classes.json", '{"0": "background", "1": "cat", "2": "dog"}'),
        ("classes.toml", 'labels = ["cat", "dog"]'),
        ("instances.json", json.dumps(_COCO)),
    ],
)
def test_files_are_tables_of_labels_or_coco_documents(file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    assert _of_classes(tmp_path / file, 2) == _of_classes(str(tmp_path / file), 2) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("ids", "count", "expected"),
    [
        ([7, 3], 2, ["b", "a"]),
        ([0, 1], 2, ["a", "b"]),
        ([1, 4], 4, ["a", None, None, "b"]),
        ([4, 1], 4, ["b", None, None, "a"]),
    ],
    ids=str,
)
def test_ids_order_the_classes_and_may_be_their_numbers(
    ids: list[int], count: int, expected: list[str | None], tmp_path: Path
) -> None:
    rows = [{"id": number, "name": name} for number, name in zip(ids, "ab", strict=True)]
    (tmp_path / "instances.json").write_text(json.dumps({**_COCO, "categories": rows}))
    assert _of_classes(tmp_path / "instances.json", count) == expected
    labels, _, remarks = class_names.fitted(tmp_path / "instances.json", count, "mine.pth")
    assert [row.id for row in labels.categories] == sorted(ids)
    assert bool(remarks) == (ids != sorted(ids))


def test_coco_s_80_categories_fit_both_kinds_of_networks() -> None:
    """torchvision's has a class for every id up to 90, Matterport's one for every category."""
    by_id = _of_classes("coco", 90)
    assert (by_id[0], by_id[11], by_id[12], by_id[89]) == ("person", None, "stop sign", "toothbrush")
    assert by_id.count(None) == 10
    assert _of_classes("coco", 80)[11] == "stop sign"


def test_a_label_space_gives_its_objects_in_its_own_order() -> None:
    rows = (
        segdata.Category("dog", 9, isthing=True),
        segdata.Category("sky", 2, isthing=False),
        segdata.Category("cat", 3, isthing=True),
    )
    assert _of_classes(segdata.LabelSpace("mine", rows), 2) == ["dog", "cat"]
    things = [row.name for row in manifest.label_space("cityscapes").categories if row.isthing and not row.ignore]
    assert _of_classes("cityscapes", len(things)) == things


@pytest.mark.parametrize(
    ("names", "count", "counts"),
    [
        ("cat,dog,cow", 2, ("3 names;", "2 classes")),
        ("cat", 2, ("1 names;", "2 classes")),
        ("background,cat,dog", 3, ("2 names and a background", "3 classes")),
        ("cat,dog,background", 3, ("2 names and a background", "3 classes")),
        ("cat,dog,background", 2, ("2 names and a background", "2 classes")),
        (["cat", "dog"], 1, ("2 names;", "1 classes")),
    ],
    ids=str,
)
def test_names_that_do_not_fit_are_refused_with_both_counts(names: Any, count: int, counts: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        class_names.fitted(names, count, "mine.pth")
    assert all(text in str(refused.value.why) for text in counts) and "--labels" in str(refused.value.fix)


def test_a_file_that_is_not_there_and_a_name_twice_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="does not exist"):
        class_names.fitted(str(tmp_path / "classes.txt"), 2, "mine.pth")
    with pytest.raises(InvalidInput, match="twice"):
        class_names.fitted("cat,cat", 2, "mine.pth")
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(segdata.SegdataError) as refused:
        class_names.fitted(tmp_path / "classes.txt", 2, "mine.pth")
    assert "--labels FILE" in str(refused.value.fix)
