"""Whether an exported network predicts what the trained one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Instances
from segdata.errors import InvalidInput
from segdata.models.contract import DIVERGED, Image, Prediction
from segdata.models.semantic.prediction import segmenter

_DIVERGED = (DIVERGED, segmenter.DIVERGED)

MOST_DIFFERENT = 0.001
"""Share of the pixels whose labels may differ."""

MOST_DIFFERENT_INT8 = 0.03
"""The same of a quantised network."""

MOST_UNPAIRED = 0.02
"""Share of the objects that may have no partner: one of the same category, with the corners of its box and its score as
near as the next two say."""

BOX = 0.5
"""Pixels of the photo."""

SCORE = 0.005

MOST_MASK = 0.005
"""Share of the pixels in the masks of either that may be in one of two partners alone."""


class Paired(NamedTuple):
    """How objects from an exported network agree with those of the trained one.

    Attributes:
        objects: how many the trained one has.
        agreement: share of all objects that have a partner, or are so near to the score threshold that they need none.
        box_difference: the largest of a corner of a partner's box, in pixels.
        mask_difference: share of the pixels in the partners' masks that are in one of two alone.
    """

    objects: int
    agreement: float
    box_difference: float
    mask_difference: float


def agreement(expected: Sequence[Prediction], got: Sequence[Prediction]) -> float:
    """The share of the pixels of some label maps that have the same label in others."""
    pixels = equal = 0
    for one, other in zip(expected, got, strict=True):
        assert one.semantic is not None and other.semantic is not None and one.semantic.shape == other.semantic.shape
        pixels += one.semantic.size
        equal += int((one.semantic == other.semantic).sum())
    return equal / pixels


def require_finite(expected: Sequence[Prediction], source: str) -> None:
    """Raise where the trained network's own numbers are none.

    Raises:
        InvalidInput: its weights have diverged.
    """
    remarks = [remark for prediction in expected for remark in prediction.remarks if remark in _DIVERGED]
    if remarks:
        raise InvalidInput(
            "weights that have diverged are not exported",
            file=source,
            why=remarks[0],
            fix="take weights from before the loss became nan",
        )


def require(share: float, images: Sequence[Image], source: str, *, is_int8: bool) -> None:
    """Raise where too many labels differ.

    Args:
        share: of the pixels whose labels agree.

    Raises:
        InvalidInput: more than `MOST_DIFFERENT`, or `MOST_DIFFERENT_INT8`, differ.
    """
    most = MOST_DIFFERENT_INT8 if is_int8 else MOST_DIFFERENT
    if 1 - share <= most:
        return
    kind = "quantised" if is_int8 else "exported"
    raise InvalidInput(
        f"the {kind} network does not predict what the trained one does",
        file=source,
        why=f"labels of {1 - share:.2%} of the pixels of {len(images)} photos differ; {most:.1%} may",
        state="no file was written",
        fix="leave out --quantise, or calibrate on a pack with images like those that the network was trained on"
        if is_int8
        else "compare on photos like those that the network was trained on (--photos)",
    )


def paired(expected: Sequence[Prediction], got: Sequence[Prediction], threshold: float) -> Paired:
    """Compare the objects of some images, the best scores first, each with at most one partner.

    Args:
        threshold: the score that objects have to exceed.
    """
    objects = count = lonely = both = either = 0
    largest = 0.0
    for prediction, other_prediction in zip(expected, got, strict=True):
        one, other = prediction.instances, other_prediction.instances
        assert one is not None and other is not None
        partners = _partners(one, other)
        first, second = np.array(partners, np.int64).reshape(-1, 2).T
        objects += len(one)
        count += len(one) + len(other)
        lonely += int(_is_above(one, first, threshold).sum() + _is_above(other, second, threshold).sum())
        largest = max(largest, float(np.abs(one.boxes[first] - other.boxes[second]).max(initial=0)))
        for row, column in partners:
            masks = one.masks[row] != 0, other.masks[column] != 0
            both += int((masks[0] & masks[1]).sum())
            either += int((masks[0] | masks[1]).sum())
    return Paired(objects, 1 - lonely / count if count else 1.0, largest, 1 - both / either if either else 0.0)


def _partners(one: Instances, other: Instances) -> list[tuple[int, int]]:
    """Which object is the same as which, each the one with the most equal box of those that are left."""
    free = np.ones(len(other), bool)
    pairs = []
    for row in range(len(one)):
        apart = np.abs(other.boxes - one.boxes[row]).max(1, initial=0)
        is_near = (
            (other.category == one.category[row]) & (np.abs(other.score - one.score[row]) <= SCORE) & (apart <= BOX)
        )
        candidates = np.nonzero(is_near & free)[0]
        if len(candidates):
            column = int(candidates[apart[candidates].argmin()])
            free[column] = False
            pairs.append((row, column))
    return pairs


def _is_above(instances: Instances, paired: npt.NDArray[np.int64], threshold: float) -> npt.NDArray[np.bool_]:
    """(N,) bool, objects without a partner that are well above the threshold."""
    above: npt.NDArray[np.bool_] = instances.score > threshold + SCORE
    above[paired] = False
    return above


def require_paired(paired: Paired, images: Sequence[Image], source: str) -> None:
    """Raise where objects differ by more than `MOST_UNPAIRED`, `MOST_MASK`.

    Raises:
        InvalidInput: they do.
    """
    reasons = []
    if 1 - paired.agreement > MOST_UNPAIRED:
        reasons.append(f"{1 - paired.agreement:.2%} of the objects have no equal one; {MOST_UNPAIRED:.0%} may")
    if paired.mask_difference > MOST_MASK:
        reasons.append(f"{paired.mask_difference:.2%} of the masks' pixels differ; {MOST_MASK:.1%} may")
    if reasons:
        raise InvalidInput(
            "the exported network does not predict what the trained one does",
            file=source,
            why=f"on {len(images)} photos, {' and '.join(reasons)}",
            state="no file was written",
            fix="compare on photos like those that the network was trained on (--photos)",
        )
