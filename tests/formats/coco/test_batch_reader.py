"""Reading many images at once gives what reading one record at a time gives, or leaves the image to the latter."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdata.core.findings import Findings
from segdata.core.sample import Instances
from segdata.formats.coco import batch_reader
from segdata.formats.coco import format as coco
from segdata.formats.contract import ReadOptions
from tests.helpers import made
from tests.helpers.samples import SAMPLES, needs_samples

Record = dict[str, Any]
WHOLE = made.HEIGHT * made.WIDTH


def both(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[tuple[Any, Any]]]:
    """How many images were regular, and what each of the two ways gives for every image (or the error's text)."""
    read = batch_reader.read
    regular = 0

    def counted(*arguments: Any) -> list[Any]:
        nonlocal regular
        images = read(*arguments)
        regular += sum(image is not None for image in images)
        return images

    def nothing(records: Sequence[Any], *_: Any) -> list[None]:
        return [None] * len(records)

    ways = []
    for reader in (counted, nothing):
        with monkeypatch.context() as patch:
            patch.setattr(batch_reader, "read", reader)
            findings = Findings()
            source = coco.scan(root, findings, ReadOptions())
            outputs: list[Any] = []
            for entry in source.entries:
                sample = coco.load(source, entry, findings)
                outputs.append((columns(sample.instances) if sample.has_instances else None, sample.extra))
            ways.append([*outputs, findings.as_dict()])
    return regular, list(zip(*ways, strict=True))


def columns(instances: Instances) -> dict[str, Any]:
    masks, polygons = instances.masks, instances.polygons
    arrays = {
        **{name: value for name, value in vars(instances).items() if isinstance(value, np.ndarray)},
        **{f"masks.{name}": getattr(masks, name) for name in ("boxes_xywh", "runs", "pointer")},
        **{f"polygons.{name}": getattr(polygons, name) for name in ("values", "rings", "pointer")},
    }
    return {
        "size": (masks.height, masks.width),
        "extra": [dict(item) for item in instances.extra],
        **{name: (str(array.dtype), array.tolist()) for name, array in arrays.items()},
    }


def same(pairs: list[tuple[Any, Any]]) -> None:
    for mine, theirs in pairs:
        assert json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True)  # NaN is NaN there


@needs_samples
def test_real_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    regular, pairs = both(SAMPLES / "coco", monkeypatch)
    same(pairs)
    assert regular == len(pairs) - 1  # the last one is the remarks


def put(root: Path, edit: Callable[[Record, list[Record]], None]) -> None:
    """Forty images, over two blocks, the second of two objects in each; `edit` changes one record."""
    document = made.coco_document(40)
    first, crowd = document["annotations"][:2]
    document["annotations"] = []
    for number, image in enumerate(document["images"]):
        image["height"] -= number % 3  # blocks hold images of several sizes
        size = image["height"] * made.WIDTH
        counts = [0, 7, size - 7]
        runs = {"size": [image["height"], made.WIDTH], "counts": counts}
        document["annotations"] += [
            {**copy.deepcopy(first), "id": 2 * number, "image_id": image["id"]},
            {**crowd, "id": 2 * number + 1, "image_id": image["id"], "segmentation": runs},
        ]
    edit(document["annotations"][14], document["annotations"][15])  # of image 7, whose height is one pixel less
    made.put(root / "annotations/instances_val2017.json", document)


def setting(which: int, **values: Any) -> Callable[..., None]:
    return lambda *records: records[which].update(values)


def without(which: int, key: str) -> Callable[..., None]:
    return lambda *records: records[which].pop(key)


SEVEN = made.HEIGHT - 1
EDITS: dict[str, tuple[Callable[..., None], bool]] = {
    "nothing": (lambda *_: None, True),
    "other area": (setting(0, area=1.0), True),
    "whole numbers": (setting(0, bbox=[4, 4, 10, 8], area=86), True),
    "box past the image": (setting(0, bbox=[-0.5, 4.0, 10.5, 8.25]), True),
    "box without width": (setting(0, bbox=[4.0, 4.0, 0.0, 8.25]), False),
    "no segmentation": (setting(0, segmentation=[]), True),
    "two rings": (setting(0, segmentation=[[4.0, 4.0, 9.0, 4.0, 9.0, 9.0], [1.0, 1.0, 3.5, 1.0, 3.5, 9.25]]), True),
    "far ring": (setting(0, segmentation=[[4.0, 4.0, 9e6, 4.0, 9.0, 9.0]]), False),
    "more than a megabyte": (setting(0, segmentation=[[4.0, 4.0, 9.0, 4.0, 9.0, 9.0]] * 40000), False),
    "polygon of a crowd": (setting(0, iscrowd=1), True),
    "box far past the image": (setting(0, bbox=[4.0, 4.0, 100.5, 8.25]), False),
    "odd ring": (setting(0, segmentation=[[4.0, 4.0, 9.0, 4.0, 9.0, 9.0, 1.0]]), False),
    "short ring": (setting(0, segmentation=[[4.0, 4.0, 9.0, 4.0]]), False),
    "coordinates beyond exact numbers": (setting(0, segmentation=[[4, 4, 9, 4, 9, (1 << 53) + 1]]), False),
    "area beyond exact numbers": (setting(0, area=(1 << 53) + 1), False),
    "negative area": (setting(0, area=-1.0), False),
    "unknown category": (setting(0, category_id=77), False),
    "category beyond 64 bits": (setting(0, category_id=1 << 70), False),
    "crowd as a word": (setting(0, iscrowd=False), False),
    "crowd of 2": (setting(0, iscrowd=2), False),
    "further field": (setting(0, keypoints=[1, 2, 2]), False),
    "field of ours": (setting(0, coco={"x": 1}), False),
    "no crowd flag": (without(0, "iscrowd"), False),
    "no box": (without(0, "bbox"), False),
    "no area": (without(0, "area"), False),
    "no segmentation at all": (without(0, "segmentation"), False),
    "compressed": (setting(0, segmentation={"size": [SEVEN, made.WIDTH], "counts": "0" * 3}), False),
    "runs of an object": (setting(1, iscrowd=0), False),
    "empty run": (
        setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": [3, 4, 0, 2, SEVEN * made.WIDTH - 9]}),
        False,
    ),
    "runs of another size": (setting(1, segmentation={"size": [made.WIDTH, SEVEN], "counts": [0, WHOLE]}), False),
    "runs of another sum": (setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": [0, 5]}), False),
    "runs and more": (
        setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": [0, SEVEN * made.WIDTH], "x": 1}),
        False,
    ),
    "no run": (setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": []}), False),
    "all in one run": (setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": [SEVEN * made.WIDTH]}), False),
    "to the last pixel": (setting(1, segmentation={"size": [SEVEN, made.WIDTH], "counts": [9, SEVEN * made.WIDTH - 9]}), True),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_one_odd_record(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit, is_regular = EDITS[name]
    put(tmp_path, edit)
    regular, pairs = both(tmp_path, monkeypatch)
    same(pairs)
    assert regular == (40 if is_regular else 39)
