"""Label files of black and white alone, as grey, palette, one-bit, 16-bit or colour files: two categories."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.png import LabelImage
from segdata.core.rle import constant_runs

REMARK = "label file of 0 and 255 alone: 255 is taken as the second of two categories"

_LOOKED_AT = 20
"""Label files that are looked at where the first ones hold white."""

_WHITE = 255
_COLORS = ("RGB", "RGBA")


def white(raw: LabelImage, labels: LabelSpace) -> npt.NDArray[np.bool_] | None:
    """Where a label file is white and not black; None where it holds more, or colours that the table defines.

    Args:
        labels: where a category has a colour, the colours of colour files mean what the table says.

    Returns:
        (H, W) bool.
    """
    values = raw.values
    if raw.mode in _COLORS:
        values = values[:, :, 0]
        is_grey = bool((raw.values[:, :, 1:3] == raw.values[:, :, :1]).all())
        if not is_grey or any(category.color is not None for category in labels.categories):
            return None
    numbers = _present(values)
    for value in (1,) if raw.mode == "1" else (_WHITE, 65535):
        if numbers <= {0, value}:
            return np.asarray(values == value)
    entries = np.frombuffer(raw.palette or b"", np.uint8).reshape(-1, 3)
    if raw.mode != "P" or max(numbers) >= len(entries):
        return None
    is_black, is_white = ((entries == value).all(axis=1)[values] for value in (0, _WHITE))
    if not (is_black | is_white).all() or (numbers <= {0, 1} and not np.array_equal(is_white, values == 1)):
        return None  # an index that is a category's number counts
    return np.asarray(is_white)


def are_binary(files: Iterable[LabelImage], labels: LabelSpace) -> bool:
    """Whether label files are black and white, with other values than the numbers 0 and 1 of the two categories."""
    if set(labels.index_of_id) != {0, 1}:
        return False
    has_white = False
    for number, raw in enumerate(files):
        if has_white and number >= _LOOKED_AT:
            break
        if white(raw, labels) is None:
            return False
        has_white |= is_odd(raw)
    return has_white


def is_odd(raw: LabelImage) -> bool:
    """Whether a file holds more than the numbers 0 and 1."""
    return bool(raw.values.max(initial=0) > 1)


def _present(values: npt.NDArray[np.integer]) -> set[int]:
    return set(np.unique(values.ravel()[constant_runs(values)[0]]).tolist())
