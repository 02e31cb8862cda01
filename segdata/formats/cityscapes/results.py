"""Cityscapes results: what the official evaluators and the leaderboard take.

    instance/CITY_000000_000019_pred.txt        a line a prediction: path of its mask, label id, score
             masks/CITY_000000_000019_0.png     everything that is not 0 is inside
    pixel/CITY_000000_000019_pred_labelIds.png  label ids

Read from any folder that has such text files below it; label maps beside them (`*_labelIds.png`) are read, too.

Traps: mask paths are relative to their text file and may not leave the folder of the results; a mask that is named
twice in a file counts once, as its last line says (so the official evaluator reads it); palette and colour masks are
judged by their grey value.

Written are categories of Cityscapes' names; boxes, areas and ids are no part of such results.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.predictions import Crop, GroundTruth, Holding, Predictions, Regions
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, LabelMismatch, SegdataError, Unsafe
from segdata.formats import label_maps
from segdata.formats.adapting import count_unmapped, distinct_keys, table_by_name
from segdata.formats.contract import Header, Plan
from segdata.formats.shared.files_by_key import by_image, files_below, require_all
from segdata.formats.shared.folder import read_bytes, write_file
from segdata.system.reading import open_file

LAYOUT = "CITY_SEQUENCE_FRAME_pred.txt with masks (Cityscapes results)"

_LUMINANCE = np.array([19595, 38470, 7471])
"""Red, green and blue in a grey value, times 65536 (ITU-R 601, as Pillow rounds it)."""


@dataclass(frozen=True)
class _Line:
    """One prediction: the path of its mask under the results' folder, its category index and its score."""

    mask: str
    category: int
    score: float


def detect(path: Path) -> bool:
    """Whether a text file below the folder begins with a mask, a number and a number."""
    if not path.is_dir():
        return False
    name = next(iter(files_below(path, ".txt")), None)
    if name is None:
        return False
    with open_file(path / name) as file:
        fields = file.read(4096).decode("utf-8", "replace").strip().partition("\n")[0].split()
    return name.endswith("_pred.txt") or (len(fields) == 3 and fields[0].lower().endswith(".png"))


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """Predictions of every image; masks are decoded when an image is read.

    Raises:
        InvalidAnnotation: a line that is none, images without a text file.
        Unsafe: a mask path that leads out of the folder.
    """
    table = _table(truth.labels, path)
    file_of = by_image(path, list(files_below(path, ".txt")), truth, findings)
    require_all(path, file_of, truth, lambda sample: sample.has_instances, "text file of predictions")
    lines = {index: _lines(path, name, table, findings) for index, name in file_of.items()}
    holds: set[Holding] = {"masks", "boxes", "scores"}
    maps = None
    if any(label_maps.is_label_ids(name) for name in files_below(path, ".png")):
        maps = label_maps.read(path, truth, Findings())
        holds.add("semantic")

    def regions(index: int) -> Regions | None:
        return _regions(path, lines[index], index, truth, maps) if index in lines else None

    def get(index: int) -> Sample | None:
        if index not in lines:
            return None
        label_map = None if maps is None else maps.get(index)
        return _sample(_regions(path, lines[index], index, truth, maps), truth.keys[index], file_of[index], label_map)

    return Predictions(
        path,
        "cityscapes-results",
        frozenset(holds),
        get,
        findings,
        find_regions=regions,
        find_covered=lambda: sorted(lines),
    )


def _table(labels: LabelSpace, path: Path) -> Mapping[int, int]:
    """Label id → index in the ground truth's labels; −1 for labels that the ground truth does not have."""
    city = manifest.label_space("cityscapes")
    strange = [category.name for category in labels.categories if category.name not in city.index_of_name]
    if strange:
        raise LabelMismatch(
            "Cityscapes results are read against Cityscapes' categories alone",
            file=path,
            why=f"the ground truth ({labels.name!r}) has {strange[0]!r}",
        )
    return {category.id: labels.index_of_name.get(category.name, -1) for category in city.categories}


def _lines(root: Path, name: str, table: Mapping[int, int], findings: Findings) -> list[_Line]:
    """The predictions of one text file."""
    lines: dict[str, _Line] = {}
    text = read_bytes(root, name, "the predictions").decode("utf-8", "replace")
    for number, row in enumerate(text.splitlines(), 1):
        fields = row.split()
        if not fields:
            continue
        try:
            line = _line(fields, posixpath.dirname(name), table)
        except SegdataError as error:
            raise error.located(file=root / name, place=f"line {number}") from error
        if line.mask in lines:
            findings.remark("mask named twice in one file: its last line counts", f"{name}: line {number}")
        lines[line.mask] = line
    known = [line for line in lines.values() if line.category >= 0]
    if len(known) < len(lines):
        kind = "predictions of categories that the truth does not have: passed over"
        findings.remark(kind, name, len(lines) - len(known))
    return known


def _line(fields: Sequence[str], folder: str, table: Mapping[int, int]) -> _Line:
    numbers = []
    for field in fields[1:]:
        try:
            numbers.append(float(field))
        except ValueError:
            numbers.append(math.nan)
    if len(fields) != 3 or not all(map(math.isfinite, numbers)):
        raise InvalidAnnotation(
            "a line is not a prediction",
            why=f"expected mask path, label id and score, found {' '.join(fields)!r}"[:200],
            fix="write PATH LABEL_ID SCORE, separated by one space, numbers finite",
        )
    label = int(numbers[0])
    if label not in table:
        raise InvalidAnnotation(
            "a prediction has a label id that Cityscapes does not have",
            why=f"found {fields[1]}; label ids are {min(table)}…{max(table)}",
            fix="write label ids (person is 24), not trainIds or names",
        )
    mask = posixpath.normpath(posixpath.join(folder, fields[0]))
    if fields[0].startswith("/") or "\\" in fields[0] or mask == ".." or mask.startswith("../"):
        raise Unsafe(
            "a mask path leads out of the folder of the predictions",
            why=f"found {fields[0]!r}",
            fix="keep masks inside the folder, with paths relative to the text file",
        )
    return _Line(mask, table[label], numbers[1])


def _regions(root: Path, lines: Sequence[_Line], index: int, truth: GroundTruth, maps: Predictions | None) -> Regions:
    """Scored masks of one image, each cropped to its bounding box."""
    crops: list[Crop] = []
    size: tuple[int, ...] = ()
    for line in lines:
        inside = _mask(root, line.mask)
        if size and inside.shape != size:
            raise InvalidAnnotation(
                "masks of one image are of different sizes",
                file=root / line.mask,
                key=truth.keys[index],
                why=f"{inside.shape[1]} × {inside.shape[0]}, {lines[0].mask} {size[1]} × {size[0]} (width × height)",
            )
        size = inside.shape
        crops.append(_cut(inside))
    if not size:
        sized = (None if maps is None else maps.get(index)) or truth.get(index)
        size = (sized.height, sized.width)
    category = np.array([line.category for line in lines], np.int64)
    return Regions(size[0], size[1], category, np.array([line.score for line in lines], np.float64), crops)


def _sample(regions: Regions, key: str, name: str, label_map: Sample | None) -> Sample:
    height, width = regions.height, regions.width
    parts = []
    for x, y, crop in regions.crops:
        part = Masks.from_dense(crop[None])
        shift = np.array([x, y, 0, 0], np.int32) * (part.areas > 0)
        parts.append(Masks(height, width, part.boxes_xywh + shift, part.runs, part.pointer))
    masks = Masks.concatenate(parts, height, width)
    instances = Instances.build(regions.category, masks, bbox=masks.boxes_xywh, score=regions.score)
    semantic = None if label_map is None else label_map.semantic
    return Sample(key, height, width, file=name, instances=instances, semantic=semantic)


def _mask(root: Path, name: str) -> npt.NDArray[np.bool_]:
    """One mask's PNG: (H, W) bool."""
    try:
        return _is_inside(png.read_labels(read_bytes(root, name, "the predictions")))
    except SegdataError as error:
        raise error.located(file=root / name) from error


def _cut(inside: npt.NDArray[np.bool_]) -> Crop:
    """A mask cropped to its bounding box; an empty crop of an empty mask."""
    rows = np.flatnonzero(inside.any(1))
    if not len(rows):
        return 0, 0, np.zeros((0, 0), bool)
    part = inside[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(part.any(0))
    return int(columns[0]), int(rows[0]), np.ascontiguousarray(part[:, columns[0] : columns[-1] + 1])


def _is_inside(stored: png.LabelImage) -> npt.NDArray[np.bool_]:
    """(H, W) bool, where a mask image is not black."""
    inside: npt.NDArray[np.bool_]
    if stored.palette is not None:
        entries = np.zeros((256, 3), np.int64)
        colors = np.frombuffer(stored.palette, np.uint8).reshape(-1, 3)
        entries[: len(colors)] = colors
        inside = (entries @ _LUMINANCE >= 1 << 15)[stored.values]
    elif stored.values.ndim == 3:
        inside = stored.values[:, :, :3].astype(np.int64) @ _LUMINANCE >= 1 << 15
    else:
        inside = stored.values != 0
    return inside


# ---------------------------------------------------------------------- adapt


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories matched by name; files are named by the last part of each key, as the evaluators expect."""
    labels = manifest.label_space("cityscapes")
    table = table_by_name(source.labels, labels)
    return Plan(source.labels, Header(labels, source.splits, []), distinct_keys(keys, Findings(), flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample's label map in Cityscapes' labels, and its objects with a mask, a score and a category there."""
    count_unmapped(plan, sample, findings)
    instances = sample.instances
    has_score = ~np.isnan(instances.score)
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("objects without mask", sample.key, int((has_score & ~instances.has_mask).sum()))
    scored = instances.take((plan.table[instances.category] >= 0) & instances.has_mask & has_score)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        instances=scored.with_category(plan.table[scored.category]) if sample.has_instances else None,
        semantic=None if sample.semantic is None else plan.relabelled(sample.semantic),
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write the label map and the text file with masks of every sample."""
    ids = np.zeros(header.labels.void + 1, np.uint8)
    ids[: len(header.labels)] = [max(category.id, 0) for category in header.labels.categories]
    count = 0
    for _, sample in samples:
        count += 1
        name = sample.key.rpartition("/")[2]
        if sample.semantic is not None:
            write_file(root, f"pixel/{name}_pred_labelIds.png", png.encode_png(ids[sample.semantic]))
        if not sample.has_instances:
            continue
        instances = sample.instances
        lines = []
        for mask_number, (category, score) in enumerate(
            zip(instances.category.tolist(), instances.score.tolist(), strict=True)
        ):
            mask = f"masks/{name}_{mask_number}.png"
            pixels = instances.masks[mask_number] * np.uint8(255)
            write_file(root, f"instance/{mask}", png.encode_png(pixels, mode="1"))
            lines.append(f"{mask} {header.labels[category].id} {score!r}\n")
        write_file(root, f"instance/{name}_pred.txt", "".join(lines).encode())
    return {"samples": count}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing: every file belongs to one image."""
