"""Objects of many images at once are compared as those of one image are."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata import Instances, Masks, Sample
from segdata.comparison import changes, columns
from segdata.comparison.objects import Objects

SIZE = 24

Record = dict[str, Any]


def drawn(rng: random.Random, *, are_numbered: bool) -> list[list[Record]]:
    """Images of objects that overlap, are equal, have a mask, a box, both or neither."""
    images = []
    for image in range(60):
        objects, kinds = [], rng.choice(("m", "b", "mmmmbn"))
        for index in range(rng.randint(0, 5)):
            x, y, w, h = rng.choice((0, 2, 8)), rng.choice((0, 2, 8)), rng.choice((4, 6)), rng.choice((5,) * 9 + (0,))
            number = 100 * image + index if are_numbered else index
            objects.append({"id": number, "at": (x, y, w, h), "category": 0, "crowd": False, "kind": rng.choice(kinds)})
        images.append(objects)
    return images


def edited(images: list[list[Record]], rng: random.Random) -> list[list[Record]]:
    images = copy.deepcopy(images)
    for objects in images:
        for each in list(objects):
            edit = rng.choice(
                ("none",) * 12 + ("category", "crowd", "move", "remove", "number", "kind", "note", "swap")
            )
            x, y, w, h = each["at"]
            if edit == "remove":
                objects.remove(each)
            elif edit == "swap":
                objects.reverse()
            elif edit == "move":
                each["at"] = (x + rng.choice((1, 9)), y, w, h)
            else:
                value = {"category": 1, "crowd": True, "number": each["id"] + 50, "kind": "b", "note": "n"}.get(edit)
                each["id" if edit == "number" else edit] = value
    return images


def written(images: list[list[Record]], target: Path) -> Path:
    def sample(number: int, objects: list[Record]) -> Sample:
        dense = np.zeros((len(objects), SIZE, SIZE), np.uint8)
        for mask, each in zip(dense, objects, strict=True):
            x, y, w, h = each["at"]
            mask[y : y + h, x : x + w] = each["kind"] == "m"
        instances = Instances.build(
            [each["category"] for each in objects],
            Masks.from_dense(dense),
            has_mask=[each["kind"] == "m" for each in objects],
            id=[each["id"] for each in objects],
            iscrowd=[each["crowd"] for each in objects],
            bbox=[(np.nan,) * 4 if each["kind"] == "n" else each["at"] for each in objects],
            extra=[{"note": each["note"]} if each.get("note") else {} for each in objects],
        )
        return Sample(f"{number:03d}", SIZE, SIZE, instances=instances)

    samples = (sample(number, objects) for number, objects in enumerate(images))
    segdata.write({"train": samples}, target, labels=["cat", "dog"])
    return target


@pytest.mark.parametrize("are_numbered", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_columns_say_what_images_one_by_one_say(
    seed: int, are_numbered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    images = drawn(rng, are_numbered=are_numbered)
    packs = written(images, tmp_path / "one"), written(edited(images, rng), tmp_path / "other")
    together = columns.compared
    compared_at_once: list[Objects | None] = []

    def compared(*sides: Any, **options: Any) -> list[Objects | None]:
        results = together(*sides, **options)
        compared_at_once.extend(results)
        return results

    monkeypatch.setattr(columns, "compared", compared)
    difference = segdata.diff(*packs)
    assert sum(each is not None for each in compared_at_once) > 5
    monkeypatch.setattr(columns, "compared", lambda one, *rest, **options: [None] * len(one.rows))
    one_by_one = segdata.diff(*packs)
    assert difference.changes == one_by_one.changes
    assert difference.objects == one_by_one.objects and difference.images == one_by_one.images


def test_many_changes_are_made_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    images = drawn(rng, are_numbered=True)
    packs = written(images, tmp_path / "one"), written(edited(images, rng), tmp_path / "other")
    kept = segdata.diff(*packs)
    monkeypatch.setattr(changes, "_MOST", 3)
    monkeypatch.setattr(changes, "_AT_ONCE", 7)
    difference = segdata.diff(*packs)
    assert isinstance(kept.changes, list) and isinstance(difference.changes, changes.Changes)
    assert len(difference.changes) == len(kept.changes) > 20
    assert list(difference.changes) == kept.changes == list(difference.changes)
    assert [difference.changes[index] for index in (0, 9, -1)] == [kept.changes[index] for index in (0, 9, -1)]
    assert difference.changes[3:12] == kept.changes[3:12]
    assert difference.as_dict() == {**kept.as_dict(), "one": str(packs[0])}
