"""Run-length encoding (RLE) of binary masks, vectorised over all masks of an image.

Two forms, both over pixels in column-major order, as in COCO:

    runs     run lengths of zeros, ones, zeros, … in turn, beginning with zeros; (N + 1,) `pointer`: mask i owns
             `runs[pointer[i]:pointer[i + 1]]`
    spans    set pixels only: columns (start, length, owner), each (S,) int64, sorted by owner and start; `owner` is the
             index of the mask, `start` the position x · height + y of the first pixel
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.errors import InvalidAnnotation

LONGEST_RUN = 65535
"""Runs are stored as uint16."""

Spans = tuple[IntArray, IntArray, IntArray]


def decode_counts(strings: Sequence[bytes]) -> tuple[IntArray, IntArray]:
    """Decode COCO's compressed RLE strings → flat counts and the (N + 1,) pointer into them.

    Each count is written in groups of five bits, low first, with 0x20 for "more follows" and an offset of 48; from the
    fourth on it is the difference to the count two before (`rleToString` in cocoapi's maskApi.c).

    Raises:
        InvalidAnnotation: a character outside the alphabet, or a string that ends inside a number.
    """
    string_lengths = np.array([len(string) for string in strings], np.int64)
    string_ends = string_lengths.cumsum()
    codes = np.frombuffer(b"".join(strings), np.uint8) - np.uint8(48)  # characters below 48 wrap round
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
    # The last group has the highest bits; its bit 0x10 is the sign.
    groups = codes & np.uint8(0x1F)
    values = (groups[last].astype(np.int64) ^ 0x10) - 0x10
    for back in range(1, longest):
        wider = (width > back).nonzero()[0]
        values[wider] = (values[wider] << 5) | groups[last[wider] - back]
    _undo_differences(values, pointer[:-1][filled], pointer[1:][filled])
    return values, pointer


def _undo_differences(values: IntArray, begin: IntArray, end: IntArray) -> None:
    """In place: within each string, every value from the fourth on is added to the value two before.

    Cumulative sums over every other value of all strings at once, less the sum before each string.
    """
    first = values[begin]
    values[begin] = 0  # the third value is no difference: nothing builds on the first
    for parity in (0, 1):
        every_other = values[parity::2]
        sums = pointer_of(every_other)
        before, after = (begin + 1 - parity) >> 1, (end + 1 - parity) >> 1
        np.subtract(sums[1:], sums[before].repeat(after - before), out=every_other)
    values[begin] = first


def check_strings(strings: Sequence[bytes], pixels: Sequence[int] | IntArray) -> None:
    """Raise unless every compressed RLE string holds runs that sum to height · width of its image.

    Args:
        pixels: (N,) height · width of each string's image.

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
    runs = counts[pointer[first] : pointer[first + 1]]
    odd = runs[(runs < 0) | (runs > expected[first])]
    raise InvalidAnnotation(
        "run lengths hold something that is no run"
        if len(odd)
        else "run lengths do not add up to the size of the image",
        place=f"mask {first}",
        why=f"found {odd[0]}"
        if len(odd)
        else f"they sum to {runs.sum()}; height · width of the image is {expected[first]}",
    )


def pointer_of(lengths: npt.NDArray[Any]) -> IntArray:
    """(N + 1,) int64 offsets of N consecutive pieces of these lengths: 0, then the cumulative sum."""
    pointer: IntArray = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=pointer[1:])
    return pointer


def ranges(start: IntArray, length: IntArray) -> IntArray:
    """`np.arange(start[i], start[i] + length[i])` of all i, concatenated."""
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    positions: IntArray = np.arange(total) + np.repeat(start - (ends - length), length)
    return positions


def merge(spans: Spans) -> Spans:
    """Join spans of one owner that touch, and remove empty ones."""
    start, length, owner = spans
    if not length.all():
        keep = length > 0
        start, length, owner = start[keep], length[keep], owner[keep]
    touches = (start[1:] == start[:-1] + length[:-1]) & (owner[1:] == owner[:-1])
    if not touches.any():
        return start, length, owner
    begin = np.flatnonzero(np.concatenate(([True], ~touches)))
    return start[begin], np.add.reduceat(length, begin), owner[begin]


def unite(spans: Spans, stride: int) -> Spans:
    """The union of each owner's spans: join those that touch or overlap, and remove empty ones.

    Args:
        spans: sorted by owner; those of one owner in any order.
        stride: larger than any position.
    """
    start, length, owner = spans
    keep = length.nonzero()[0]
    owner = owner[keep]
    begin = owner * stride + start[keep]
    end = begin + length[keep]
    back = (begin[1:] < begin[:-1]).nonzero()[0]
    if len(back):
        mixed = np.isin(owner, owner[back]).nonzero()[0]
        order = mixed[begin[mixed].argsort()]
        begin[mixed], end[mixed] = begin[order], end[order]
    end = np.maximum.accumulate(end)
    is_first = np.ones(len(begin), bool)
    np.greater(begin[1:], end[:-1], out=is_first[1:])
    first = is_first.nonzero()[0]
    if len(first) < len(begin):
        begin, end, owner = begin[first], end[np.append(first[1:], len(end)) - 1], owner[first]
    return begin - owner * stride, end - begin, owner


def runs_of(spans: Spans, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Spans of N masks → runs, and the (N + 1,) pointer into them; the inverse of `spans_of`.

    A last run of zeros is written only where it is not empty; a mask of size 0 has no runs.

    Args:
        sizes: (N,) int64, pixels of each mask's frame, set or not.
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
    position = np.arange(0, 2 * len(start), 2) + (pointer[:-1] - 2 * (after - count)).repeat(count)
    runs[position] = gap
    runs[position + 1] = length
    runs[pointer[1:][has_rest] - 1] = rest[has_rest]
    return runs, pointer


def split_long(runs: IntArray, pointer: IntArray) -> tuple[IntArray, IntArray]:
    """Split runs longer than 65,535 with runs of length zero of the other value; `pointer` as in `runs_of`."""
    if not len(runs) or runs.max() <= LONGEST_RUN:
        return runs, pointer
    long = (runs > LONGEST_RUN).nonzero()[0]
    extra = (runs[long] - 1) // LONGEST_RUN
    rest = runs.copy()
    rest[long] -= extra * LONGEST_RUN
    before = np.resize(np.array([LONGEST_RUN, 0]), 2 * int(extra.sum()))
    added = pointer_of(2 * extra)
    return np.insert(rest, long.repeat(2 * extra), before), pointer + added[long.searchsorted(pointer)]


def spans_of(counts: IntArray, pointer: IntArray) -> Spans:
    """Runs of N masks, as COCO's uncompressed `counts`, → spans."""
    ends, ones = pointer_of(counts), np.diff(pointer) // 2
    inside = odd_positions(pointer)
    start = ends[:-1][inside] - ends[pointer[:-1]].repeat(ones)
    return merge((start, counts[inside], np.arange(len(ones)).repeat(ones)))


def cropped(
    spans: Spans, count: int, height: int | IntArray
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint16], IntArray]:
    """Crop `count` masks to their tight boxes: spans of the full image → runs inside the boxes.

    Args:
        height: of the image in pixels, or (count,) int64, of each mask's image.

    Returns:
        (count, 4) int32 boxes x y width height, all zero for an empty mask; (R,) uint16 runs; (count + 1,) pointer.
    """
    start, length, owner = spans
    boxes = np.zeros((count, 4), np.int32)
    if not len(start):
        return boxes, np.zeros(0, np.uint16), np.zeros(count + 1, np.int64)
    image_height = height if isinstance(height, int) else height[owner]
    column = start // image_height
    top = start - column * image_height
    bottom = top + length - 1
    pieces = bottom // image_height + 1
    if pieces.max() > 1:  # split at the image's columns, so that every piece lies in one column
        span = np.repeat(np.arange(len(start)), pieces)
        nth = ranges(np.zeros(len(start), np.int64), pieces)
        column, owner = column[span] + nth, owner[span]
        image_height = image_height if isinstance(image_height, int) else image_height[span]
        bottom = np.minimum(bottom[span] - nth * image_height, image_height - 1)
        top = np.where(nth == 0, top[span], 0)
    # The tight box of every mask that has a pixel.
    number = np.bincount(owner, minlength=count)
    present = number.nonzero()[0]
    number = number[present]
    begin = number.cumsum() - number
    x0 = column[begin]
    y0 = np.minimum.reduceat(top, begin)
    box_width = column[begin + number - 1] - x0 + 1
    box_height = np.maximum.reduceat(bottom, begin) - y0 + 1
    boxes[present] = np.array((x0, y0, box_width, box_height)).T
    # Positions inside the box; spans that touch there become one.
    position = column * box_height.repeat(number) + top - (x0 * box_height + y0).repeat(number)
    sizes = np.zeros(count, np.int64)
    sizes[present] = box_width * box_height
    runs, pointer = split_long(*runs_of(merge((position, bottom - top + 1, owner)), sizes))
    return boxes, runs.astype(np.uint16), pointer


def odd_positions(pointer: IntArray) -> npt.NDArray[np.bool_]:
    """(R,) bool, which runs count ones: every second run of each mask."""
    begins_odd = (pointer[:-1] & 1).astype(bool).repeat(np.diff(pointer))
    begins_odd[1::2] ^= True
    return begins_odd


def uncropped(boxes: npt.NDArray[np.int32], runs: npt.NDArray[np.uint16], pointer: IntArray, height: int) -> Spans:
    """Runs inside boxes x y width height → spans of the image, `height` pixels high: the inverse of `cropped`."""
    lengths = runs.astype(np.int64)
    ends = pointer_of(lengths)
    owner = np.repeat(np.arange(len(boxes)), np.diff(pointer))
    keep = odd_positions(pointer) & (lengths > 0)
    position = (ends[:-1] - ends[pointer[owner]])[keep]
    position, length, owner = merge((position, lengths[keep], owner[keep]))
    x, y, _, box_height = boxes[owner].astype(np.int64).T
    first = position // np.maximum(box_height, 1)  # column inside the box
    last = (position + length - 1) // np.maximum(box_height, 1)
    pieces = last - first + 1
    span = np.repeat(np.arange(len(position)), pieces)
    nth = ranges(np.zeros(len(position), np.int64), pieces)
    top = np.where(nth == 0, (position - first * box_height)[span], 0)
    bottom = np.where(nth == pieces[span] - 1, (position + length - 1 - last * box_height)[span], box_height[span] - 1)
    start = ((x + first)[span] + nth) * height + y[span] + top
    return merge((start, bottom - top + 1, owner[span]))


def string_of_zeros(pixels: int) -> bytes:
    """The compressed RLE string of an empty mask of this many pixels."""
    characters = bytearray()
    while True:
        bits = pixels & 0x1F
        pixels >>= 5
        more = not (pixels == 0 and not bits & 0x10)
        characters.append(48 + (bits | (0x20 if more else 0)))
        if not more:
            return bytes(characters)


def constant_runs(*maps: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Start and length of the runs of pixels, in row-major order, over which each of these (H, W) maps is constant.

    Label maps are mostly constant: there are far fewer runs than pixels to count.
    """
    flat = [values.ravel() for values in maps]
    changes = flat[0][1:] != flat[0][:-1]
    for values in flat[1:]:
        changes |= values[1:] != values[:-1]
    start = np.concatenate((np.zeros(min(flat[0].size, 1), np.int64), np.flatnonzero(changes) + 1))
    return start, np.diff(start, append=flat[0].size)
