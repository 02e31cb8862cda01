"""What a training minimises: a weighted sum of losses, written as texts, `NAME[:WEIGHT[:WEIGHT AT THE END]]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from segdata.errors import UsageError
from segdata.models.losses.options import options_of

_FORM = "NAME[:WEIGHT[:WEIGHT AT THE END]]"


class Part(NamedTuple):
    """A loss in a weighted sum.

    Attributes:
        name: one of `segdata.models.losses.LOSSES`.
        weight: at the beginning of the training.
        end: weight at its end.
    """

    name: str
    weight: float
    end: float

    def at(self, progress: float) -> float:
        """The weight at some progress of the training, 0 … 1; it changes linearly.

        >>> Part("boundary", 0.0, 1.0).at(0.25)
        0.25
        """
        progress = min(max(progress, 0.0), 1.0)
        return (1 - progress) * self.weight + progress * self.end


def parse(texts: Sequence[str]) -> tuple[Part, ...]:
    """The parts of a loss.

    >>> parse(["ce", "dice:0.5", "boundary:0:1"])[1:]
    (Part(name='dice', weight=0.5, end=0.5), Part(name='boundary', weight=0.0, end=1.0))

    Args:
        texts: each `NAME[:WEIGHT[:WEIGHT AT THE END]]`; the weight is 1 where none is given, and stays where no other is.

    Raises:
        NotThere: there is no loss with this name; close ones are named.
        UsageError: a weight that is none, a loss that cannot be a part, the same twice, or no part.
    """
    if not texts:
        raise UsageError("there is no loss", why="the list is empty", fix='name at least one, such as "ce"')
    parts: list[Part] = []
    for text in texts:
        name, *weights = text.split(":")
        options = options_of(name, place=text)
        if options.NEEDS:
            raise UsageError(
                f"the loss {name!r} cannot be a part of the loss of label maps",
                place=text,
                why=f"it needs {options.NEEDS}",
            )
        if name in [part.name for part in parts]:
            raise UsageError(
                f"the loss {name!r} is named twice", place=text, fix="give it once, with the summed weight"
            )
        if len(weights) > 2:
            raise UsageError(
                f"a part of the loss has more than two weights: {text!r}", place=text, why=f"it is {_FORM}"
            )
        numbers = [_weight(weight, text) for weight in weights] or [1.0]
        parts.append(Part(name, numbers[0], numbers[-1]))
    if not any(part.weight or part.end for part in parts):
        raise UsageError("every loss has the weight 0", place=texts[0], why="nothing would be learned")
    return tuple(parts)


def _weight(weight: str, text: str) -> float:
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e6:
        why = f"got {weight!r} for a weight in {_FORM}; 0 … 1000000 is possible"
        raise UsageError(f"a part of the loss is not valid: {text!r}", place=text, why=why)
    return number
