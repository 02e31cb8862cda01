"""PASCAL VOC results, as the challenge's server takes them.

    results/VOC2012/Main/comp3_det_val_dog.txt                     comp, number, _det_, image set, class
        2007_000032 0.488519 250.9 245.5 311.2 301.3               image, score, xmin ymin xmax ymax
    results/VOC2012/Segmentation/comp5_test_cls/2008_000006.png    palette PNG, 0 (background) … 20, every pixel

Boxes count from 1 with both ends inside; in segdata they are half-open and begin at 0: x = xmin − 1, width = xmax −
xmin + 1. Detections are read from any folder of such files; label maps are read as `label-maps`. The folder name VOC2012
is the one that the devkit expects.

Written are categories of VOC's names; every pixel of a label map has a class there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdata.catalog import manifest
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.predictions import GroundTruth, Holding, Predictions
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, close_names, number_of
from segdata.formats.adapting import count_unmapped, distinct_keys, split_names, table_by_name
from segdata.formats.contract import Header, Plan
from segdata.formats.shared import json_text
from segdata.formats.shared.category_numbers import by_name
from segdata.formats.shared.detections import LARGEST, Detections
from segdata.formats.shared.folder import write_file
from segdata.formats.shared.palettes import PALETTE
from segdata.system.files import disk_errors
from segdata.system.reading import read_text

LAYOUT = "comp*_det_SET_CLASS.txt (PASCAL VOC results)"

_SEGMENTATION = "results/VOC2012/Segmentation/comp5_{split}_cls/{name}.png"
_DETECTION = "results/VOC2012/Main/comp3_det_{split}_{name}.txt"

_NAME = re.compile(r"(comp\d+)_det_(.+)\.txt")
_SHOWN = 5


def detect(path: Path) -> bool:
    """Whether there are files named as VOC names results."""
    return bool(_files(path))


def split_of(path: Path, names: Sequence[str]) -> str | None:
    """The split of the ground truth that the file names contain."""
    for file in _files(path)[:1]:
        match = _NAME.fullmatch(file.name)
        for name in sorted(names, key=len, reverse=True):
            if match and match[2].startswith(name.rpartition("/")[2] + "_") and name.startswith(("Main/", "main/")):
                return name
    return None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _NAME.fullmatch(path.name) else []
    return sorted(file for file in path.rglob("comp*_det_*.txt") if _NAME.fullmatch(file.name)) if path.is_dir() else []


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """Detections for the ground truth's images.

    Raises:
        InvalidAnnotation: lines that are no detections, classes or images that the ground truth does not have, or
            files of several competitions or image sets.
    """
    names = _names_longest_first(truth)
    index_of = {key.rpartition("/")[2]: index for index, key in enumerate(truth.keys)}
    groups: set[str] = set()
    category: list[str] = []
    image: list[str] = []
    numbers: list[tuple[float, ...]] = []
    unknown: dict[str, str] = {}
    count = 0
    for file in _files(path):
        category_name = next((name for name in names if file.name.endswith(f"_{name}.txt")), None)
        with disk_errors(file):
            text = read_text(file, "replace")
        if category_name is None and not text.strip():
            findings.remark("empty file of a category that the ground truth does not have", file.name)
            continue
        if category_name is None:
            raise _unknown_class(file, names)
        groups.add(file.name.removesuffix(f"_{category_name}.txt"))
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            name, values = _parsed(line, file, number)
            if name not in index_of:
                unknown.setdefault(name, f"{file.name}, line {number}")
                count += 1
                continue
            image.append(name)
            category.append(category_name)
            numbers.append(values)
    if len(groups) > 1:
        raise InvalidAnnotation(
            "the folder holds results of several competitions or image sets",
            file=path,
            why=", ".join(sorted(groups)),
            fix="give a folder with one of them",
        )
    if unknown:
        raise _unknown_images(path, unknown, count, index_of)
    indices = np.array([index_of[name] for name in image], np.int64)
    of_name = _category_of_name(category, truth, findings, path)
    categories = np.array([of_name[name] for name in category], np.int64)
    order = np.argsort(indices, kind="stable")
    order = order[categories[order] >= 0]
    values_ = np.array(numbers, np.float64).reshape(-1, 5)[order]
    low, high = values_[:, 1:3], values_[:, 3:5]
    detections = Detections(
        truth,
        pointer=np.searchsorted(indices[order], np.arange(len(truth) + 1)),
        row=order,
        id=order,
        category=categories[order],
        score=values_[:, 0],
        bbox=np.concatenate((low - 1, high - low + 1), axis=1),
        area=np.full(len(order), np.nan),
    )
    holds: frozenset[Holding] = frozenset(("boxes", "scores"))
    return Predictions(
        path, "voc-results", holds, detections.sample, findings, detections.columns, find_covered=detections.images
    )


def _names_longest_first(truth: GroundTruth) -> list[str]:
    """Names of categories that files may have: of the ground truth, and of what its `--labels` maps."""
    before = [] if truth.mapped_from is None else truth.mapped_from[0].index_of_name
    return sorted({*truth.labels.index_of_name, *before}, key=lambda name: (-len(name), name))


def _category_of_name(used: Iterable[str], truth: GroundTruth, findings: Findings, path: Path) -> Mapping[str, int]:
    """Name → index in the ground truth's labels, −1 for what `--labels` leaves out."""
    if truth.mapped_from is None:
        return truth.labels.index_of_name
    names = tuple(Category(name, number) for number, name in enumerate(sorted(set(used))))
    meaning = by_name(LabelSpace("predictions", names), truth, findings, path)
    return {category.name: meaning.index_of_id[category.id] for category in names}


def _unknown_images(path: Path, unknown: Mapping[str, str], count: int, known: Iterable[str]) -> InvalidAnnotation:
    """The error of detections in images that the ground truth does not have.

    Args:
        unknown: name of the image → where it is named first.
        count: detections in all of them.
    """
    first, where = next(iter(unknown.items()))
    close = close_names(first, known)
    return InvalidAnnotation(
        f"{number_of(count, 'detection names', 'detections name')} {number_of(len(unknown), 'image')} that the ground truth does not have",
        file=path,
        place=where,
        why=f"{', '.join(map(repr, list(unknown)[:_SHOWN]))}{' …' if len(unknown) > _SHOWN else ''}"
        + (f"; close to the first are {', '.join(map(repr, close))}" if close else ""),
        fix="give the ground truth that these predictions are about, or another --split",
    )


def _parsed(line: str, file: Path, number: int) -> tuple[str, tuple[float, ...]]:
    name, *texts = line.split()
    try:
        values = tuple(map(float, texts))
    except ValueError:
        values = ()
    if len(values) != 5 or not all(abs(value) <= LARGEST for value in values):
        raise InvalidAnnotation(
            "a line is no detection",
            file=file,
            place=f"line {number}",
            why=f"expected an image's name and five numbers up to 1e100 (score xmin ymin xmax ymax), found {line[:120]!r}",
        )
    return name, values


def _unknown_class(file: Path, names: Sequence[str]) -> InvalidAnnotation:
    match = _NAME.fullmatch(file.name)
    said = match[2].rpartition("_")[2] if match else file.stem
    close = close_names(said, names)
    return InvalidAnnotation(
        f"the ground truth has no category {said!r}",
        file=file,
        why=f"close ones are {', '.join(map(repr, close))}" if close else f"it has {', '.join(sorted(names)[:10])} …",
    )


# ---------------------------------------------------------------------- adapt


_ALL = "test"
"""The image set of samples that are in no split."""


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """VOC's categories; image sets are the splits."""
    labels = manifest.label_space("voc")
    table = table_by_name(source.labels, labels)
    names = split_names({name.rpartition("/")[2]: members for name, members in source.splits.items()})
    splits = {names[name.rpartition("/")[2]]: list(members) for name, members in source.splits.items()}
    unlisted = sorted(set(range(len(keys))).difference(*splits.values()))
    if unlisted:
        splits[_ALL] = sorted({*splits.get(_ALL, ()), *unlisted})
    return Plan(source.labels, Header(labels, splits, []), distinct_keys(keys, findings, flat=True), table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample under VOC's labels; pixels without a class become background."""
    count_unmapped(plan, sample, findings)
    semantic = None
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        is_void = semantic == plan.void
        findings.drop(
            "pixels without a class: background", sample.key, int((sample.semantic == plan.source.void).sum())
        )
        semantic = np.where(is_void, 0, semantic).astype(np.uint8)
    instances = sample.instances
    has_score = ~np.isnan(instances.score)
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("masks of objects: detections are boxes", sample.key, int((has_score & instances.has_mask).sum()))
    scored = instances.take((plan.table[instances.category] >= 0) & has_score)
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        instances=scored.with_category(plan.table[scored.category]) if sample.has_instances else None,
        semantic=semantic,
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write the label map of every sample that has one, and collect lines of detections, for all its image sets."""
    members = {split: set(map(int, indices)) for split, indices in header.splits.items()}
    lines: dict[str, dict[str, list[str]]] = {}
    count = 0
    for index, sample in samples:
        count += 1
        splits = [split for split in members if index in members[split]]
        if sample.semantic is not None:
            encoded = png.encode_png(sample.semantic, palette=PALETTE)
            for split in splits:
                write_file(root, _SEGMENTATION.format(split=split, name=sample.key), encoded)
        if sample.has_instances:
            for split in splits:
                _add(lines.setdefault(split, {}), sample, header)
    write_file(root, f".parts/{number:05d}.json", json_text.encode(lines))
    return {"samples": count, "part": f".parts/{number:05d}.json"}


def _add(lines: dict[str, list[str]], sample: Sample, header: Header) -> None:
    instances = sample.instances
    boxes = instances.boxes
    boxes[:, :2] += 1
    for category, score, box in zip(instances.category.tolist(), instances.score.tolist(), boxes.tolist(), strict=True):
        text = " ".join(map(repr, (score, *box)))
        lines.setdefault(header.labels[category].name, []).append(f"{sample.key} {text}\n")


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Join the lines of all parts into one file a class; the devkit expects one for every class, also an empty one."""
    lines_of: dict[str, dict[str, list[str]]] = {}
    for receipt in receipts:
        path = root / receipt["part"]
        for split, lines in json_text.decode(json_text.map_file(path), dict[str, dict[str, list[str]]], path).items():
            whole = lines_of.setdefault(split, {})
            for name, rows in lines.items():
                whole.setdefault(name, []).extend(rows)
    for split, lines in lines_of.items():
        for category in header.labels.categories:
            if category.name != "background":
                text = "".join(lines.get(category.name, ()))
                write_file(root, _DETECTION.format(split=split, name=category.name), text.encode())
