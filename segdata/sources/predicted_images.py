"""Ground truth and predictions reduced to the images that the predictions speak of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import InvalidAnnotation

_Part = TypeVar("_Part")


def only_predicted(predictions: Predictions, truth: GroundTruth) -> tuple[Predictions, GroundTruth]:
    """Both with the predicted images alone, in the ground truth's order; how many are left out is remarked.

    Raises:
        InvalidAnnotation: the predictions speak of no image.
    """
    images = range(len(truth)) if predictions.find_covered is None else predictions.find_covered()
    if len(images) == len(truth):
        return predictions, truth
    if not images:
        raise InvalidAnnotation(
            "the predictions speak of no image of the ground truth",
            file=predictions.path,
            fix="leave out --images-of predictions to count every object as missed",
        )
    left_out = sorted(set(range(len(truth))).difference(images))
    kind = "images of the ground truth that the predictions do not speak of: left out as asked"
    predictions.findings.remark(kind, truth.keys[left_out[0]], len(left_out))
    position_of = {index: position for position, index in enumerate(images)}
    chosen_truth = replace(
        truth,
        splits={
            name: [position_of[index] for index in map(int, members) if index in position_of]
            for name, members in truth.splits.items()
        },
        keys=[truth.keys[index] for index in images],
        get=_moved(truth.get, images),
        find_images=lambda: truth.image_table[list(images)],
        find_columns=None if truth.find_columns is None else _moved(truth.find_columns, images),
        find_semantic=None if truth.find_semantic is None else _moved(truth.find_semantic, images),
        find_instance_ids=None if truth.find_instance_ids is None else _moved(truth.find_instance_ids, images),
        find_text_ids=None,
    )
    chosen = replace(
        predictions,
        get=_moved(predictions.get, images),
        find_columns=None if predictions.find_columns is None else _moved(predictions.find_columns, images),
        find_regions=None if predictions.find_regions is None else _moved(predictions.find_regions, images),
        find_covered=None,
    )
    return chosen, chosen_truth


def _moved(part: Callable[[int], _Part], images: Sequence[int]) -> Callable[[int], _Part]:
    """The same of the image at each position among the chosen ones."""
    return lambda position: part(images[position])
