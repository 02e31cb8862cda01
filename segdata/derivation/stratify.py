"""Put images into parts so that each has its share of every category: greedily, the rarest category first.

Whole numbers decide, and digests of names break ties: the same input gives the same parts on every machine.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from segdata.core.rle import pointer_of, ranges

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEW = 20_000
"""Units up to which some change places at last: in a large set the remainders are below any notice."""

BLOCK = 25_000
"""Rows of the units that change places with each other: all units of a small set, some at a time of a larger one."""

ROWS = 20_000_000
"""Most rows that are looked at for it."""

TRIES = 64
"""Units whose best exchange is looked for before two parts count as balanced."""

GAIN = 1e-12
"""What an exchange gains at least: less is what rounding makes up."""


@dataclass(frozen=True)
class Units:
    """What is put into parts as a whole: single images, or groups of them.

    Attributes:
        names: of the U units, all distinct; their digests decide the order of equals.
        sizes: (U,) int64, images of each.
        unit, category, count: (P,) int64 each: how many objects of a category a unit has; each pair once, sorted.
        categories: how many categories there are.
        unit_of: (N,) int64, the unit of every image.
    """

    names: Sequence[str]
    sizes: Integers
    unit: Integers
    category: Integers
    count: Integers
    categories: int
    unit_of: Integers

    @classmethod
    def of(cls, names: Sequence[str], image: Integers, category: Integers, categories: int) -> Units:
        """The units of N images.

        Args:
            names: (N,) the name of each image's unit.
            image, category: (M,) int64 each: one entry for each object.
        """
        number = {name: index for index, name in enumerate(dict.fromkeys(names))}
        unit_of = np.arange(len(names))
        if len(number) < len(names):
            unit_of = np.array([number[name] for name in names], np.int64)
        pairs, count = np.unique(unit_of[image] * max(categories, 1) + category, return_counts=True)
        return cls(
            list(number),
            np.bincount(unit_of, minlength=len(number)),
            pairs // max(categories, 1),
            pairs % max(categories, 1),
            count.astype(np.int64),
            categories,
            unit_of=unit_of,
        )

    @property
    def totals(self) -> Integers:
        """(K,) int64, objects of each category."""
        totals = np.zeros(self.categories, np.int64)
        np.add.at(totals, self.category, self.count)
        return totals

    @property
    def first(self) -> Integers:
        """(U + 1,) int64: unit u has the rows first[u] … first[u + 1] − 1."""
        return pointer_of(np.bincount(self.unit, minlength=len(self.names)))

    def in_order(self, seed: int) -> Integers:
        """All units in the order of digests of their names and a seed."""
        start = hashlib.sha256(f"{seed}\0".encode())
        digests = bytearray()
        for name in self.names:
            digest = start.copy()
            digest.update(name.encode("utf-8", "surrogatepass"))
            digests += digest.digest()
        return np.argsort(np.frombuffer(digests, "S32"), kind="stable")

    def members(self, order: Integers) -> tuple[Integers, Integers]:
        """The rows of each category, in this order of their units, and (K + 1,) where each category begins among them."""
        rank = np.empty(len(self.names), np.int64)
        rank[order] = np.arange(len(order))
        rows = np.lexsort((rank[self.unit], self.category))
        return rows, pointer_of(np.bincount(self.category, minlength=self.categories))


def sizes_of(images: int, shares: Sequence[Fraction], units: int) -> list[int]:
    """How many images each part should have: its share rounded down, and the rest to the largest remainders.

    Where there are as many units as parts, every part has one at least.
    """
    sizes = [int(share * images) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda part: (sizes[part] - shares[part] * images, part))
    for part in by_remainder[: images - sum(sizes)]:
        sizes[part] += 1
    while 0 in sizes and units >= len(sizes):
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return sizes


def parts(units: Units, shares: Sequence[Fraction], seed: int) -> Integers:
    """The part of each unit, (U,) int64.

    Again and again the category comes of which the fewest objects are left, and its units go, one after another, to the
    part that lacks most of it, of those that still lack images; where parts lack the same, to the one that lacks most
    images. Then come units without objects. Among equals a digest decides. At last some units change places.

    Args:
        shares: of each part; they sum up to 1.

    Returns:
        Parts of the sizes that `sizes_of` says where units are single images. Those of groups are off by half the mean
        size of a group, where groups allow. None is empty where there are as many units as parts.
    """
    room = sizes_of(int(units.sizes.sum()), shares, len(units.names))
    order = units.in_order(seed)
    part_of = _greedy(units, shares, room, order)
    _fill(part_of, units, room)
    if len(units.names) <= FEW:
        _Exchange(units, shares, part_of, room).run(order)
    return part_of


def _greedy(units: Units, shares: Sequence[Fraction], room: list[int], order: Integers) -> Integers:
    """The part of each unit, (U,).

    Args:
        room: images that each part should have; afterwards what it still lacks.
        order: of units that are equally good.
    """
    scale = math.lcm(*(share.denominator for share in shares))
    weights = [int(share * scale) for share in shares]
    left, counts = units.totals, np.zeros(units.categories * len(shares), np.int64)
    first = units.first
    rows, begin = units.members(order)
    part_of = np.full(len(units.names), -1, np.int64)
    while (left > 0).any():
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        there = rows[begin[rarest] : begin[rarest + 1]]
        there = there[part_of[units.unit[there]] < 0]
        members = units.unit[there]
        total, given = int(units.totals[rarest]), counts[rarest * len(shares) :][: len(shares)].tolist()
        lacks = [weight * total - scale * number for weight, number in zip(weights, given, strict=True)]
        part_of[members] = _dealt((scale * units.count[there]).tolist(), units.sizes[members].tolist(), lacks, room)
        theirs = ranges(first[members], np.diff(first)[members])
        np.subtract.at(left, units.category[theirs], units.count[theirs])
        np.add.at(counts, units.category[theirs] * len(shares) + part_of[units.unit[theirs]], units.count[theirs])
    others = order[part_of[order] < 0]
    sizes = units.sizes[others].tolist()
    part_of[others] = _dealt([0] * len(sizes), sizes, [0] * len(shares), room)
    return part_of


def _dealt(objects: list[int], sizes: list[int], lacks: list[int], room: list[int]) -> list[int]:
    """The part of each of some units: the one that lacks most objects of those that lack images; both are kept up to date."""
    chosen = []
    for number, size in zip(objects, sizes, strict=True):
        best = most = -1
        for part, here in enumerate(lacks):  # `max` with a key takes three times as long
            if room[part] > 0 and (best < 0 or here > most or (here == most and room[part] > room[best])):
                best, most = part, here
        chosen.append(best)
        lacks[best] -= number
        room[best] -= size
    return chosen


def _fill(part_of: Integers, units: Units, room: list[int]) -> None:
    """Put a unit into every part: the smallest of the part that lacks fewest images of those with several."""
    for part in range(len(room)):
        members = np.bincount(part_of, minlength=len(room))
        if members[part] or not (members > 1).any():
            continue
        giver = min((other for other in range(len(room)) if members[other] > 1), key=room.__getitem__)
        candidates = np.flatnonzero(part_of == giver)
        chosen = candidates[np.argmin(units.sizes[candidates])]
        part_of[chosen] = part
        room[part] -= int(units.sizes[chosen])
        room[giver] += int(units.sizes[chosen])


@dataclass(frozen=True)
class _Block:
    """Some units and their rows: (B,) numbers of units, (R,) numbers of rows, and of each row its unit's place and category."""

    units: Integers
    rows: Integers
    unit: Integers
    category: Integers

    @classmethod
    def of(cls, units: Units, chosen: Integers) -> _Block:
        length = np.diff(units.first)[chosen]
        rows = ranges(units.first[chosen], length)
        return cls(chosen, rows, np.repeat(np.arange(len(chosen)), length), units.category[rows])


class _Exchange:
    """Units that change places between two parts, or groups that move: first while sizes come nearer to those that are
    wanted, then while shares of categories become more even, by the sum of the squares of what parts lack of each.

    Sums are those of `np.bincount`, which adds one number after another on every machine.

    Args:
        part_of: (U,) changed where units move.
        room: images that each part lacks; kept up to date.
    """

    def __init__(self, units: Units, shares: Sequence[Fraction], part_of: Integers, room: list[int]) -> None:
        self.units, self.part_of, self.room = units, part_of, room
        self.slack = int(units.sizes.sum()) // (2 * len(units.names))
        self.first = units.first
        totals = units.totals
        self.share = units.count / totals[units.category]  # (P,) of each row in its category
        counts = np.bincount(
            units.category * len(shares) + part_of[units.unit], units.count, units.categories * len(shares)
        ).reshape(units.categories, len(shares))
        wanted = np.array([float(share) for share in shares])
        self.lacks = wanted - counts / np.maximum(totals, 1)[:, None]  # (K, parts) shares of categories
        self.members = np.bincount(part_of, minlength=len(shares))
        self.left = ROWS

    def run(self, order: Integers) -> None:
        """Block after block, until none has two parts that gain by an exchange, or enough was looked at."""
        rows = np.diff(self.first)[order].cumsum() + np.arange(len(order))
        blocks = np.split(order, np.flatnonzero(np.diff(rows // BLOCK)) + 1)
        pairs = list(itertools.combinations(range(len(self.room)), 2))
        is_done = False
        while not is_done and self.left > 0:
            is_done = True
            for block in map(_Block.of, itertools.repeat(self.units), blocks):
                for one, other in pairs:
                    for _ in range(len(block.units)):
                        if self.left <= 0 or not self._step(block, one, other):
                            break
                        is_done = False

    def _excess(self, one: int, other: int, images: Integers) -> Integers:
        """By how much sizes of two parts are off, squared, when so many more images go from one to the other."""
        after = np.abs(np.stack([self.room[one] + images, self.room[other] - images]))
        excess: Integers = (np.maximum(after - self.slack, 0) ** 2).sum(axis=0)
        return excess

    def _step(self, block: _Block, one: int, other: int) -> bool:
        """Make the best exchange that one of the likeliest units has; False when none of them gains."""
        part_of = self.part_of[block.units]
        side = np.where(part_of == one, 1, np.where(part_of == other, -1, 0))
        share = self.share[block.rows]
        toward = (self.lacks[:, other] - self.lacks[:, one])[block.category]
        alone: Floats = share * (side[block.unit] * toward - share)
        score = np.bincount(block.unit, alone, len(side)).astype(np.float64)  # gained by a unit that moves alone
        now = int(self._excess(one, other, np.zeros(1, np.int64))[0])
        candidates = np.flatnonzero(side)
        likeliest = candidates[np.argsort(-score[candidates], kind="stable")]
        for unit in likeliest[: len(likeliest) if now else TRIES].tolist():
            self.left -= len(block.rows) + len(side)
            if self._exchanged(block, unit, (one, other) if side[unit] > 0 else (other, one), side, score, now):
                return True
        return False

    def _exchanged(
        self, block: _Block, unit: int, pair: tuple[int, int], side: Integers, score: Floats, now: int
    ) -> bool:
        """Exchange a unit for the best of the other part, or for none, where that gains."""
        here, there = pair
        sizes = self.units.sizes[block.units]
        partners = np.flatnonzero(side == -side[unit])
        alike = np.zeros(self.units.categories)
        share = self.share[block.rows]
        theirs = block.unit == unit
        alike[block.category[theirs]] = 2 * share[theirs]
        gains = score[unit] + (score + np.bincount(block.unit, share * alike[block.category], len(side)))[partners]
        images = sizes[unit] - sizes[partners]
        if self.members[here] > 1:  # for none
            partners, gains = np.append(partners, -1), np.append(gains, score[unit])
            images = np.append(images, sizes[unit])
        if not len(partners):
            return False
        excess = self._excess(here, there, images)
        best = int(np.lexsort((-gains, excess))[0]) if now else int(np.where(excess <= now, gains, -np.inf).argmax())
        if excess[best] > now or (excess[best] == now and gains[best] <= GAIN):
            return False
        self._move(int(block.units[unit]), here, there)
        if partners[best] >= 0:
            self._move(int(block.units[partners[best]]), there, here)
        return True

    def _move(self, unit: int, here: int, there: int) -> None:
        rows = slice(self.first[unit], self.first[unit + 1])
        categories, share, size = self.units.category[rows], self.share[rows], int(self.units.sizes[unit])
        self.lacks[categories, here] += share
        self.lacks[categories, there] -= share
        self.part_of[unit] = there
        self.room[here] += size
        self.room[there] -= size
        self.members[here] -= 1
        self.members[there] += 1


def balanced(units: Units, number: int, seed: int) -> npt.NDArray[np.bool_]:
    """(U,) bool: some units, chosen so that all categories are in about as many of them.

    Again and again the category that is in fewest of the chosen ones gets its next unit, in the order of digests. Units
    without objects come when there are no others.
    """
    order = units.in_order(seed)
    rows, begin = units.members(order[::-1])
    members = [units.unit[rows[one:other]].tolist() for one, other in itertools.pairwise(begin.tolist())]
    first, category = units.first.tolist(), units.category.tolist()
    chosen = np.zeros(len(units.names), bool)
    seen = [0] * units.categories
    waiting = [(0, len(members[index]), index) for index in range(units.categories)]
    heapq.heapify(waiting)
    left = number
    while left and waiting:
        before, rank, index = heapq.heappop(waiting)
        if before != seen[index]:
            heapq.heappush(waiting, (seen[index], rank, index))
            continue
        while members[index] and chosen[members[index][-1]]:
            members[index].pop()
        if not members[index]:
            continue
        unit = members[index].pop()
        chosen[unit] = True
        left -= 1
        for row in range(first[unit], first[unit + 1]):
            seen[category[row]] += 1
        heapq.heappush(waiting, (seen[index], rank, index))
    for unit in order.tolist():
        if left and not chosen[unit]:
            chosen[unit] = True
            left -= 1
    return chosen
