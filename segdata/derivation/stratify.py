"""Put images into parts so that each has its share of every category: greedily, the rarest category first.

Whole numbers decide, and digests of names break ties: the same input gives the same parts on every machine.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from segdata.core.rle import pointer_of

Integers = npt.NDArray[np.int64]

FEW = 20_000
"""Units up to which single ones are moved at last: in a large set the remainders are below any notice."""

IMAGES_WEIGH = 16
"""How many times less than a category the number of images counts then."""

PASSES = 5
"""Most passes over all units that move single ones."""


@dataclass(frozen=True)
class Units:
    """What is put into parts as a whole: single images, or groups of them.

    Attributes:
        names: of the U units, all distinct; their digests decide the order of equals.
        sizes: (U,) int64, images of each.
        unit, category, count: (P,) int64 each: how many objects of a category a unit has; each pair once.
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

    def rows(self) -> tuple[list[int], list[int], list[int]]:
        """Each unit's first row, and the category and count of every row."""
        order = np.argsort(self.unit, kind="stable")
        first = pointer_of(np.bincount(self.unit, minlength=len(self.names)))
        return first.tolist(), self.category[order].tolist(), self.count[order].tolist()

    def in_order(self, seed: int) -> list[int]:
        """All units in the order of digests of their names and a seed."""
        digests = [hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest() for name in self.names]
        return sorted(range(len(digests)), key=digests.__getitem__)

    def members(self, order: Sequence[int]) -> list[list[int]]:
        """The units that have each category, in this order."""
        rank = np.empty(len(self.names), np.int64)
        rank[np.asarray(order, np.int64)] = np.arange(len(order))
        rows = np.lexsort((rank[self.unit], self.category))
        first = pointer_of(np.bincount(self.category, minlength=self.categories)).tolist()
        units = self.unit[rows].tolist()
        return [units[begin:end] for begin, end in itertools.pairwise(first)]


def parts(units: Units, shares: Sequence[Fraction], seed: int, *, exact: bool = False) -> Integers:
    """The part of each unit, (U,) int64.

    Again and again the category comes of which the fewest objects are left, and its units go, one after another, to the
    part that lacks most of it; where parts lack the same, to the one that lacks most images. At last come units without
    objects. Among equals a digest decides.

    Args:
        shares: of each part; they sum up to 1.
        exact: a part takes no more images than its share, which is a whole number then; units are single images.

    Returns:
        Parts that are not empty where there are as many units as parts.
    """
    scale = int(np.lcm.reduce([share.denominator for share in shares]))
    weights = [int(share * scale) for share in shares]
    left = units.totals.tolist()
    lacks = [[weight * total for weight in weights] for total in left]
    lacks_images = [weight * int(units.sizes.sum()) for weight in weights]
    first, category, count = units.rows()
    sizes, order = units.sizes.tolist(), units.in_order(seed)
    numbers = range(len(weights))
    part_of = [-1] * len(sizes)

    def assign(unit: int, wanted: list[int]) -> None:
        best, most, most_images = -1, 0, 0
        for part in numbers:  # `max` with a key takes three times as long
            here, images = wanted[part], lacks_images[part]
            is_more = best < 0 or here > most or (here == most and images > most_images)
            if is_more and not (exact and images <= 0):
                best, most, most_images = part, here, images
        part_of[unit] = best
        for row in range(first[unit], first[unit + 1]):
            index, number = category[row], count[row]
            lacks[index][best] -= scale * number
            left[index] -= number
        lacks_images[best] -= scale * sizes[unit]

    members = units.members(order)
    waiting = {index for index in range(units.categories) if left[index]}
    while waiting:
        rarest = min(waiting, key=lambda index: (left[index], index))
        for unit in members[rarest]:
            if part_of[unit] < 0:
                assign(unit, lacks[rarest])
        waiting = {index for index in waiting if left[index]}
    for unit in order:
        if part_of[unit] < 0:
            assign(unit, lacks_images)
    if exact:
        return np.array(part_of, np.int64)
    if len(sizes) <= FEW:
        _refine(part_of, units, order, [*lacks, lacks_images], scale)
    return _filled(np.array(part_of, np.int64), units, weights, lacks_images)


def _refine(part_of: list[int], units: Units, order: Sequence[int], lacks: list[list[int]], scale: int) -> None:
    """Move single units to other parts while that makes shares more even: by the squares of what parts lack.

    Args:
        part_of: changed where units move.
        lacks: of each category, and at last of images, what each part lacks, times `scale`; kept up to date.
    """
    first, category, count = units.rows()
    sizes = units.sizes.tolist()
    totals = [float(total * scale) ** 2 for total in units.totals.tolist()]
    totals.append(float(sum(sizes) * scale) ** 2 * IMAGES_WEIGH)
    for _ in range(PASSES):
        is_done = True
        for unit in order:
            rows = [(category[row], count[row] * scale) for row in range(first[unit], first[unit + 1])]
            rows.append((len(totals) - 1, sizes[unit] * scale))
            here, best, most = part_of[unit], part_of[unit], 0.0
            for part in range(len(lacks[-1])):
                gain = 0.0
                for index, number in rows:
                    gain += number * (lacks[index][part] - lacks[index][here] - number) / totals[index]
                if part != here and gain > most:
                    best, most = part, gain
            if best != here:
                is_done = False
                part_of[unit] = best
                for index, number in rows:
                    lacks[index][here] += number
                    lacks[index][best] -= number
        if is_done:
            return


def _filled(part_of: Integers, units: Units, weights: Sequence[int], lacks_images: list[int]) -> Integers:
    """The same with a unit in every part: the smallest unit of the part that lacks fewest images of those with several."""
    for part in range(len(weights)):
        members = np.bincount(part_of, minlength=len(weights))
        if members[part] or not (members > 1).any():
            continue
        giver = min((other for other in range(len(weights)) if members[other] > 1), key=lacks_images.__getitem__)
        candidates = np.flatnonzero(part_of == giver)
        part_of[candidates[np.argmin(units.sizes[candidates])]] = part
    return part_of


def balanced(units: Units, number: int, seed: int) -> npt.NDArray[np.bool_]:
    """(U,) bool: some units, chosen so that all categories are in about as many of them.

    Again and again the category that is in fewest of the chosen ones gets its next unit, in the order of digests. Units
    without objects come when there are no others.
    """
    first, category, _ = units.rows()
    order = units.in_order(seed)
    members = units.members(order[::-1])
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
    for unit in order:
        if left and not chosen[unit]:
            chosen[unit] = True
            left -= 1
    return chosen
