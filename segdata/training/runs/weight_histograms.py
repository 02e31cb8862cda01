"""Histograms of the weights and biases of a network's layers."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import NotThere

BINS = 50


@dataclass(frozen=True)
class Histogram:
    """One tensor of a model.

    Attributes:
        name: as in the model's state dictionary.
        shape: of the tensor.
        counts: (BINS,) int64.
        edges: (BINS + 1,) float64; the outer ones are the least and the largest value.
        mean, deviation: of all values; the deviation is that of the population.
    """

    name: str
    shape: tuple[int, ...]
    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    mean: float
    deviation: float


def histograms(
    tensors: Mapping[str, npt.NDArray[Any]], pattern: str | None = None, *, first: int = 5
) -> list[Histogram]:
    """Histograms of the first convolutions, with their biases, or of the tensors whose names match a pattern.

    Args:
        tensors: name → values; names are taken in natural order (`layer2.10` after `layer2.9`), which in a ResNet is
            the order in which data passes.
        pattern: as in a shell: `*` is any text, `?` any character; all that match are taken.
        first: how many convolutions without a pattern.

    Raises:
        NotThere: no tensor's name matches.
    """
    names = sorted(tensors, key=_natural)
    if pattern is not None:
        chosen = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not chosen:
            raise NotThere(f"no tensor matches {pattern!r}", why=f"there are {', '.join(names[:6])} …")
    else:
        weights = [name for name in names if np.ndim(tensors[name]) == 4][:first]
        biases = {name: re.sub("weight$", "bias", name) for name in weights}
        chosen = [one for name in weights for one in dict.fromkeys((name, biases[name])) if one in tensors]
    return [_histogram(name, tensors[name]) for name in chosen if np.size(tensors[name])]


def _histogram(name: str, tensor: npt.NDArray[Any]) -> Histogram:
    values = np.asarray(tensor, np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, BINS)
    return Histogram(name, np.shape(tensor), counts.astype(np.int64), edges, float(values.mean()), float(values.std()))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
