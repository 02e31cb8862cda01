"""Iterate over pairs of ground-truth and predicted label maps.

After the last image, `refuse_misread` detects predictions that use another id scheme (trainIds instead of label ids, or
numbers off by one).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidInput, LabelMismatch
from segdata.metrics.checks import require_all, require_size
from segdata.metrics.semantic.confusion import Confusion

LabelMap = npt.NDArray[Any]
"""(H, W) unsigned category indices."""

_TRAIN_VIEW = "cityscapes-19"


def pairs(predictions: Predictions, truth: GroundTruth) -> Iterator[tuple[int, LabelMap, LabelMap]]:
    """Yield index, ground-truth and predicted label map of every image whose ground truth has a label map.

    Raises:
        InvalidInput: no image of the ground truth has a label map.
        InvalidAnnotation: the two maps of an image are of different sizes, or, after the last image, predictions are
            missing.
    """
    missing: list[str] = []
    compared = 0
    for index in truth.walk():
        key = truth.keys[index]
        label_map = truth.semantic(index)
        if label_map is None:
            predictions.findings.remark("image without label map in the ground truth: left out", key)
            continue
        compared += 1
        sample = predictions.get(index)
        predicted = None if sample is None else sample.semantic
        if sample is None or predicted is None:
            missing.append(key)
            continue
        require_size(predictions, key, (sample.height, sample.width), label_map.shape, sample.file)
        if not missing:
            yield index, label_map, predicted
    if not compared:
        raise InvalidInput(
            "the ground truth has no label maps",
            file=truth.path,
            why=f"none of its {len(truth)} images has one",
            fix="give ground truth with label maps, or another metric with --metric",
        )
    require_all(missing, compared, predictions)


def remark_undefined(confusion: Confusion, predictions: Predictions) -> None:
    """Remark on pixels that decide the numbers without being seen in them: without a predicted class, or all void."""
    unpredicted = int(confusion[:, -1].sum())
    path = str(predictions.path)
    if unpredicted:
        predictions.findings.remark("pixels without a predicted class: counted as wrong", path, unpredicted)
    if not confusion.sum():
        predictions.findings.remark("all of the ground truth is void: nothing is defined", path)


def refuse_misread(confusion: Confusion, labels: LabelSpace, predictions: Predictions) -> None:
    """Refuse predictions that are right under another id scheme: trainIds for label ids, counted from 1, and so on.

    The other scheme must be right for at least half of the pixels, for more than half of the pixels of three classes, and
    twice as often as the one that they were read under: no model is that good at being wrong.

    Raises:
        LabelMismatch: saying which scheme fits.
    """
    total = confusion.sum()
    hits = np.diagonal(confusion[:, :-1]).sum()
    truth = confusion.sum(1)
    for name, meaning, fix in _id_schemes(labels):
        columns = np.flatnonzero(meaning >= 0)
        right = np.zeros(len(labels), np.int64)
        np.add.at(right, meaning[columns], confusion[meaning[columns], columns])
        classes = int((2 * right > np.maximum(truth, 1)).sum())
        if classes >= 3 and right.sum() > max(2 * hits, total / 2):
            raise LabelMismatch(
                f"the predictions look like {name}",
                file=predictions.path,
                why=f"read so, {right.sum() / total:.0%} of the pixels are right; read as given, {hits / total:.0%}",
                fix=fix,
            )


def _id_schemes(labels: LabelSpace) -> Iterator[tuple[str, npt.NDArray[np.int64], str]]:
    """Other id schemes: name, (K,) the index that each predicted index would have meant (−1 none), and the remedy."""
    count = len(labels)
    indices = np.arange(count)
    for shift, name in ((-1, "category numbers counted from 1"), (1, "category numbers one too low")):
        moved = indices + shift
        yield name, np.where((moved >= 0) & (moved < count), moved, -1), "write category indices, the first is 0"
    city = manifest.label_space("cityscapes")
    if any(category.name not in city.index_of_name for category in labels.categories):
        return
    train = manifest.view(city, _TRAIN_VIEW).target
    # What was read as label id v (or trainId v) would be trainId v (or label id v).
    as_train = np.full(count, -1)
    as_label = np.full(count, -1)
    for index, category in enumerate(labels.categories):
        label, train_id = city[city.index_of_name[category.name]].id, train.index_of_name.get(category.name, -1)
        if 0 <= label < len(train):
            as_train[index] = labels.index_of_name.get(train[label].name, -1)
        if train_id >= 0:
            as_label[index] = labels.index_of_name.get(city[train_id].name, -1)
    yield "trainIds that were read as label ids", as_train, "convert them, or name the files *_labelTrainIds.png"
    yield "label ids that were read as trainIds", as_label, "name the files *_labelIds.png"
