"""Edits of packs of every format, applied and written back: what was not edited is as it was, what was is as edited."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata import Sample
from segdata.errors import LossyConversion
from tests.correction import independent
from tests.correction.independent import Edit
from tests.derivation.contents import plain, splits
from tests.helpers import made, made_results
from tests.helpers.command import tree

DATASETS = {**made.ALL, "coco-panoptic": made_results.panoptic}

MAPS_ALONE = ("camvid", "camvid_fastai", "camvid_segnet", "coco-stuff", "sbd_classes")

MAPS = (
    made.voc,
    made.cityscapes,
    made.camvid,
    made.camvid_fastai,
    made.camvid_segnet,
    made.coco_stuff,
    made.sbd,
    made.sbd_classes,
    made.ade20k,
    made.webdataset,
    made.parquet,
    made.yolo_ultralytics,
)
"""Datasets with label maps of their own."""

OTHER_CLASS = "objects whose pixels the label map gives to another category"
GROUP = "pixels without an object, of things: a group in instanceIds"
BOXES = "masks of objects, whose lines are boxes"
LOSSES: dict[tuple[str, str], set[str]] = {
    ("voc", "category"): {OTHER_CLASS},
    ("cityscapes", "category"): {"polygon documents"},
    ("cityscapes", "delete"): {"polygon documents", GROUP},
    ("cityscapes", "mask"): {"polygon documents", GROUP},
    ("cityscapes", "add"): {"polygon documents"},
    ("cityscapes", "map"): {"polygon documents"},
    ("yolo_ultralytics", "mask"): {BOXES},
    ("yolo_ultralytics", "add"): {BOXES},
}
"""What a format cannot say of an edit; all others come back whole. A label map says what VOC's and Cityscapes' objects are."""

HAVE_FLAGS = {
    "coco": {"iscrowd", "difficult", "truncated", "occluded"},
    "voc": {"difficult", "truncated", "occluded"},
    "cityscapes": {"iscrowd"},
    "coco-panoptic": {"iscrowd"},
    "cvat": {"occluded"},
    "ade20k": {"truncated", "occluded"},
    "parquet": {"iscrowd"},
    "webdataset": {"iscrowd", "difficult", "truncated", "occluded"},
}

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The pack of a hand-made dataset, and beside it the folder `before` that it is written back to; each made once."""
    root = tmp_path_factory.mktemp("packs")

    def pack(name: str) -> Path:
        if not (root / name).exists():
            segdata.convert(DATASETS[name](root / name / "source"), root / name / "pack", workers=1, on_error="skip")
            segdata.convert(root / name / "pack", root / name / "before", to=name.split("_")[0], workers=1)
        return root / name / "pack"

    return pack


class Edited:
    """A pack with edits of one sample, applied and written back to the pack's format.

    Attributes:
        losses: what the conversion said that it drops: loss → keys of samples.
        changed: files that are other than without the edits.
    """

    def __init__(self, pack: Path, format: str, index: int, edits: list[Edit], root: Path) -> None:
        self.pack, self.index = pack, index
        opened = segdata.open(pack)
        split = next((name for name, members in opened.splits.items() if index in members), None)
        place = {"split": split, "key": opened.key(index)}
        file = independent.write(root / "edits", pack, [{**place, **edit} for edit in edits])
        segdata.apply(file, pack, root / "out", workers=1)
        self.losses: dict[str, list[str]] = {}
        try:
            segdata.convert(root / "out", root / "after", to=format, workers=1)
        except LossyConversion as error:
            self.losses = {kind: item["keys"] for kind, item in error.losses.items()}
            segdata.convert(root / "out", root / "after", to=format, workers=1, allow_loss=True)
        before, after = tree(pack.parent / "before"), tree(root / "after")
        self.changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        self.changed -= {".segdata.json"}
        segdata.convert(root / "after", root / "again", workers=1, on_error="skip", source_format=format)
        self.before, self.after = opened, segdata.open(root / "again")
        self.splits = splits(root / "again")

    def require_others_untouched(self) -> None:
        """All other images have equal files, and equal records in files that all images share."""
        keys = self.before.keys[:]
        assert self.after.keys[:] == keys and self.splits == splits(self.pack)
        edited = keys[self.index].rpartition("/")[2]
        others = {key.rpartition("/")[2] for key in keys} - {edited}
        assert not [
            name for name in self.changed if any(is_of(key, name) for key in others) and not is_of(edited, name)
        ]
        for index, (old, new) in enumerate(zip(self.before, self.after, strict=True)):
            if index != self.index:
                assert without_places(plain(old)) == without_places(plain(new))

    @property
    def both(self) -> tuple[Sample, Sample]:
        """The edited sample, as it was and as it came back."""
        return self.before[self.index], self.after[self.index]


PLACED = ("parts", "again")


def is_placed(items: Any) -> bool:
    """Whether these are pairs of a position and a record."""
    return isinstance(items, list) and all(isinstance(item, list) and isinstance(item[0], int) for item in items)


def is_of(key: str, name: str) -> bool:
    """Whether a file's name says that it is of one image."""
    return any(f"/{key}{end}" in f"/{name}" for end in "._/")


def without_places(value: Any) -> Any:
    """The same without positions in lists of records, which move when a record before them goes."""
    if isinstance(value, dict):
        return {
            name: [without_places(item[-1]) for item in items]
            if name in PLACED and is_placed(items)
            else without_places(items)
            for name, items in value.items()
            if name not in ("position", "order", "place")
        }
    return [without_places(item) for item in value] if isinstance(value, (list, tuple)) else value


def require_objects(edited: Edited, edits: list[Edit], *, flags: Collection[str] = ()) -> None:
    """The objects are those of an independent replay; those without an edit are equal in everything."""
    old, new = edited.both
    names = [[category.name for category in pack.labels.categories] for pack in (edited.before, edited.after)]
    dense = old.instances.masks.dense() != 0
    objects = [
        {
            "row": row,
            "mask": dense[row],
            "category": int(old.instances.category[row]),
            **{name: bool(getattr(old.instances, name)[row]) for name in flags},
        }
        for row in range(len(old.instances))
    ]
    expected = independent.apply(objects, list(enumerate(edits, 1)), (old.height, old.width))
    masks = new.instances.masks.dense() != 0
    rest = list(range(len(new.instances)))
    for item in expected:
        said = [names[0][item["category"]], *(item[name] for name in flags)]
        same = [
            index
            for index in rest
            if np.array_equal(masks[index], item["mask"])
            and [
                names[1][new.instances.category[index]],
                *(bool(getattr(new.instances, name)[index]) for name in flags),
            ]
            == said
        ]
        assert same, f"no object is {said} with {int(item['mask'].sum())} pixels"
        rest.remove(same[0])
        if not item["touched"]:
            require_same_object(old, item["row"], new, same[0])
    assert not rest


def require_same_object(old: Sample, row: int, new: Sample, index: int) -> None:
    mine, theirs = old.instances, new.instances
    one, other = without_places([mine.extra[row], theirs.extra[index]])
    for extra in (one, other):  # a text is kept where it is not in the style of the file's first line
        extra.get("yolo", {}).pop("text", None)
    assert one == other
    assert [ring.tolist() for ring in mine.polygons[row]] == [ring.tolist() for ring in theirs.polygons[index]]
    for name in ("bbox", "area", "score"):
        assert np.array_equal(getattr(mine, name)[row], getattr(theirs, name)[index], equal_nan=True)


def with_objects(pack: Path) -> int:
    """The sample with the most objects with masks."""
    return int(np.argmax([int(sample.instances.has_mask.sum()) for sample in segdata.open(pack)]))


def edit_of(sample: Sample, categories: int, op: str) -> Edit:
    """An edit of the largest object, or one more object in free pixels."""
    instances, masks = sample.instances, sample.instances.masks
    row = int(np.argmax(masks.areas))
    mask: np.ndarray = np.array(masks.dense()[row], bool)
    if not masks.areas[row]:  # a box alone
        mask[5:15, 4:20] = True
    if op == "category":
        return {"op": op, "of": str(row), "category": (int(instances.category[row]) + 1) % categories}
    if op == "delete":
        return {"op": op, "of": str(row)}
    if op == "mask":  # its left half
        columns = np.flatnonzero(mask.any(axis=0))
        mask[:, columns[len(columns) // 2] + 1 :] = False
        return {"op": op, "of": str(row), **independent.runs_of(mask)}
    free: np.ndarray = masks.dense().max(axis=0) == 0
    if sample.semantic is not None:
        free &= sample.semantic == int(np.bincount(sample.semantic[free]).argmax())
    corner = np.zeros(mask.shape, bool)
    corner[-3:, -4:] = True
    mask = corner if bool(free[corner].all()) else free
    return {"op": "add", "of": "new-1", "category": int(instances.category[row]), **independent.runs_of(mask)}


@pytest.mark.parametrize("op", ["category", "delete", "mask", "add"])
@pytest.mark.parametrize("name", [name for name in DATASETS if name not in (*MAPS_ALONE, "yolo_alone")])
def test_an_edit_of_an_object_comes_back(name: str, op: str, packs: Made, tmp_path: Path) -> None:
    pack = packs(name)
    opened, index = segdata.open(pack), with_objects(pack)
    if op == "category" and len(opened.labels) == 1:
        pytest.skip("the dataset has one category")
    edits = [edit_of(opened[index], len(opened.labels), op)]
    edited = Edited(pack, name.split("_")[0], index, edits, tmp_path)
    edited.require_others_untouched()
    assert edited.losses == {kind: [opened.key(index)] for kind in LOSSES.get((name, op), ())}
    if not {OTHER_CLASS, GROUP, BOXES} & edited.losses.keys():
        require_objects(edited, edits)


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name] in MAPS])
def test_pixels_of_a_label_map_come_back(name: str, packs: Made, tmp_path: Path) -> None:
    pack, format = packs(name), name.split("_")[0]
    opened = segdata.open(pack)
    index = next(number for number, sample in enumerate(opened) if sample.semantic is not None)
    old = opened[index].semantic
    assert old is not None
    mask = np.zeros(old.shape, bool)
    mask[2:9, 3:8] = True
    category = int(next(value for value in range(len(opened.labels)) if value != old[4, 4]))
    edited = Edited(pack, format, index, [{"op": "map", "category": category, **independent.runs_of(mask)}], tmp_path)
    edited.require_others_untouched()
    assert edited.losses == {kind: [opened.key(index)] for kind in LOSSES.get((name, "map"), ())}
    before, after = edited.both
    assert after.semantic is not None
    assert np.array_equal(after.semantic, np.where(mask, category, old))
    if before.has_instances and format != "voc":
        require_objects(edited, [])


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in (*MAPS_ALONE, "yolo_alone")])
def test_flags_that_a_format_has_come_back_and_others_are_counted(name: str, packs: Made, tmp_path: Path) -> None:
    pack, format = packs(name), name.split("_")[0]
    opened, index = segdata.open(pack), with_objects(pack)
    instances = opened[index].instances
    flags = {name: not bool(getattr(instances, name)[0]) for name in ("iscrowd", "difficult", "truncated", "occluded")}
    edits: list[Edit] = [{"op": "flags", "of": "0", "flags": flags}]
    edited = Edited(pack, format, index, edits, tmp_path)
    edited.require_others_untouched()
    have = HAVE_FLAGS.get(format, set())
    lost = {("crowd" if name == "iscrowd" else name) + " flags" for name in flags if name not in have}
    assert edited.losses.keys() - {"polygon documents"} == lost
    if format != "coco":
        require_objects(edited, edits, flags=have)


@pytest.mark.parametrize("name", ["coco", "cvat", "sa1b", "via"])
def test_a_label_map_that_a_format_cannot_hold_is_counted_at_its_image_alone(
    name: str, packs: Made, tmp_path: Path
) -> None:
    pack = packs(name)
    opened, index = segdata.open(pack), with_objects(pack)
    mask = np.zeros((opened[index].height, opened[index].width), bool)
    mask[2:9, 3:8] = True
    edited = Edited(pack, name, index, [{"op": "map", "category": 0, **independent.runs_of(mask)}], tmp_path)
    edited.require_others_untouched()
    assert edited.losses == {"label maps": [opened.key(index)]} and not edited.changed
    require_objects(edited, [])


def test_objects_that_cover_each_other_are_counted_at_their_image_alone(packs: Made, tmp_path: Path) -> None:
    """VOC's object mask has one number for each pixel; the pack has both objects whole, other formats get both."""
    pack = packs("voc")
    opened, index = segdata.open(pack), with_objects(pack)
    mask = opened[index].instances.masks[0] != 0
    edits: list[Edit] = [{"op": "add", "of": "new-1", "category": 1, **independent.runs_of(mask)}]
    edited = Edited(pack, "voc", index, edits, tmp_path)
    edited.require_others_untouched()
    assert set(edited.losses) == {"masks of objects wholly hidden by others in a map of numbers", OTHER_CLASS}
    assert all(keys == [opened.key(index)] for keys in edited.losses.values())
    corrected = segdata.open(tmp_path / "out")[index].instances
    assert np.array_equal(corrected.masks[len(corrected) - 1] != 0, mask)
    segdata.apply(independent.write(tmp_path / "none", tmp_path / "out", []), tmp_path / "out", tmp_path / "again2")
    with pytest.raises(LossyConversion, match="objects wholly hidden"):
        segdata.convert(tmp_path / "again2", tmp_path / "refused", to="voc", workers=1)
    assert not (tmp_path / "refused").exists()
