"""How the numbers of a label file are written: `f6` six decimals, `n6` up to six, `g6` six digits, `r` all digits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import FloatArray, IntArray

_MOST_DECIMALS = 15
_MOST_AT_ONCE = 8
"""Decimals with which numbers below 10 become whole numbers of 32 bits."""

_NEAR_HALF = 1e-4
"""How near to the middle between two texts a number may be only where Python says which one is nearer."""


def style_of(words: Sequence[str], values: Sequence[float]) -> str:
    """How the numbers of a file are written, by its first object: the first style that gives its words back."""
    decimals = max((len(word.partition(".")[2]) for word in words), default=0)
    styles = [f"f{decimals}", f"n{decimals}", "g6"] if 0 < decimals <= _MOST_DECIMALS else ["g6"]
    wanted = " ".join(words[: len(values)])
    return next((style for style in styles if _writer(style)(values) == wanted), "r")


def texts(values: FloatArray, bounds: IntArray, style: str) -> list[str]:
    """The text of N objects' numbers, with a blank between two.

    Args:
        values, bounds: object i has the numbers `values[bounds[i]:bounds[i + 1]]`.
    """
    decimals = int(style[1:]) if style[0] == "f" else 0
    is_plain = 0 < decimals <= _MOST_AT_ONCE and bool(np.all(values < 9.5)) and not np.signbit(values).any()
    if is_plain:
        text, width = _fixed(values, decimals), decimals + 3
        return [text[begin * width : end * width][:-1] for begin, end in itertools.pairwise(bounds.tolist())]
    write, numbers = _writer(style), values.tolist()
    return [write(numbers[begin:end]) for begin, end in itertools.pairwise(bounds.tolist())]


def _fixed(values: FloatArray, decimals: int) -> str:
    """Numbers of 0 … 9.5 as `%.6f` writes them, a blank behind each: all are of one width."""
    scaled = values * 10.0**decimals
    whole = np.rint(scaled)
    steps = whole.astype(np.int64)
    for index in np.flatnonzero(np.abs(np.abs(scaled - whole) - 0.5) < _NEAR_HALF).tolist():
        steps[index] = int(f"{values[index]:.{decimals}f}".replace(".", ""))
    rest = steps.astype(np.uint32)
    characters = np.empty((len(values), decimals + 3), np.uint8)
    for place in (*range(decimals + 1, 1, -1), 0):
        quotient: npt.NDArray[np.uint32] = rest // np.uint32(10)
        characters[:, place] = rest - quotient * 10
        rest = quotient
    characters += ord("0")
    characters[:, 1], characters[:, -1] = ord("."), ord(" ")
    return characters.tobytes().decode("ascii")


def _writer(style: str) -> Callable[[Sequence[float]], str]:
    """A function from numbers to their text."""
    match = re.fullmatch(r"([fgn])(\d{1,2})", style)
    kind, digits = (match[1], int(match[2])) if match else ("r", 0)
    if kind == "f":
        return lambda values: (f"%.{digits}f " * len(values))[:-1] % tuple(values)
    if kind == "g":
        return lambda values: (f"%.{digits}g " * len(values))[:-1] % tuple(values)
    if kind == "n":
        return lambda values: " ".join([repr(round(value, digits)) for value in values])
    return lambda values: " ".join(map(repr, values))
