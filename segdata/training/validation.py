"""Predict and judge samples in a training, and pictures of ground truth beside predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.models.contract import Judge, Prediction, Predictor
from segdata.pack.read import Pack
from segdata.training.distributed import World
from segdata.viz.overlay import overlay

_GAP = 8
"""White pixels between ground truth and predictions."""


def validated(
    model: Predictor,
    pack: Pack,
    count: int,
    judge: Judge,
    *,
    examples: int,
    batch_size: int,
    world: World,
    is_stopped: Callable[[], bool],
) -> dict[int, Prediction] | None:
    """Predict and judge samples of a pack; every rank predicts its share, and every rank's judge has counted all.

    Args:
        count: how many samples, from the first on.
        examples: how many predictions are given back, from the first on.
        is_stopped: asked between batches; a single process then gives up, and returns None.

    Returns:
        The examples by their indices.
    """
    members = range(world.rank, count, world.size)
    kept: dict[int, Prediction] = {}
    for begin in range(0, len(members), batch_size):
        if world.size == 1 and is_stopped():
            return None
        indices = members[begin : begin + batch_size]
        for index, prediction in zip(indices, model.predict([pack[i].image for i in indices]), strict=True):
            judge.add(index, prediction)
            if index < examples:
                kept[index] = prediction
    if world.size > 1:
        shares: list[Any] = [None] * world.size
        distributed.all_gather_object(shares, (judge.state(), kept))
        for rank, (state, others) in enumerate(shares):
            if rank != world.rank:
                judge.merge(state)
                kept |= others
    return dict(sorted(kept.items()))


def beside_truth(
    sample: Sample, prediction: Prediction, labels: LabelSpace, *, min_score: float
) -> npt.NDArray[np.uint8]:
    """Ground truth (left) and predictions with at least this score (right), (H, W, 3) uint8 RGB.

    Of label maps, a third picture shows in red which pixels are wrong.
    """
    image, semantic = sample.image, prediction.semantic is not None
    pictures = [
        overlay(one, labels, legend=False, title=False, semantic=semantic, image=image)
        for one in (sample, prediction.above(min_score).on(sample))
    ]
    gap = np.full((len(pictures[0]), _GAP, 3), 255, np.uint8)
    parts = [pictures[0], gap, pictures[1]]
    if sample.semantic is not None and prediction.semantic is not None:
        is_wrong = (sample.semantic != prediction.semantic) & (sample.semantic != labels.void)
        parts += [gap, _enlarged(_marked(image, is_wrong), pictures[0].shape)]
    return np.concatenate(parts, axis=1)


_WRONG = (230, 30, 30)


def _enlarged(picture: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Each pixel as a block, as `overlay` shows small images."""
    rows, columns = (np.arange(size) * here // size for size, here in zip(shape[:2], picture.shape[:2], strict=True))
    enlarged: npt.NDArray[np.uint8] = picture[rows[:, None], columns]
    return enlarged


def _marked(image: npt.NDArray[np.uint8], pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A pale gray image with some pixels in red."""
    gray = (128 + image.mean(axis=2, keepdims=True) / 2).astype(np.uint8)
    marked = np.repeat(gray, 3, axis=2)
    marked[pixels] = _WRONG
    return marked
