"""A drawn scene, and an oracle that strokes the largest error of a proposed mask, as a patient person would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from segdata.correction.tools.grabcut import grabcut

Object = tuple[Path, np.ndarray]
Box = tuple[int, int, int, int]
Strokes = list[list[tuple[float, float]]]
Propose = Callable[[Box, Strokes, Strokes], np.ndarray]


def drawn_scene(
    size: tuple[int, int], contrast: int, seed: int
) -> tuple[np.ndarray, np.ndarray, Box, Strokes, Strokes]:
    """An ellipse with texture on a ground with texture: image, mask, box around it, a scribble inside and one outside.

    Args:
        size: height and width.
        contrast: grey levels between the means of both.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cy, cx, ry, rx = height * 0.5, width * 0.45, height * 0.3, width * 0.2
    angle = np.arctan2((y - cy) / ry, (x - cx) / rx)
    mask = np.asarray(np.hypot((y - cy) / ry, (x - cx) / rx) <= 1 + 0.12 * np.sin(3 * angle), bool)
    means = np.array([110, 120, 100.0]) + np.array([contrast, -contrast, contrast / 2]) * mask[..., None]
    noise = cv2.GaussianBlur(rng.normal(0, 12, (height, width, 3)).astype(np.float32), (0, 0), 1.0)
    image = np.clip(means + 2 * noise, 0, 255).astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    inside = [(cx - rx / 2, cy), (cx + rx / 2, cy)]
    outside = [(box[0] + 2.0, box[1] + 2.0), (box[0] + rx / 4, box[1] + 2.0)]
    return image, mask, box, [inside], [outside]


def real_objects(folder: Path) -> list[Object]:
    """Photos with the masks of objects of 64² to 200² pixels that are no crowds."""
    objects = []
    for path in sorted((folder / "annotations").glob("instances_*.json")):
        coco = COCO(path)
        for record in coco.dataset["annotations"]:
            photo = folder / path.stem.removeprefix("instances_") / coco.imgs[record["image_id"]]["file_name"]
            if record["iscrowd"] or not photo.is_file():
                continue
            mask = coco.annToMask(record).astype(bool)
            if 64**2 <= mask.sum() <= 200**2:
                objects.append((photo, mask))
    return objects


def oracle_ious(objects: Sequence[Object], strokes: int, proposes: Callable[[Path], Propose]) -> np.ndarray:
    """(N, strokes + 1) IoU of each object after its box, and after each stroke.

    Args:
        proposes: for a photo, what makes a mask of a box, strokes inside and strokes outside.
    """
    rows = []
    for path, mask in objects:
        propose = proposes(path)
        ys, xs = np.nonzero(mask)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        drawn: dict[bool, Strokes] = {True: [], False: []}
        row = []
        for _ in range(strokes + 1):
            proposed = propose(box, drawn[True], drawn[False])
            row.append((proposed & mask).sum() / (proposed | mask).sum())
            missed, wrong = largest(mask & ~proposed), largest(proposed & ~mask)
            is_missed = missed.sum() >= wrong.sum()
            if (missed if is_missed else wrong).any():
                drawn[bool(is_missed)].append(stroke(missed if is_missed else wrong))
        rows.append(row)
    return np.array(rows)


def by_function(path: Path) -> Propose:
    """GrabCut of a photo, called."""
    image = np.asarray(Image.open(path).convert("RGB"))
    return lambda box, inside, outside: grabcut(image, box, inside, outside)


def largest(region: np.ndarray) -> np.ndarray:
    """The largest part of a region."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(region)
    return np.asarray(labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])), bool)


def stroke(region: np.ndarray) -> list[tuple[float, float]]:
    """A line through the deepest point of a region, along its main axis, that stays two pixels inside."""
    depth = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    ys, xs = np.nonzero(region)
    axis = np.linalg.eigh(np.cov(np.stack([xs, ys])))[1][:, -1] if len(xs) > 2 else np.array([1.0, 0.0])
    ends = []
    for sign in (-1, 1):
        end = np.array([x, y], float)
        while True:
            column, row = np.round(end + sign * axis).astype(int).tolist()
            if not (0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]) or depth[row, column] < 2:
                break
            end = end + sign * axis
        ends.append((float(end[0]), float(end[1])))
    return [ends[0], (float(x), float(y)), ends[1]]
