"""Whether an exported network predicts what the trained one does."""

from __future__ import annotations

from collections.abc import Sequence

from segdata.errors import InvalidInput
from segdata.models.contract import Image, Prediction

MOST_DIFFERENT = 0.001
"""Share of the pixels whose labels may differ."""

MOST_DIFFERENT_INT8 = 0.03
"""The same of a quantised network."""


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
    remarks = [remark for prediction in expected for remark in prediction.remarks]
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
