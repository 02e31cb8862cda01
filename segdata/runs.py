"""Arithmetic on run lengths and spans, in columns over all masks of an image at once.

A *span* is a run of set pixels: (start, length, owner), three arrays sorted by owner and start. *Runs* alternate: zeros,
ones, zeros, … beginning with zeros, each with its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation

LONGEST_RUN = 65535

IntArray = npt.NDArray[np.int64]
Spans = tuple[IntArray, IntArray, IntArray]


def decode_counts(strings: Sequence[bytes]) -> tuple[IntArray, IntArray]:
    """COCO's compressed run-length strings → flat counts and the (N + 1,) pointer into them.

    Each count is written in groups of five bits, low first, with 0x20 for "more follows" and an offset of 48; from the
    fourth on it is the difference to the count two places before (`rleToString` in cocoapi's maskApi.c).

    Raises:
        InvalidAnnotation: a character outside the alphabet, or a string that ends inside a number.
    """
    string_lengths = np.array([len(string) for string in strings], np.int64)
    string_ends = string_lengths.cumsum()
    codes = np.frombuffer(b"".join(strings), np.uint8) - np.uint8(48)  # what is below wraps round to above
    if not codes.size:
        return np.zeros(0, np.int64), np.zeros(len(strings) + 1, np.int64)
    if codes.max() > 63:
        wrong = int(np.flatnonzero(codes > 63)[0])
        raise InvalidAnnotation(
            "run-length string holds a character outside its alphabet",
            why=f"found {chr((int(codes[wrong]) + 48) % 256)!r}; only '0' (48) to 'o' (111) can occur",
            place=f"mask {int(np.searchsorted(string_ends, wrong, side='right'))}",
        )
    last = (codes < 0x20).nonzero()[0]  # where a number ends
    pointer = np.zeros(len(strings) + 1, np.int64)
    pointer[1:] = last.searchsorted(string_ends)
    filled = string_lengths.nonzero()[0]
    unfinished = filled[codes[string_ends[filled] - 1] >= 0x20]
    if len(unfinished):
        raise InvalidAnnotation("run-length string ends inside a number", place=f"mask {int(unfinished[0])}")
    width = last.copy()
    width[0] += 1
    width[1:] -= last[:-1]
    longest = int(width.max())
    if longest > 12:
        raise InvalidAnnotation("run-length string holds a number of more than 60 bits")
    # The last group is the highest, and its fourth bit the sign of the whole.
    groups = codes & np.uint8(0x1F)
    values = (groups[last].astype(np.int64) ^ 0x10) - 0x10
    for back in range(1, longest):
        wider = (width > back).nonzero()[0]
        values[wider] = (values[wider] << 5) | groups[last[wider] - back]
    _add_up(values, pointer[:-1][filled], pointer[1:][filled])
    return values, pointer


def _add_up(values: IntArray, begin: IntArray, end: IntArray) -> None:
    """Undo the differences, in place: within each string, every value from the fourth on is added to that two before.

    Sums over every other value of all strings at once; what came before a string is taken off again.
    """
    first = values[begin]
    values[begin] = 0  # no other one builds on it
    for parity in (0, 1):
        every_other = values[parity::2]
        sums = pointer_of(every_other)
        before, after = (begin + 1 - parity) >> 1, (end + 1 - parity) >> 1
        np.subtract(sums[1:], sums[before].repeat(after - before), out=every_other)
    values[begin] = first


def check_strings(strings: Sequence[bytes], pixels: Sequence[int] | IntArray) -> None:
    """Raise unless every compressed string holds runs that sum to its image's pixels.

    Raises:
        InvalidAnnotation: bad characters, negative runs, another sum; `place` names the string, counted from 0.
    """
    expected = np.asarray(pixels, np.int64)
    counts, pointer = decode_counts(strings)
    ends = np.concatenate(([0], np.cumsum(counts)))
    sums = ends[pointer[1:]] - ends[pointer[:-1]]
    owner = np.repeat(np.arange(len(strings)), np.diff(pointer))
    is_run = (counts >= 0) & (counts <= expected[owner])
    wrong = np.concatenate((owner[~is_run], np.flatnonzero(sums != expected)))
    if not len(wrong):
        return
    first = int(wrong.min())
    own = counts[pointer[first] : pointer[first + 1]]
    odd = own[(own < 0) | (own > expected[first])]
    raise InvalidAnnotation(
        "run lengths hold something that is no run"
        if len(odd)
        else "run lengths do not add up to the size of the image",
        place=f"mask {first}",
        why=f"found {odd[0]}"
        if len(odd)
        else f"they sum to {own.sum()}; height · width of the image is {expected[first]}",
    )


def pointer_of(lengths: npt.NDArray[Any]) -> IntArray:
    """(N + 1,) places at which N runs of items begin, and the end of the last."""
    pointer: IntArray = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=pointer[1:])
    return pointer


def ranges(start: IntArray, length: IntArray) -> IntArray:
    """`start[i], start[i] + 1, …` for `length[i]` places, one i after another."""
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    places: IntArray = np.arange(total) + np.repeat(start - (ends - length), length)
    return places


def merge(spans: Spans) -> Spans:
    """Join spans of one owner that touch, and drop empty ones."""
    start, length, owner = spans
    if not length.all():
        keep = length > 0
        start, length, owner = start[keep], length[keep], owner[keep]
    touches = (start[1:] == start[:-1] + length[:-1]) & (owner[1:] == owner[:-1])
    if not touches.any():
        return start, length, owner
    begin = np.flatnonzero(np.concatenate(([True], ~touches)))
    return start[begin], np.add.reduceat(length, begin), owner[begin]


def alternate(spans: Spans, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Spans of N masks of `sizes` pixels → runs of zeros and ones in turn, and the (N + 1,) pointer into them.

    A last run of zeros stands only where one is needed; a mask without pixels has no runs.
    """
    start, length, owner = spans
    count = np.bincount(owner, minlength=len(sizes))
    after = count.cumsum()
    filled = count.nonzero()[0]
    end = start + length
    rest = sizes.copy()
    rest[filled] -= end[after[filled] - 1]
    has_rest = rest > 0
    pointer = pointer_of(2 * count + has_rest)
    gap = start.copy()
    gap[1:] -= end[:-1]
    first = (after - count)[filled]
    gap[first] = start[first]
    runs = np.empty(int(pointer[-1]), np.int64)
    place = np.arange(0, 2 * len(start), 2) + (pointer[:-1] - 2 * (after - count)).repeat(count)
    runs[place] = gap
    runs[place + 1] = length
    runs[pointer[1:][has_rest] - 1] = rest[has_rest]
    return runs, pointer


def split_long(runs: IntArray, pointer: IntArray) -> tuple[IntArray, IntArray]:
    """Split runs above 65,535 by runs of length zero of the other value; `pointer` as in `alternate`."""
    if not len(runs) or runs.max() <= LONGEST_RUN:
        return runs, pointer
    extra = np.maximum(runs - 1, 0) // LONGEST_RUN
    pieces = 2 * extra + 1
    of = np.repeat(np.arange(len(runs)), pieces)
    nth = ranges(np.zeros(len(runs), np.int64), pieces)
    rest = runs - extra * LONGEST_RUN
    value = np.where(nth % 2 == 1, 0, np.where(nth == pieces[of] - 1, rest[of], LONGEST_RUN))
    return value, pointer_of(pieces)[pointer]


def string_of_zeros(pixels: int) -> bytes:
    """The compressed string of one run of `pixels` zeros."""
    characters = bytearray()
    while True:
        bits = pixels & 0x1F
        pixels >>= 5
        more = not (pixels == 0 and not bits & 0x10)
        characters.append(48 + (bits | (0x20 if more else 0)))
        if not more:
            return bytes(characters)


def stretches(*maps: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Start and length of the stretches of pixels, row by row, over which every one of some maps is constant.

    Label maps are mostly constant: there are far fewer stretches than pixels to count.
    """
    flat = [values.ravel() for values in maps]
    changes = flat[0][1:] != flat[0][:-1]
    for values in flat[1:]:
        changes |= values[1:] != values[:-1]
    start = np.concatenate((np.zeros(min(flat[0].size, 1), np.int64), np.flatnonzero(changes) + 1))
    return start, np.diff(start, append=flat[0].size)
