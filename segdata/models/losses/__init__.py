"""Losses for semantic segmentation: (N, C, H, W) logits and (N, H, W) labels → a scalar, 0 where all is ignored.

    loss = make("focal", gamma=1.5)
    loss(logits, labels).backward()
    sum_, count = loss.sums(logits, labels)      # of a part of a batch, to be added and divided at the end

Which there are, and their options, says `LOSSES`; `parse` reads weighted sums such as `["ce", "dice:0.5"]`. Importing this
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segdata.models.losses.options import LOSSES, Options, checked
from segdata.models.losses.parts import Part, parse

if TYPE_CHECKING:
    from segdata.models.losses.table import Loss

__all__ = ["LOSSES", "Options", "Part", "make", "parse"]


def make(name: str, **options: Any) -> Loss:
    """A loss by name.

    Raises:
        NotThere: there is none with this name; close ones are named.
        UsageError: an option that it does not take, or a value out of its range.
    """
    settings = checked(name, options)
    from segdata.models.losses.table import Loss

    return Loss(name, settings)
