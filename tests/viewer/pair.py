"""Five images and two predictions for them that differ in known objects, so that everything can be counted by hand.

| image | objects | predictions | other predictions |
|---|---|---|---|
| 0 | dog, cat | both | the dog |
| 1 | dog | none | the dog, with score 0.4 |
| 2 | dog | the dog | the dog |
| 3 | none | none | a cat that is not there |
| 4 | cat | the cat, a dog that is not there | the same |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import segdata
from tests.helpers import made

DOG, CAT = 1, 2
PLACES = {DOG: (10, 10, 30, 20), CAT: (60, 40, 20, 30)}
OBJECTS = ((DOG, CAT), (DOG,), (DOG,), (), (CAT,))
FOUND = ((DOG, CAT), (), (DOG,), (), (CAT, DOG))
FOUND_BY_OTHER = ((DOG,), (DOG,), (DOG,), (CAT,), (CAT, DOG))
UNSURE = 1
"""The image in which the other predictions have score 0.4."""


def make(root: Path) -> tuple[Path, Path, Path]:
    """Write the pack, and results files of both predictions."""
    names = [f"{number:06d}.jpg" for number in range(len(OBJECTS))]
    for number, name in enumerate(names):
        made.put(root / "coco/val2017" / name, made.photo(100, 80, seed=number))
    objects = [_box(number, category) for number, categories in enumerate(OBJECTS) for category in categories]
    document = {
        "images": [{"id": number, "file_name": name, "width": 100, "height": 80} for number, name in enumerate(names)],
        "annotations": [
            {**item, "id": row + 1, "iscrowd": 0, "area": item["bbox"][2] * item["bbox"][3]}
            for row, item in enumerate(objects)
        ],
        "categories": [{"id": DOG, "name": "dog"}, {"id": CAT, "name": "cat"}],
    }
    made.put(root / "coco/annotations/instances_val2017.json", document)
    segdata.convert(root / "coco", root / "pack", workers=1)
    return root / "pack", results(root / "ours.json", FOUND), results(root / "other.json", FOUND_BY_OTHER)


def results(path: Path, found: tuple[tuple[int, ...], ...]) -> Path:
    """A results file of categories that are found in each image, each at its place."""
    is_other = found is FOUND_BY_OTHER
    path.write_text(
        json.dumps(
            [
                {**_box(number, category), "score": 0.4 if is_other and number == UNSURE else 0.9}
                for number, categories in enumerate(found)
                for category in categories
            ]
        )
    )
    return path


def _box(number: int, category: int) -> dict[str, Any]:
    x, y, width, height = PLACES[category]
    ring = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "image_id": number,
        "category_id": category,
        "bbox": [x, y, width, height],
        "segmentation": [ring],
    }
