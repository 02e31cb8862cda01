"""What a metric gives, and the mean that all of them take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Result:
    """What a metric found.

    Attributes:
        numbers: what is printed: name → number, None where undefined, or a mapping of such.
        details: arrays behind the numbers, for the report.
    """

    numbers: Mapping[str, Any]
    details: Any = None


def mean(values: npt.NDArray[np.float64]) -> float | None:
    """The mean of what is defined; None when nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
