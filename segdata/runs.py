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
    string_ends = np.cumsum(string_lengths)
    codes = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - 48
    if codes.size and (codes.min() < 0 or codes.max() > 63):
        wrong = int(np.nonzero((codes < 0) | (codes > 63))[0][0])
        raise InvalidAnnotation(
            "run-length string holds a character outside its alphabet",
            why=f"found {chr(int(codes[wrong]) + 48)!r}; only '0' (48) to 'o' (111) can occur",
            place=f"mask {int(np.searchsorted(string_ends, wrong, side='right'))}",
        )
    is_last = (codes & 0x20) == 0
    filled = string_lengths > 0
    unfinished = np.nonzero(~is_last[string_ends[filled] - 1])[0]
    if len(unfinished):
        raise InvalidAnnotation(
            "run-length string ends inside a number",
            place=f"mask {int(np.nonzero(filled)[0][unfinished[0]])}",
        )
    if not codes.size:
        return np.zeros(0, np.int64), np.zeros(len(strings) + 1, np.int64)
    begin = np.concatenate(([0], np.nonzero(is_last)[0][:-1] + 1))
    width = np.diff(np.append(begin, codes.size))
    if width.max() > 12:
        raise InvalidAnnotation("run-length string holds a number of more than 60 bits")
    shift = 5 * ranges(np.zeros(len(begin), np.int64), width)
    values = np.add.reduceat((codes & 0x1F) << shift, begin)
    is_negative = (codes[begin + width - 1] & 0x10) != 0
    values = np.where(is_negative, values - (np.int64(1) << (5 * width)), values)
    pointer = np.concatenate(([0], np.cumsum(np.bincount(_owner_of(begin, string_ends), minlength=len(strings)))))
    # Undo the differences: cumulative sums over every other count, from index 1 and from index 2.
    owner = np.repeat(np.arange(len(strings)), np.diff(pointer))
    nth = np.arange(len(values)) - pointer[owner]
    chain = np.nonzero(nth > 0)[0]
    group = owner[chain] * 2 + (nth[chain] & 1)
    order = chain[np.argsort(group, kind="stable")]
    sums = np.cumsum(values[order])
    group = owner[order] * 2 + (nth[order] & 1)
    starts = np.concatenate(([0], np.nonzero(np.diff(group))[0] + 1))
    before = (
        np.repeat(np.concatenate(([0], sums[starts[1:] - 1])), np.diff(np.append(starts, len(order))))
        if len(order)
        else np.zeros(0, np.int64)
    )
    values[order] = sums - before
    return values, pointer.astype(np.int64)


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


def _owner_of(begin: IntArray, string_ends: IntArray) -> IntArray:
    owner: IntArray = np.searchsorted(string_ends, begin, side="right")
    return owner


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
    keep = length > 0
    start, length, owner = start[keep], length[keep], owner[keep]
    if not len(start):
        return start, length, owner
    is_new = np.concatenate(([True], (start[1:] != start[:-1] + length[:-1]) | (owner[1:] != owner[:-1])))
    begin = np.nonzero(is_new)[0]
    return start[begin], np.add.reduceat(length, begin), owner[begin]


def alternate(
    start: IntArray, length: IntArray, owner: IntArray, frames: npt.NDArray[Any]
) -> tuple[IntArray, IntArray]:
    """Spans → runs of zeros and ones in turn (a last run of zeros only where needed), and each run's owner."""
    if not len(start):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    is_first = np.concatenate(([True], owner[1:] != owner[:-1]))
    is_last = np.concatenate((is_first[1:], [True]))
    previous = np.concatenate(([0], (start + length)[:-1]))
    gap = np.where(is_first, start, start - previous)
    size = frames[owner, 2].astype(np.int64) * frames[owner, 3]
    rest = np.where(is_last, size - start - length, 0)
    runs = np.stack((gap, length, rest), axis=1).reshape(-1)
    keep = np.ones_like(runs, bool)
    keep[2::3] = rest > 0
    return runs[keep], np.repeat(owner, 3)[keep]


def split_long(runs: IntArray, owner: IntArray) -> tuple[IntArray, IntArray]:
    """Split runs above 65,535 by runs of length zero of the other value."""
    extra = np.maximum(runs - 1, 0) // LONGEST_RUN
    if not extra.any():
        return runs, owner
    pieces = 2 * extra + 1
    of = np.repeat(np.arange(len(runs)), pieces)
    nth = ranges(np.zeros(len(runs), np.int64), pieces)
    rest = runs - extra * LONGEST_RUN
    value = np.where(nth % 2 == 1, 0, np.where(nth == pieces[of] - 1, rest[of], LONGEST_RUN))
    return value, owner[of]


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
