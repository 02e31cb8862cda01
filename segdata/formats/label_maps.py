"""Predictions as a folder of label maps, one PNG an image; values of grey and palette PNGs are category numbers.

    frankfurt_000000_000294_gtFine_labelIds.png     name tells the numbers: Cityscapes label ids
    frankfurt_000000_000294_labelTrainIds.png       … trainIds (also …_trainIds.png)
    2007_000033.png                                 else category indices of the ground truth's label space, as in VOC
    0001TP_006690_L.png                             or, in RGB files, its categories' colours, as in CamVid
    2007_000033_anything.png                        a name may go on after the key

A table of labels in the folder (label_colors.txt, class_dict.csv, classes.txt …) says what values and colours mean; its
categories are those of the ground truth by name. Files of 0 and 255 alone hold the two categories of a ground truth that
has two.

Files are looked for in all folders below. In a folder that has `*_labelIds.png` other PNGs are passed over (so colour
and instance images may lie beside them), else in one with `*TrainIds.png`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace, look_up
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.rle import constant_runs
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, InvalidImage, LabelMismatch, SegdataError, number_of
from segdata.formats.shared import binary, label_tables
from segdata.formats.shared.files_by_key import by_image, files_below, require_all
from segdata.formats.shared.folder import read_bytes

LAYOUT = "a folder of label-map PNGs (label-maps)"

_LABEL_IDS = re.compile(r"_labelIds\.png$", re.IGNORECASE)
_TRAIN_IDS = re.compile(r"_(label)?TrainIds\.png$", re.IGNORECASE)
_TRAIN_VIEW = "cityscapes-19"


@dataclass(frozen=True)
class _Meaning:
    """What the values of label maps mean.

    Attributes:
        numbers: in words: "label ids", "trainIds", "indices", or the values of a table.
        table: (65536,) int64, value → index in the ground truth's labels, its void value for void, −1 for none.
        mapping: from the table of labels beside the files; None where there is none.
        colors: whose colours are meant.
    """

    numbers: str
    table: npt.NDArray[np.int64]
    mapping: LabelMapping | None
    colors: LabelSpace


def detect(path: Path) -> bool:
    """Whether there is a PNG somewhere below the folder."""
    return path.is_dir() and next(iter(files_below(path, ".png")), None) is not None


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """One label map for every image of the ground truth that has one.

    Raises:
        InvalidAnnotation: images without a file, or with several.
    """
    names, numbers = _chosen(sorted(files_below(path, ".png")))
    file_of = by_image(path, names, truth, findings)
    require_all(path, file_of, truth, lambda sample: sample.has_semantic, "label map")
    meaning = _meaning(path, numbers, truth.labels)
    return Predictions(
        path,
        "label-maps",
        frozenset({"semantic"}),
        lambda index: _sample(path, file_of[index], truth, index, meaning, findings) if index in file_of else None,
        findings=findings,
        find_covered=lambda: sorted(file_of),
    )


def is_label_ids(name: str) -> bool:
    """Whether a file's name says that it holds Cityscapes label ids."""
    return _LABEL_IDS.search(name) is not None


def _chosen(names: Sequence[str]) -> tuple[list[str], str]:
    """The files that are label maps, and what their values mean: "label ids", "trainIds" or "indices"."""
    for pattern, numbers in ((_LABEL_IDS, "label ids"), (_TRAIN_IDS, "trainIds")):
        chosen = [name for name in names if pattern.search(name)]
        if chosen:
            return chosen, numbers
    return list(names), "indices"


def _meaning(path: Path, numbers: str, labels: LabelSpace) -> _Meaning:
    """What the files' values mean: as their names say, or as the table beside them says."""
    beside = label_tables.in_folder(path) if numbers == "indices" else None
    if beside is None:
        return _Meaning(numbers, _table(numbers, labels, path), None, labels)
    space = beside.label_space()
    mapping = manifest.by_name(space, labels)
    table = np.full(65536, -1, np.int64)
    for category, index in zip(space.categories, mapping.table, strict=True):
        table[max(category.id, 0)] = -1 if index is None else index
    if table[255] < 0 and 255 not in space.index_of_id:
        table[255] = labels.void
    return _Meaning(f"values of {beside.file}", table, mapping, space)


def _table(numbers: str, labels: LabelSpace, path: Path) -> npt.NDArray[np.int64]:
    """(65536,) value → index in `labels`, its void value for void, −1 for values that are not valid."""
    table = np.full(65536, -1, np.int64)
    if numbers == "indices":
        drawn = [index for index, category in enumerate(labels.categories) if category.id >= 0]
        table[drawn] = drawn
        if "unlabeled" not in labels.index_of_name:
            table[labels.void] = labels.void
        return table
    city = manifest.label_space("cityscapes")
    if numbers == "label ids" and labels.name == "custom":  # the dataset's own table, not Cityscapes'
        for index, category in enumerate(labels.categories):
            table[max(category.id, 0)] = index
        table[255] = labels.void if table[255] < 0 else table[255]
        return table
    known = [category.name for category in labels.categories if category.name in city.index_of_name]
    if len(known) < len(labels):
        raise LabelMismatch(
            "predictions are named as Cityscapes label maps; the ground truth has other categories",
            file=path,
            why=f"{labels.name!r} has {next(c.name for c in labels.categories if c.name not in city.index_of_name)!r}",
            fix="give predictions for this ground truth, or name the files after its images alone",
        )
    if numbers == "trainIds":
        view = manifest.view(city, _TRAIN_VIEW).target
        source, table[255] = [(index, category.name) for index, category in enumerate(view.categories)], labels.void
    else:
        source = [(category.id, category.name) for category in city.categories if category.id >= 0]
    for number, name in source:
        table[number] = labels.index_of_name.get(name, labels.void)
    return table


def _sample(root: Path, name: str, truth: GroundTruth, index: int, meaning: _Meaning, findings: Findings) -> Sample:
    """The label map of one image."""
    try:
        stored = png.read_labels(read_bytes(root, name, "the predictions"))
    except SegdataError as error:
        raise error.located(file=root / name) from error
    values, table, labels = stored.values, meaning.table, truth.labels
    white = binary.white(stored, meaning.colors) if len(labels) == 2 and binary.is_odd(stored) else None
    is_named = meaning.numbers in ("label ids", "trainIds")
    if white is not None and white.any() and not (is_named and values.ndim != 2):
        findings.remark(binary.REMARK, name)
        values = white.astype(np.uint8)
    elif values.ndim != 2:
        if stored.mode not in ("RGB", "RGBA") or is_named:
            raise InvalidImage(
                "label map is a colour image",
                file=root / name,
                why=f"PNG mode {stored.mode}, where {meaning.numbers} are expected",
                fix="save the category numbers as a grey or palette PNG",
            )
        values = _by_color(values, meaning.colors, root / name)
        if meaning.mapping is not None:
            table = np.append(meaning.mapping.indices, -1)
    present = np.unique(values.ravel()[constant_runs(values)[0]])
    unknown = present[table[present] < 0]
    if len(unknown):
        raise _outside(root / name, values, np.isin(values, unknown), labels, meaning.numbers)
    is_small = values.dtype == labels.dtype == np.uint8
    table = np.where(table < 0, np.arange(len(table)), table)
    semantic = look_up(table[:256].astype(np.uint8), values) if is_small else table[values].astype(labels.dtype)
    return Sample(truth.keys[index], *values.shape, file=name, semantic=semantic)


def _by_color(pixels: npt.NDArray[np.integer], labels: LabelSpace, path: Path) -> npt.NDArray[np.integer]:
    """RGB → category indices; where an ignored category shares a colour (licence plate, car), the other counts."""
    index_of: dict[int, int] = {}
    for index, category in sorted(enumerate(labels.categories), key=lambda item: not item[1].ignore):
        if category.color is not None:
            red, green, blue = category.color
            known = index_of.setdefault(red << 16 | green << 8 | blue, index)
            if known != index and not labels[known].ignore and not category.ignore:
                raise InvalidImage(
                    "label map is a colour image",
                    file=path,
                    why=f"{labels[known].name!r} and {category.name!r} of {labels.name!r} have one colour",
                    fix="save the category numbers as a grey or palette PNG",
                )
            index_of[red << 16 | green << 8 | blue] = index
    code = pixels[:, :, :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    present, inverse = np.unique(code, return_inverse=True)
    index_of_present = np.array([index_of.get(color, -1) for color in present.tolist()])
    if (index_of_present < 0).any():
        is_unknown = index_of_present[inverse].reshape(code.shape) < 0
        row, column = np.argwhere(is_unknown)[0].tolist()
        raise InvalidAnnotation(
            "label map holds a colour that no category has",
            file=path,
            place=f"pixel row {row}, column {column}",
            why=f"colour {tuple(pixels[row, column, :3].tolist())}; {int(is_unknown.sum()):,} of {code.size:,} pixels of "
            f"this file have colours that {labels.name!r} does not have",
            fix="write the label space's colours, without smoothing, or put the table of these colours beside the files "
            "as label_colors.txt",
        )
    indices: npt.NDArray[np.integer] = index_of_present[inverse].reshape(code.shape).astype(labels.dtype)
    return indices


def _outside(
    path: Path, values: npt.NDArray[np.integer], wrong: npt.NDArray[np.bool_], labels: LabelSpace, numbers: str
) -> InvalidAnnotation:
    row, column = np.argwhere(wrong)[0].tolist()
    value = int(values[row, column])
    is_city = "unlabeled" in labels.index_of_name or labels.name.startswith("cityscapes")
    fix = "correct the predictions, or put the table of their values beside them as classes.txt or label_colors.txt"
    if numbers == "trainIds" or (is_city and value <= 33):
        fix = "these look like label ids (0…33): name the files *_labelIds.png"
    elif is_city and value == 255:
        fix = "255 occurs in trainId maps: convert them to label ids, or name the files *_labelTrainIds.png"
    return InvalidAnnotation(
        "label map holds a value that the label space does not have",
        file=path,
        place=f"pixel row {row}, column {column}",
        why=f"value {value}, read as {numbers} of {labels.name!r} ({number_of(len(labels), 'category')}); "
        f"{number_of(int(wrong.sum()), 'pixel')} of this file",
        fix=fix,
    )
