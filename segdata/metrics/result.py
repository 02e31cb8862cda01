"""What a metric returns, and the mean that all of them take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Result:
    """The numbers of one metric.

    Attributes:
        numbers: what is printed, under the official evaluator's names: name → number, None where undefined, or a mapping
            or list of such.
        details: the arrays behind the numbers that the report draws (`PixelDetails`, `PanopticDetails`, COCO's `Curves`),
            or None.
    """

    numbers: Mapping[str, Any]
    details: Any = None


def mean(values: npt.NDArray[np.float64]) -> float | None:
    """The mean of what is defined (not NaN), over all axes; None when nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
