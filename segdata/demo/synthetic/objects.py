"""A COCO folder to learn from: laid tables, or animals on meadows, too; every mask exact, with its holes.

Unlike `coco.draw`, which shows every oddity of the format, this one is plain: two splits, visible pixels as run lengths.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segdata.catalog import manifest
from segdata.demo.synthetic import files, scenes
from segdata.demo.synthetic.scene import Scene

_COCO = {"table": "dining table"}


def draw(
    root: Path,
    *,
    train: int = 400,
    val: int = 100,
    height: int = 240,
    width: int = 320,
    seed: int = 0,
    scene: Callable[[np.random.Generator, int, int], Scene] = scenes.laid_table,
    tell: Callable[[int, int], None] | None = None,
) -> Path:
    """Two splits of object scenes in COCO's layout of 2017.

    Args:
        root: folder to write into.
        train, val: images of each split; no scene is in both.
        seed: same seed, same bytes.
        scene: one of `scenes`.
        tell: called with images drawn and in all.

    Returns:
        `root`.
    """
    space = manifest.shipped("coco-2017").labels
    index_of_name = space.index_of_name
    used: set[int] = set()
    documents: dict[str, dict[str, Any]] = {}
    for split, members in (("train2017", range(train)), ("val2017", range(train, train + val))):
        rows, annotations = [], []
        for number in members:
            drawn = scene(files.rng(seed, 2, number), height, width)
            name = f"{number + 1:012d}.jpg"
            files.picture(drawn, root / split / name)
            rows.append({"id": number + 1, "file_name": name, "height": height, "width": width})
            owner = files.owner(drawn)
            for index, region in enumerate(drawn.regions, 1):
                category = index_of_name.get(_COCO.get(region.name, region.name))
                visible = owner == index
                if category is None or visible.sum() < files.SMALLEST:
                    continue
                used.add(category)
                annotations.append(
                    {
                        "id": (number + 1) * 1000 + index,
                        "image_id": number + 1,
                        "category_id": space[category].id,
                        "iscrowd": int(region.is_crowd),
                        **_geometry(visible),
                    }
                )
            if tell is not None:
                tell(number + 1, train + val)
        documents[split] = {"images": rows, "annotations": annotations}
    categories = [
        {"id": space[category].id, "name": space[category].name, "supercategory": space[category].supercategory}
        for category in sorted(used)
    ]
    for split, document in documents.items():
        file = root / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**document, "categories": categories}), "utf-8")
    return root


def _geometry(visible: np.ndarray) -> dict[str, Any]:
    """Run lengths, area and tight box of a mask (H, W) bool."""
    rows, columns = np.nonzero(visible)
    x, y = int(columns.min()), int(rows.min())
    flips = np.flatnonzero(np.diff(visible.ravel("F").astype(np.int8), prepend=0))
    return {
        "segmentation": {
            "counts": np.diff(np.concatenate([[0], flips, [visible.size]])).tolist(),
            "size": list(visible.shape),
        },
        "area": int(visible.sum()),
        "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
    }
