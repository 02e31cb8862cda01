"""How well annotations of look-alikes agree, by arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import segdata
from segdata.core.labels import LabelSpace
from segdata.derivation.duplicates.agreement import agreement
from segdata.sets.orientation import turned
from tests.derivation.duplicates.conftest import Write
from tests.helpers.pictures import TURNS, encoded, waves

LABELS = LabelSpace.of(["cat", "dog"])
OTHERS = LabelSpace.of(["dog", "cat", "cow"])


def block(rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int] = (40, 60)) -> npt.NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def sample(objects: dict[str, Any], size: tuple[int, int] = (40, 60), labels: LabelSpace = LABELS) -> segdata.Sample:
    """A sample with one object of each category: a mask."""
    return segdata.Sample.build("a", size=size, masks=[*objects.values()], category=[*objects], labels=labels)


def agrees(one: segdata.Sample, other: segdata.Sample, orientation: int = 1) -> float | None:
    return agreement(one, other, (LABELS, LABELS), orientation)


def test_masks_of_the_same_categories() -> None:
    one = sample({"cat": block((0, 10), (0, 10)), "dog": block((20, 40), (0, 20))})
    other = sample({"cat": block((0, 10), (5, 15)), "dog": block((20, 40), (0, 20))})
    # cat: 50 of 150, dog: 400 of 400.
    assert agrees(one, other) == agrees(other, one) == pytest.approx(450 / 550)
    assert agrees(one, one) == 1.0
    swapped = sample({"dog": block((0, 10), (0, 10)), "cat": block((20, 40), (0, 20))})
    assert agrees(one, swapped) == 0.0


def test_two_masks_of_one_category_are_one() -> None:
    whole = sample({"cat": block((0, 20), (0, 20))})
    halves = segdata.Sample.build(
        "b", size=(40, 60), masks=[block((0, 20), (0, 10)), block((0, 20), (10, 20))], category=[0, 0]
    )
    assert agrees(whole, halves) == 1.0


def test_categories_are_matched_by_name() -> None:
    mine = sample({"cat": block((0, 10), (0, 10))})
    theirs = sample({"cat": block((0, 10), (0, 10)), "cow": block((20, 30), (0, 10))}, labels=OTHERS)
    assert agreement(mine, theirs, (LABELS, OTHERS)) == 1.0  # the one knows no cows
    assert agreement(mine, theirs, (LABELS, LabelSpace.of(["horse", "cow"]))) is None


def test_what_cannot_be_said() -> None:
    objects = sample({"cat": block((0, 10), (0, 10))})
    nothing = segdata.Sample.build("c", size=(40, 60), category=[])
    label_map = segdata.Sample.build("d", size=(40, 60), semantic=np.zeros((40, 60), np.uint8))
    assert agrees(objects, label_map) is None
    assert agrees(objects, segdata.Sample.build("e", size=(40, 60))) is None
    assert agrees(objects, nothing) == 0.0
    assert agrees(nothing, nothing) == 1.0


def test_label_maps_without_void() -> None:
    one, other = np.zeros((2, 10), np.uint8), np.zeros((2, 10), np.uint8)
    one[1], other[1] = 1, 1
    one[:, :2], other[:, 8:] = 255, 255
    other[0, 2] = 1
    # Six columns are known in both: cat 5 of 6, dog 6 of 7.
    maps = [segdata.Sample.build("a", size=(2, 10), semantic=values) for values in (one, other)]
    assert agrees(maps[0], maps[1]) == pytest.approx((5 + 6) / (6 + 7))


def test_a_box_without_mask_is_filled() -> None:
    box = segdata.Sample.build("a", size=(40, 60), category=[0], bbox=[[10.0, 5.0, 20.0, 10.0]])
    assert agrees(box, sample({"cat": block((5, 15), (10, 30))})) == 1.0
    assert agrees(box, sample({"cat": block((5, 15), (10, 20))})) == 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_with_the_picture(orientation: int) -> None:
    mask = block((0, 10), (0, 20)) | block((30, 40), (50, 60))
    one = sample({"cat": mask})
    there = turned(mask, orientation)
    assert agrees(one, sample({"cat": there}, size=there.shape), orientation) == 1.0
    small = sample({"cat": there[::2, ::2]}, size=(there.shape[0] // 2, there.shape[1] // 2))
    assert agrees(one, small, orientation) == agrees(small, one, {6: 8, 8: 6}.get(orientation, orientation)) == 1.0


def test_groups_that_disagree_come_first(write: Write) -> None:
    def annotated(seed: int, mask: npt.NDArray[np.bool_], turn: int | None = None) -> dict[str, Any]:
        picture = Image.fromarray(waves(seed))
        if turn is not None:
            picture = picture.transpose(TURNS[turn])
            mask = turned(mask, turn)
        return {"image": encoded(picture), "masks": [np.ascontiguousarray(mask)], "category": ["cat"]}

    left, right = block((0, 40), (0, 100), (240, 320)), block((0, 40), (50, 150), (240, 320))
    pack = write(
        "pack",
        {
            "train": {
                "a": annotated(1, left),
                "b": annotated(1, left),
                "c": annotated(2, left),
                "d": annotated(2, right),
                "e": annotated(3, left),
                "f": annotated(3, left, 6),
            }
        },
    )
    result = segdata.dedupe(pack, flips=True)
    assert [[member.key for member in group.members] for group in result.groups] == [["c", "d"], ["a", "b"], ["e", "f"]]
    assert [group.iou for group in result.groups] == [pytest.approx(50 / 150), 1.0, 1.0]
    assert [group.disagrees for group in result.groups] == [True, False, False]
