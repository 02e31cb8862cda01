"""The label maps of both sides, image by image, and the mistake that is seen only when all are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import label_spaces
from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation, InvalidInput, LabelMismatch, UsageError
from segdata.metrics.semantic.confusion import Confusion

LabelMap = npt.NDArray[Any]
"""(H, W) unsigned category indices."""

_SHOWN = 5
_TRAIN_VIEW = "cityscapes-19"


def require(predictions: Predictions, what: str, metric: str) -> None:
    """Refuse predictions that do not hold what a metric compares.

    Raises:
        UsageError: saying what they hold.
    """
    if what not in predictions.holds:
        raise UsageError(
            f"{metric} compares {what}, which these predictions do not hold",
            file=predictions.path,
            why=f"they hold {', '.join(sorted(predictions.holds)) or 'nothing'}",
            fix="name another metric with --metric, or give other predictions",
        )


def pairs(predictions: Predictions, truth: GroundTruth) -> Iterator[tuple[int, LabelMap, LabelMap]]:
    """Place, true and predicted label map of every image whose truth has one.

    Raises:
        InvalidInput: no truth has a label map, predictions are missing (after all others were walked through), or the
            two maps of an image are of different sizes.
    """
    missing: list[str] = []
    compared = 0
    for place in truth.walk():
        key = truth.keys[place]
        known = truth.semantic(place)
        if known is None:
            predictions.findings.remark("image without label map in the truth: left out", key)
            continue
        compared += 1
        predicted = predictions.get(place)
        found = None if predicted is None else predicted.semantic
        if predicted is None or found is None:
            missing.append(key)
            continue
        require_size(predictions, key, (predicted.height, predicted.width), known.shape, predicted.file)
        if not missing:
            yield place, known, found
    if not compared:
        raise InvalidInput(
            "the truth has no label maps",
            file=truth.path,
            why=f"none of its {len(truth)} images has one",
            fix="give a truth with label maps, or another metric with --metric",
        )
    refuse_missing(missing, compared, predictions)


def require_size(
    predictions: Predictions, key: str, found: tuple[int, int], known: tuple[int, ...], file: str = ""
) -> None:
    """Refuse a prediction of another (height, width) than its image.

    Raises:
        InvalidAnnotation: naming both sizes.
    """
    if found != known:
        raise InvalidAnnotation(
            "a prediction is of another size than the truth",
            file=predictions.path / file if file else predictions.path,
            key=key,
            why=f"prediction {found[1]} × {found[0]}, truth {known[1]} × {known[0]} (width × height)",
            fix="predict at the original size, or scale label maps back with nearest-neighbour sampling",
        )


def refuse_missing(missing: list[str], count: int, predictions: Predictions) -> None:
    """Refuse predictions that do not speak of every image.

    Raises:
        InvalidAnnotation: with the count and the first names.
    """
    if missing:
        raise InvalidAnnotation(
            f"{len(missing)} of {count} images have no prediction",
            file=predictions.path,
            why=f"missing are {', '.join(missing[:_SHOWN])}{' …' if len(missing) > _SHOWN else ''}",
            fix="predict them too, or evaluate one split with --split",
        )


def refuse_misread(confusion: Confusion, labels: LabelSpace, predictions: Predictions) -> None:
    """Refuse predictions whose numbers are right in another numbering: trainIds for label ids, counted from 1, and so on.

    The other numbering must be right for at least half of the pixels, for three classes by more than half, and twice as
    often as the given one: no model is that good at being wrong.

    Raises:
        LabelMismatch: saying which numbering fits.
    """
    total = confusion.sum()
    hits = np.diagonal(confusion[:, :-1]).sum()
    truth = confusion.sum(1)
    for name, other, fix in _numberings(labels):
        columns = np.flatnonzero(other >= 0)
        right = np.zeros(len(labels), np.int64)
        np.add.at(right, other[columns], confusion[other[columns], columns])
        classes = int((2 * right > np.maximum(truth, 1)).sum())
        if classes >= 3 and right.sum() > max(2 * hits, total / 2):
            raise LabelMismatch(
                f"the predictions look like {name}",
                file=predictions.path,
                why=f"read so, {right.sum() / total:.0%} of the pixels are right; read as given, {hits / total:.0%}",
                fix=fix,
            )


def _numberings(labels: LabelSpace) -> Iterator[tuple[str, npt.NDArray[np.int64], str]]:
    """Other meanings of the predicted numbers: name, (K,) the index that a number would have meant (−1 none), remedy."""
    count = len(labels)
    indices = np.arange(count)
    for shift, name in ((-1, "category numbers counted from 1"), (1, "category numbers one too low")):
        moved = indices + shift
        yield name, np.where((moved >= 0) & (moved < count), moved, -1), "write category indices, the first is 0"
    city = label_spaces.label_space("cityscapes")
    if any(category.name not in city.index_of_name for category in labels.categories):
        return
    train = label_spaces.view(city, _TRAIN_VIEW).target
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
