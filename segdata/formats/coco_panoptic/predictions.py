"""Predictions in the form of a COCO panoptic document: JSON and a folder of PNGs; images and categories may be absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from segdata.core.findings import Findings
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, SegdataError, UnknownLayout
from segdata.formats.coco.documents import candidates
from segdata.formats.coco_panoptic.segments import check, objects, read_png
from segdata.formats.shared import json_text
from segdata.formats.shared.files_by_key import require_all
from segdata.formats.shared.folder import stem
from segdata.system.paths import checked_name


class _Predicted(msgspec.Struct):
    image_id: int | str
    file_name: str
    segments_info: list[dict[str, Any]]


class _Document(msgspec.Struct):
    annotations: list[_Predicted]


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """Predictions in the form of a panoptic document; images are met by their numbers.

    Raises:
        InvalidAnnotation: images that the truth does not have, twice the same, or missing ones.
    """
    path = _found(path)
    folder = path.with_suffix("")
    records = json_text.decode(json_text.map_file(path), _Document, path).annotations
    place_of: dict[int | str, int] = {number: place for place, number in enumerate(truth.ids.tolist()) if number >= 0}
    place_of_name = {key.rpartition("/")[2]: place for place, key in enumerate(truth.keys)}
    found: dict[int, _Predicted] = {}
    for at, record in enumerate(records):
        place = place_of.get(record.image_id) if place_of else place_of_name.get(stem(record.file_name))
        why = None
        if place is None:
            why = f"image_id {record.image_id!r} is not in the truth"
        elif place in found:
            why = f"image_id {record.image_id!r} occurs twice"
        if why is not None or place is None:
            raise InvalidAnnotation("a prediction is not valid", file=path, place=f"$.annotations[{at}]", why=why)
        found[place] = record
    require_all(path, found, truth, lambda sample: sample.has_instances or sample.has_semantic, "prediction")

    def get(place: int) -> Sample | None:
        return _predicted(folder, found[place], truth, place, findings) if place in found else None

    return Predictions(path, "coco-panoptic", frozenset({"panoptic", "semantic"}), get, findings=findings)


def _found(path: Path) -> Path:
    """The document of a folder that holds one."""
    if path.is_file():
        return path
    found = [folder / name for folder, name in candidates(path) if (folder / name).with_suffix("").is_dir()]
    if len(found) != 1:
        raise UnknownLayout(
            f"the folder has {len(found)} panoptic documents",
            file=path,
            why="one is expected: FILE.json, with its PNGs in FILE/",
            fix="give the JSON file itself",
        )
    return found[0]


def _predicted(folder: Path, record: _Predicted, truth: GroundTruth, place: int, findings: Findings) -> Sample:
    key = truth.keys[place]
    name = checked_name(record.file_name, "the predictions").as_posix()
    try:
        check(record.segments_info, truth.labels)
        colors = read_png(folder, name).values
        height, width = colors.shape[:2]
        instances, semantic = objects(
            colors, record.segments_info, (height, width), truth.labels, key, findings, predicted=True
        )
    except SegdataError as error:
        raise error.located(file=folder / name, key=key) from error
    return Sample(key, height, width, file=name, id=int(truth.ids[place]), instances=instances, semantic=semantic)
