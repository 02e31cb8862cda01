"""Panoptic predictions: a COCO panoptic document with its PNGs, which may lack `images` and `categories`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, SegdataError, UnknownLayout
from segdata.formats.coco.documents import candidates
from segdata.formats.coco_panoptic.segments import check, instances_of, label_map, read_png, require_pixels
from segdata.formats.shared import json_text
from segdata.formats.shared.category_numbers import Meaning, by_name, by_number
from segdata.formats.shared.files_by_key import require_all
from segdata.formats.shared.folder import stem
from segdata.sets.filters import Relabel
from segdata.system.files import checked_name


class _Predicted(msgspec.Struct):
    image_id: int | str
    file_name: str
    segments_info: list[dict[str, Any]]


class _Document(msgspec.Struct):
    annotations: list[_Predicted]
    categories: Any = None


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """Panoptic predictions for the images of the ground truth, matched by image id, by file name where it has no ids.

    Raises:
        InvalidAnnotation: images that the ground truth does not have, the same image twice, or missing ones.
    """
    path = _document_of(path)
    folder = path.with_suffix("")
    document = json_text.decode(json_text.map_file(path), _Document, path)
    records = document.annotations
    index_of_id: dict[int | str, int] = {
        number: index for index, number in enumerate(truth.ids.tolist()) if number >= 0
    }
    index_of_name = {key.rpartition("/")[2]: index for index, key in enumerate(truth.keys)}
    by_image: dict[int, _Predicted] = {}
    for position, record in enumerate(records):
        index = index_of_id.get(record.image_id) if index_of_id else index_of_name.get(stem(record.file_name))
        if index is None and isinstance(record.image_id, str):
            index = truth.index_of_text.get(record.image_id)
        why = None
        if index is None:
            why = f"image_id {record.image_id!r} is not in the ground truth"
        elif index in by_image:
            why = f"image_id {record.image_id!r} occurs twice"
        if why is not None or index is None:
            json_path = f"$.annotations[{position}]"
            raise InvalidAnnotation("a prediction is not valid", file=path, place=json_path, why=why)
        by_image[index] = record
    require_all(path, by_image, truth, lambda sample: sample.has_instances or sample.has_semantic, "prediction")

    meaning = _meaning(document, truth, findings, path)

    def get(index: int) -> Sample | None:
        return _sample(folder, by_image[index], truth, index, meaning) if index in by_image else None

    return Predictions(
        path, "coco-panoptic", frozenset({"panoptic", "semantic"}), get, findings, find_covered=lambda: sorted(by_image)
    )


def _meaning(document: _Document, truth: GroundTruth, findings: Findings, path: Path) -> Meaning:
    """The categories of the segments: by name where the document names them otherwise than the ground truth."""
    segments = (segment for record in document.annotations for segment in record.segments_info)
    used = {number for number in (segment.get("category_id") for segment in segments) if isinstance(number, int)}
    listed = document.categories if isinstance(document.categories, list) else []
    named = [item for item in listed if isinstance(item, dict) and type(item.get("id")) is int and item["id"] in used]
    names = {item["id"]: item["name"] for item in named if isinstance(item.get("name"), str)}
    known = {category.id: category.name for category in truth.labels.categories}
    is_named = len(names) == len(used) == len(set(names.values()))
    if not is_named or all(known.get(number) == name for number, name in names.items()):
        return by_number(used, truth, findings, path)
    labels = LabelSpace("predictions", tuple(Category(name, number) for number, name in sorted(names.items())))
    return by_name(labels, truth, findings, path)


def _document_of(path: Path) -> Path:
    """The document of a folder that holds one."""
    if path.is_file():
        return path
    documents = [folder / name for folder, name in candidates(path) if (folder / name).with_suffix("").is_dir()]
    if len(documents) != 1:
        raise UnknownLayout(
            f"the folder has {len(documents)} panoptic documents",
            file=path,
            why="one is expected: FILE.json, with its PNGs in FILE/",
            fix="give the JSON file itself",
        )
    return documents[0]


def _sample(folder: Path, record: _Predicted, truth: GroundTruth, index: int, meaning: Meaning) -> Sample:
    key = truth.keys[index]
    name = checked_name(record.file_name, "the predictions").as_posix()
    try:
        check(record.segments_info, meaning.labels)
        colors = read_png(folder, name).values
        height, width = colors.shape[:2]
        instances = instances_of(colors, record.segments_info, meaning.labels, (height, width))
        require_pixels(instances)
    except SegdataError as error:
        raise error.located(file=folder / name, key=key) from error
    sample = Sample(
        key,
        height,
        width,
        file=name,
        id=int(truth.ids[index]),
        instances=instances,
        semantic=label_map(instances, meaning.labels),
    )
    return sample if meaning.mapping is None else Relabel(meaning.mapping).sample(sample, meaning.labels, Findings())
