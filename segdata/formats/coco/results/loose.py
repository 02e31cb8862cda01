"""COCO results that are not written as they should be: what is plainly meant is read, with a remark; the rest is refused.

    {"predictions": [{"image_id": "photo_1.jpg", "category_id": "dog", "bbox": […], "confidence": 0.9}, …]}

Images may be named by file or by numbers written as text, categories by name; the list may be in an object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.predictions import GroundTruth
from segdata.errors import InvalidAnnotation, LabelMismatch, close_names, number_of
from segdata.formats.shared import category_numbers, json_text
from segdata.formats.shared.folder import IMAGE_ENDINGS, stem

RECIPE = (
    "write a JSON list of detections with the ground truth's numbers: "
    '[{"image_id": 1, "category_id": 3, "bbox": [x, y, width, height], "score": 0.9}, …]'
)
LISTS = ("predictions", "detections", "results", "annotations")
"""Keys of an object under which the list of detections may be, the first that is there."""

_SHOWN = 5


class Rle(msgspec.Struct, gc=False):
    """Run lengths of a mask, compressed or not."""

    size: list[int]
    counts: str | list[int]


class Loose(msgspec.Struct, gc=False):
    """A detection, each of its fields perhaps of another type or under another name."""

    image_id: int | float | str | None = None
    file_name: str | None = None
    category_id: int | float | str | None = None
    category_name: str | None = None
    score: float | None = None
    confidence: float | None = None
    bbox: list[float] | None = None
    segmentation: Rle | list[list[float]] | None = None


class _Image(msgspec.Struct):
    id: int | str
    file_name: str


class _Category(msgspec.Struct):
    id: int
    name: str


def list_in(path: Path) -> str | None:
    """The key of an object's list of detections; None where there is none, or of annotations, which have no score."""
    try:
        top = json_text.decode(json_text.map_file(path), dict[str, msgspec.Raw], path)
        key = next((key for key in LISTS if key in top), None)
        if key is None:
            return None
        records = json_text.decode(top[key], list[msgspec.Raw], path)
        first = json_text.decode(records[0], dict[str, Any], path) if records else {}
    except InvalidAnnotation:
        return None
    if key == "annotations" and not {"score", "confidence"} & first.keys():
        return None
    return key if not records or {"image_id", "file_name"} & first.keys() else None


def read(
    path: Path, truth: GroundTruth, findings: Findings
) -> tuple[list[Loose], npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
    """The detections with `score`, and `category_id` a number; each one's image, and its category where these are names.

    Returns:
        records: N detections, (N,) int64 indices of their images in the ground truth, and (N,) int64 indices of their
        categories, −1 for those that `--labels` leaves out; None where the records give numbers.

    Raises:
        InvalidAnnotation: something that has no plain meaning.
        LabelMismatch: names of categories that the ground truth does not have.
    """
    view, place = json_text.map_file(path), "$"
    images, names = dict[int | str, str](), dict[int, str]()
    if bytes(view[:64]).lstrip().startswith(b"{"):
        top = json_text.decode(view, dict[str, msgspec.Raw], path)
        key = next((key for key in LISTS if key in top), None)
        if key is None:
            raise _refused("the file has no list of detections", path, "$", f"it has {', '.join(map(repr, top))}"[:200])
        view, place = memoryview(top[key]), f"$.{key}"
        findings.remark(f"detections of the results are under {key!r}", str(path))
        images = {item.id: item.file_name for item in _decoded(top.get("images"), _Image, path, "$.images")}
        names = {item.id: item.name for item in _decoded(top.get("categories"), _Category, path, "$.categories")}
    records: list[Loose] = _decoded(view, Loose, path, place)
    _give_scores(records, findings, path, place)
    for number, record in enumerate(records):
        if isinstance(record.image_id, int | str) and record.image_id in images:
            record.image_id = images[record.image_id]
        if isinstance(record.category_id, int) and record.category_id in names:
            record.category_id = names[record.category_id]
        _take_whole(record, "image", record.file_name, path, f"{place}[{number}]")
        _take_whole(record, "category", record.category_name, path, f"{place}[{number}]")
    return records, _images(records, truth, findings, path, place), _categories(records, truth, findings, path, place)


def _decoded(text: Any, kind: Any, path: Path, place: str) -> Any:
    """A list of records; none where there is no text.

    Raises:
        InvalidAnnotation: a record is none, with its place.
    """
    if text is None:
        return []
    try:
        return json_text.decode(text, list[kind], path)
    except InvalidAnnotation as error:
        located = re.fullmatch(r"(.*) - at `\$(.*)`", error.why or "", re.DOTALL)
        if error.place is None and isinstance(error.__cause__, msgspec.ValidationError):
            why, inner = (located[1], located[2]) if located else (error.why, "")
            raise _refused("a detection is not as it should be", path, place + inner, why) from None
        raise


def _give_scores(records: Sequence[Loose], findings: Findings, path: Path, place: str) -> None:
    renamed = 0
    for number, record in enumerate(records):
        if record.score is None:
            record.score = record.confidence
            renamed += 1
        if record.score is None:
            raise InvalidAnnotation(
                "a detection has no score",
                file=path,
                place=f"{place}[{number}]",
                why="predictions have a number `score`; annotations, which have none, are the ground truth",
                fix=f"give predictions first, then the ground truth; {RECIPE}",
            )
    if renamed:
        findings.remark("confidence of the results, read as their score", str(path), renamed)


def _take_whole(record: Loose, what: str, otherwise: str | None, path: Path, place: str) -> None:
    """Take a number that is written as 1.0 for 1, and the field that stands for a missing one.

    Raises:
        InvalidAnnotation: a fraction, or neither field.
    """
    field = f"{what}_id"
    value = getattr(record, field)
    if value is None:
        value = otherwise
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, float):
        why = "there is none" if value is None else f"{value} is no whole number"
        raise _refused(f"a detection has no {what}", path, f"{place}.{field}", why)
    setattr(record, field, value)


def _images(
    records: Sequence[Loose], truth: GroundTruth, findings: Findings, path: Path, place: str
) -> npt.NDArray[np.int64]:
    """(N,) int64, each detection's image, by the text or the number that names it."""
    values = [record.image_id for record in records]
    numbers, texts = _numbers(values), [str(value) for value in values]
    by_text = [_by_text(text, truth.index_of_text) for text in texts]
    by_number = [-1 if number is None else truth.index_of_id.get(number, -1) for number in numbers]
    has_text = any(isinstance(value, str) for value in values)
    if has_text and -1 not in by_text:
        if -1 not in by_number and by_text != by_number:
            row = next(row for row in range(len(records)) if by_text[row] != by_number[row])
            _refuse_two_meanings("image", values[row], truth.keys[by_text[row]], path, f"{place}[{row}].image_id")
        findings.remark("images of the results are named by text: matched by the ground truth's own", str(path))
        return np.array(by_text, np.int64)
    if -1 in by_number:
        known = sorted(truth.index_of_id) if None not in numbers and truth.index_of_id else list(truth.index_of_text)
        unknown = [row for row, index in enumerate(by_text if None in numbers else by_number) if index < 0]
        _refuse_images([values[row] for row in unknown], known, path, f"{place}[{unknown[0]}].image_id")
    _remark_text("image", values, findings, path)
    return np.array(by_number, np.int64)


def _categories(
    records: Sequence[Loose], truth: GroundTruth, findings: Findings, path: Path, place: str
) -> npt.NDArray[np.int64] | None:
    """(N,) int64, each detection's category by name; None where all are numbers, which the records then have."""
    values = [record.category_id for record in records]
    numbers = _numbers(values)
    sides = [truth.labels, *([] if truth.mapped_from is None else [truth.mapped_from[0]])]
    known = {name for side in sides for name in side.index_of_name}
    are_names = any(isinstance(value, str) for value in values) and known.issuperset(map(str, values))
    if are_names and None not in numbers and any(set(numbers) <= side.index_of_id.keys() for side in sides):
        if any(
            truth.labels.index_of_id.get(int(str(value))) != truth.labels.index_of_name.get(str(value))
            for value in values
        ):
            _refuse_two_meanings("category", values[0], str(values[0]), path, f"{place}[0].category_id")
        are_names = False
    if None not in numbers and not are_names:
        _remark_text("category", values, findings, path)
        for record, number in zip(records, numbers, strict=True):
            record.category_id = number
        return None
    row = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    if row is not None:
        text = next(value for value in values if isinstance(value, str))
        why = f"found {values[row]!r}, and {text!r} elsewhere"
        raise _refused("categories are partly names, partly numbers", path, f"{place}[{row}].category_id", why)
    names = list(dict.fromkeys(map(str, values)))
    labels = _labels_of(names, truth.labels)
    try:
        meaning = category_numbers.by_name(labels, truth, findings, path)
    except LabelMismatch as error:
        row = next(row for row, value in enumerate(values) if value not in known)
        error.place = f"{place}[{row}].category_id"
        error.fix = "write the ground truth's names or numbers as category_id"
        raise
    findings.remark("categories of the results are named: matched by name", str(path))
    table = np.full(len(names), -1) if meaning.mapping is None else meaning.mapping.indices
    index_of = dict(zip(names, table.tolist(), strict=False))
    return np.array([index_of[str(value)] for value in values], np.int64)


def _labels_of(names: Sequence[str], known: LabelSpace) -> LabelSpace:
    """Names as a label space, with the numbers that they have in `known`; others get numbers that are free."""
    free = max((item.id for item in known.categories), default=0) + 1
    index_of = known.index_of_name
    return LabelSpace.of(
        Category(name, known[index_of[name]].id if name in index_of else free + place)
        for place, name in enumerate(names)
    )


def _numbers(values: Sequence[Any]) -> list[int | None]:
    """Whole numbers, also those that are written as text; None for what is no number."""
    return [
        value if isinstance(value, int) else int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None
        for value in values
    ]


def _by_text(text: str, known: Mapping[str, int]) -> int:
    """The image that a text names: its id or key, or its file with an ending or folders; −1 where there is none."""
    bare = stem(text) if text.lower().endswith(IMAGE_ENDINGS) else text
    names = (text, bare, bare.replace("\\", "/").rpartition("/")[2])
    return next((known[name] for name in names if name in known), -1)


def _remark_text(what: str, values: Sequence[Any], findings: Findings, path: Path) -> None:
    count = sum(isinstance(value, str) for value in values)
    if count:
        findings.remark(f"{what} numbers of the results are text, read as numbers", str(path), count)


def _refuse_two_meanings(what: str, value: object, name: str, path: Path, place: str) -> NoReturn:
    raise _refused(
        f"{what} numbers that are written as text have two meanings",
        path,
        place,
        f"{value!r} may be the number {value} or what is named {name!r}",
    )


def _refuse_images(unknown: Sequence[Any], known: Sequence[Any], path: Path, place: str) -> NoReturn:
    values = list(dict.fromkeys(unknown))
    close = close_names(str(values[0]), map(str, known))
    others = (
        f"close to the first are {', '.join(map(repr, close))}"
        if close
        else f"the ground truth has {', '.join(map(repr, known[:3]))}{' …' if len(known) > 3 else ''}"
    )
    raise InvalidAnnotation(
        f"{number_of(len(unknown), 'detection names', 'detections name')} images that the ground truth does not have",
        file=path,
        place=place,
        why=f"image_id {', '.join(map(repr, values[:_SHOWN]))}{' …' if len(values) > _SHOWN else ''}; {others}",
        fix="give the ground truth that these predictions are about, or write its image numbers, keys or file names",
    )


def _refused(message: str, path: Path, place: str, why: str | None) -> InvalidAnnotation:
    return InvalidAnnotation(message, file=path, place=place, why=why, fix=RECIPE)
