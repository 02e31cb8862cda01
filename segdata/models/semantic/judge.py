"""Validation of label maps: one confusion matrix over all images, and the scores that follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.metrics.semantic.confusion import Confusion, count, scores, without_ignored
from segdata.models.contract import Prediction
from segdata.models.semantic.classes import label_map
from segdata.pack.read import Pack

_NAMES = ("mIoU", "pACC", "mACC", "fwIoU")


class ConfusionJudge:
    """See `contract.Judge`; images without a label map are left out.

    Args:
        from_objects: paint label maps of the masks of objects; see `classes.label_map`.
    """

    def __init__(self, pack: Pack, *, from_objects: bool) -> None:
        self._pack, self._from_objects = pack, from_objects
        self._confusion: Confusion = np.zeros((len(pack.labels), len(pack.labels) + 1), np.int64)

    def add(self, index: int, prediction: Prediction) -> None:
        """See `contract.Judge`."""
        truth = label_map(self._pack[index], self._pack.labels, from_objects=self._from_objects)
        if truth is not None:
            assert prediction.semantic is not None
            self._confusion += count(truth, prediction.semantic, len(self._pack.labels))

    def state(self) -> npt.NDArray[np.int64]:
        """See `contract.Judge`."""
        return self._confusion

    def merge(self, state: npt.NDArray[np.int64]) -> None:
        """See `contract.Judge`."""
        self._confusion += state

    def metrics(self) -> dict[str, float | None]:
        """`mIoU`, `pACC`, `mACC`, `fwIoU`, and `category_IoU/NAME` of each category in ground truth or predictions."""
        numbers = self._scores()
        values: dict[str, float | None] = {name: numbers[name] for name in _NAMES}
        for name in self._names():
            if numbers[f"IoU-{name}"] is not None:
                values[f"category_IoU/{name}"] = numbers[f"IoU-{name}"]
        return values

    def tables(self) -> dict[str, Any]:
        """See `contract.Judge`."""
        numbers = self._scores()
        return {"names": self._names(), "confusion": numbers["confusion"], "unpredicted": numbers["unpredicted"]}

    def _names(self) -> list[str]:
        return [category.name for category in self._pack.labels.categories if not category.ignore]

    def _scores(self) -> dict[str, Any]:
        return scores(without_ignored(self._confusion, self._pack.labels), self._names())
