"""Predictions on a validation split during training, and pictures of them beside the ground truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.models.contract import Prediction, Predictor
from segdata.pack.read import Pack
from segdata.training.distributed import World
from segdata.viz.overlay import overlay

_GAP = 8
"""White pixels between ground truth and predictions."""


def predictions(
    model: Predictor, pack: Pack, count: int, batch_size: int, world: World, is_stopped: Callable[[], bool]
) -> dict[int, Prediction] | None:
    """Predictions by index in the pack; every rank predicts its share, and all get all.

    Args:
        count: how many samples, from the first on.
        is_stopped: asked between batches; a single process then gives up, and returns None.
    """
    members = range(world.rank, count, world.size)
    predicted: dict[int, Prediction] = {}
    for begin in range(0, len(members), batch_size):
        if world.size == 1 and is_stopped():
            return None
        indices = members[begin : begin + batch_size]
        for index, prediction in zip(indices, model.predict([pack[i].image for i in indices]), strict=True):
            predicted[index] = prediction
    if world.size > 1:
        shares: list[Any] = [None] * world.size
        distributed.all_gather_object(shares, predicted)
        predicted = {index: prediction for share in shares for index, prediction in share.items()}
    return dict(sorted(predicted.items()))


def beside_truth(
    sample: Sample, prediction: Prediction, labels: LabelSpace, *, min_score: float
) -> npt.NDArray[np.uint8]:
    """Ground truth (left) and predictions with at least this score (right), (H, W, 3) uint8 RGB."""
    image, semantic = sample.image, prediction.semantic is not None
    pictures = [
        overlay(one, labels, legend=False, title=False, semantic=semantic, image=image)
        for one in (sample, prediction.above(min_score).on(sample))
    ]
    gap = np.full((len(pictures[0]), _GAP, 3), 255, np.uint8)
    return np.concatenate((pictures[0], gap, pictures[1]), axis=1)
