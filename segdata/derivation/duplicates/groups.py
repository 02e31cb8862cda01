"""Groups of images that are equal or look alike: all of them with what to keep, or those that lie across splits and packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segdata.core.arrays import IntArray, roots
from segdata.core.rle import ranges
from segdata.derivation.duplicates.levels import BACK, Alike


class Link(NamedTuple):
    """Two images that are equal or look alike.

    Attributes:
        one, other: their numbers.
        level: "bytes", "pixels" or "near".
        bits: in how many of 256 their hashes differ; 0 for equal pixels.
        orientation: how the one has to be turned to look like the other, 1 … 8 as in EXIF.
    """

    one: int
    other: int
    level: str
    bits: int
    orientation: int


@dataclass(frozen=True)
class Group:
    """Images that hang together.

    Attributes:
        numbers: of the images, in order.
        links: pairs of them: of every image that is not kept the one that is kept instead; across splits, of every
            image the nearest one elsewhere.
        kept: the images to keep; empty across splits.
    """

    numbers: Sequence[int]
    links: Sequence[Link]
    kept: Sequence[int] = ()


class _Edges:
    """Pairs of nodes, by node.

    Args:
        one, other, bits, orientation: (E,) int64, as in `Alike`.
    """

    def __init__(self, count: int, one: IntArray, other: IntArray, bits: IntArray, orientation: IntArray) -> None:
        begin, end = np.append(one, other), np.append(other, one)
        bits, orientation = np.append(bits, bits), np.append(orientation, BACK[orientation])
        order = np.lexsort((end, bits, begin))
        self._edges = np.column_stack([end, bits, orientation])[order]
        self._pointer = np.searchsorted(begin[order], np.arange(count + 1))

    def of(self, node: int) -> list[tuple[int, int, int]]:
        """Neighbour, bits and orientation of each edge of a node, the nearest first."""
        edges: list[tuple[int, int, int]] = self._edges[self._pointer[node] : self._pointer[node + 1]].tolist()
        return edges


def everywhere(alike: Alike, rank: IntArray) -> Iterator[Group]:
    """All groups: every image that is not kept is equal to one that is, or looks like it.

    Args:
        rank: (N,) int64, the order in which images are preferred, the smallest first.
    """
    count = len(rank)
    edges = _Edges(count, alike.one, alike.other, alike.bits, alike.orientation)
    root = roots(count, np.append(np.arange(count), alike.one), np.append(alike.picture, alike.other))
    for numbers in _together(root):
        kept: list[int] = []
        links: list[Link] = []
        covered: dict[int, tuple[int, int, int]] = {}
        for number in sorted(numbers, key=lambda number: int(rank[number])):
            picture = int(alike.picture[number])
            if picture in covered:
                keeper, bits, orientation = covered[picture]
                links.append(_link(alike, keeper, number, bits, orientation))
                continue
            kept.append(number)
            covered[picture] = number, 0, 1
            for other, bits, orientation in edges.of(picture):
                covered.setdefault(other, (number, bits, orientation))
        yield Group(numbers, links, sorted(kept))


def across(alike: Alike, origin: IntArray) -> tuple[list[Group], IntArray]:
    """The groups of images that are equal to one of another origin, or look like it.

    Args:
        origin: (N,) int64, of each image where it comes from.

    Returns:
        The groups, and (Q, 2) int64: an image, and another origin that has an equal or alike one.
    """
    nodes, node = np.unique(np.column_stack([alike.picture, origin]), axis=0, return_inverse=True)
    node = node.reshape(-1)
    picture, from_where = nodes.T
    several = np.unique(picture[1:][picture[1:] == picture[:-1]])
    one, other, pair = _products(
        np.searchsorted(picture, np.arange(len(origin) + 1)),
        np.append(several, alike.one),
        np.append(several, alike.other),
        from_where,
    )
    bits = np.append(np.full(len(several), -1), alike.bits)  # equal pixels are nearer than equal hashes
    orientation = np.append(np.ones(len(several), np.int64), alike.orientation)
    edges = _Edges(len(nodes), one, other, bits[pair], orientation[pair])
    first = np.full(len(nodes), len(origin))
    np.minimum.at(first, node, np.arange(len(origin)))
    has_edge = np.bincount(np.append(one, other), minlength=len(nodes)) > 0
    root = np.where(has_edge[node], roots(len(nodes), one, other)[node], len(nodes) + np.arange(len(node)))
    together = []
    for numbers in _together(root):
        links = set()
        for number in numbers:
            nearest, distance, turn = edges.of(int(node[number]))[0]
            partner = int(first[nearest])
            if number < partner:
                links.add(_link(alike, number, partner, distance, turn))
            else:
                links.add(_link(alike, partner, number, distance, int(BACK[turn])))
        together.append(Group(numbers, sorted(links)))
    met = np.unique(np.column_stack([np.append(one, other), from_where[np.append(other, one)]]), axis=0)
    return together, _of_images(met, node, len(nodes))


def _of_images(rows: IntArray, node: IntArray, count: int) -> IntArray:
    """Rows that begin with the number of a node, for each of its images: (Q, 2) int64."""
    order, sizes = np.argsort(node, kind="stable"), np.bincount(node, minlength=count)
    many = sizes[rows[:, 0]]
    begin = (np.cumsum(sizes) - sizes)[rows[:, 0]]
    return np.column_stack([order[ranges(begin, many)], rows[:, 1].repeat(many)])


def _products(
    pointer: IntArray, one: IntArray, other: IntArray, origin: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """For each pair of pictures all pairs of their nodes that have different origins, each once; and which pair it is."""
    counts = np.diff(pointer)
    mine = ranges(pointer[one], counts[one])
    pair = np.arange(len(one)).repeat(counts[one])
    many = counts[other[pair]]
    theirs = ranges(pointer[other[pair]], many)
    mine, pair = mine.repeat(many), pair.repeat(many)
    chosen = (origin[mine] != origin[theirs]) & ((one[pair] != other[pair]) | (mine < theirs))
    return mine[chosen], theirs[chosen], pair[chosen]


def _together(root: IntArray) -> Iterator[list[int]]:
    """The numbers that have one root, where there are several; in order of the first of each."""
    order = np.argsort(root, kind="stable")
    cuts = np.flatnonzero(np.diff(root[order])) + 1
    groups = [part.tolist() for part in np.split(order, cuts) if len(part) > 1]
    yield from sorted(groups)


def _link(alike: Alike, one: int, other: int, bits: int, orientation: int) -> Link:
    if alike.picture[one] != alike.picture[other]:
        return Link(one, other, "near", bits, orientation)
    return Link(one, other, "bytes" if alike.file[one] == alike.file[other] else "pixels", 0, 1)
