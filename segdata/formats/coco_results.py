"""COCO results: a JSON list of detections.

[{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.236}, …]
[{"image_id": 42, "category_id": 18, "segmentation": {"size": [h, w], "counts": "…"}, "score": 0.236}, …]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segdata.errors import InvalidAnnotation
from segdata.formats import json_text
from segdata.formats.results import Holding, Predictions, Truth
from segdata.masks import Masks
from segdata.problems import Problems
from segdata.sample import Instances, Sample

LAYOUT = "a JSON list of {image_id, category_id, score, bbox or segmentation} (COCO results)"


def detect(path: Path) -> bool:
    """Whether the file holds a JSON list."""
    if not path.is_file() or path.suffix != ".json":
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


class _Record(msgspec.Struct):
    image_id: int
    category_id: int
    score: float
    bbox: list[float] = []
    segmentation: Any = None


def read(path: Path, truth: Truth, problems: Problems) -> Predictions:
    """Detections by image, in the order of the file."""
    records = json_text.decode(json_text.map_file(path), list[_Record], path)
    place_of = {int(number): place for place, number in enumerate(truth.ids.tolist())}
    by_image: dict[int, list[_Record]] = {}
    for record in records:
        if record.image_id not in place_of:
            raise InvalidAnnotation("a detection names an image that the truth does not have", file=path)
        by_image.setdefault(place_of[record.image_id], []).append(record)
    holds: set[Holding] = {"scores"}
    if any(record.bbox for record in records) or not records:
        holds.add("boxes")
    if any(record.segmentation for record in records):
        holds |= {"boxes", "masks"}
    return Predictions(
        path, "coco-results", frozenset(holds), lambda place: _sample(by_image.get(place), truth, place), problems
    )


def _sample(records: list[_Record] | None, truth: Truth, place: int) -> Sample | None:
    if records is None:
        return None
    height, width = truth.sizes[place].tolist()
    masks = Masks.empty(height, width, len(records))
    if records[0].segmentation:
        masks = Masks.from_rle([record.segmentation for record in records], height, width)
    boxes = masks.boxes
    bbox = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).astype(np.float64)
    if records[0].bbox:
        bbox = np.array([record.bbox for record in records])
    index_of = truth.labels.index_of_id
    return Sample(
        truth.keys[place],
        height,
        width,
        id=int(truth.ids[place]),
        instances=Instances.build(
            [index_of[record.category_id] for record in records],
            masks,
            has_mask=[bool(record.segmentation) for record in records],
            bbox=bbox,
            score=[record.score for record in records],
        ),
    )
