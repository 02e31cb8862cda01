"""Put images into parts so that each has its share of every category: greedily, the rarest category first.

Whole numbers decide, and digests of names break ties: the same input gives the same parts on every machine.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from segdata.core.rle import pointer_of, ranges

Integers = npt.NDArray[np.signedinteger]
Floats = npt.NDArray[np.float64]

FEW = 20_000
"""Units up to which all may change places at last: of a large set a few suffice, and a twentieth of the work."""

BLOCK = 25_000
"""Rows of the units that change places with each other: all units of a small set, some at a time of a larger one."""

ROWS = 40_000_000
"""Most rows that are looked at for it."""

TRIES = 32
"""Units whose best exchange is looked for before two parts count as balanced."""

CHUNK = 10_000
"""Names of which digests are computed at once."""

GAIN = 1e-12
"""What an exchange gains at least: less is what rounding makes up."""


@dataclass(frozen=True)
class Units:
    """What is put into parts as a whole: single images, or groups of them.

    Attributes:
        names: of the U units, all distinct; their digests decide the order of equals.
        sizes: (U,) int64, images of each.
        unit, category, count: (P,) int32 or int64 each: how many objects of a category a unit has; each pair once, sorted.
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
        unit_of = np.arange(len(names))
        distinct = list(dict.fromkeys(names))
        if len(distinct) < len(names):
            number = {name: index for index, name in enumerate(distinct)}
            unit_of = np.array([number[name] for name in names], np.int64)
            image = unit_of[image]
        kinds = max(categories, 1)
        dtype: type[np.signedinteger] = np.int32 if len(distinct) * kinds < 1 << 31 else np.int64
        pairs: Integers = image.astype(dtype)
        np.multiply(pairs, kinds, out=pairs)
        np.add(pairs, category, out=pairs, casting="same_kind")
        pairs.sort()
        is_first = np.ones(len(pairs), bool)
        is_first[1:] = pairs[1:] != pairs[:-1]
        begin = np.flatnonzero(is_first)
        pairs = pairs[begin]
        return cls(
            distinct,
            np.bincount(unit_of, minlength=len(distinct)),
            pairs // kinds,
            pairs % kinds,
            np.diff(begin, append=len(image)).astype(dtype),
            categories,
            unit_of=unit_of,
        )

    @property
    def totals(self) -> Integers:
        """(K,) int64, objects of each category."""
        return np.bincount(self.category, self.count, self.categories).astype(np.int64)

    @property
    def first(self) -> Integers:
        """(U + 1,) int64: unit u has the rows first[u] … first[u + 1] − 1."""
        return pointer_of(np.bincount(self.unit, minlength=len(self.names)))

    def in_order(self, seed: int) -> Integers:
        """All units in the order of digests of their names and a seed."""
        chunks = [_digests(self.names[begin : begin + CHUNK], seed) for begin in range(0, len(self.names), CHUNK)]
        return np.argsort(np.concatenate([np.zeros(0, np.uint64), *chunks]), kind="stable")

    def members(self, order: Integers) -> tuple[Integers, Integers]:
        """The rows of each category, in this order of their units, and (K + 1,) where each category begins among them."""
        first = self.first
        rows: Integers = ranges(first[order], np.diff(first)[order]).astype(self.unit.dtype)
        by_category = np.argsort(
            self.category[rows].astype(np.uint16 if self.categories < 1 << 16 else np.int64), kind="stable"
        )
        return rows[by_category], pointer_of(np.bincount(self.category, minlength=self.categories))


def _digests(names: Sequence[str], seed: int) -> npt.NDArray[np.uint64]:
    """(U,) uint64 digests of names and a seed: SplitMix64 over words of eight bytes, of all names at once."""
    encoded = [name.encode("utf-8", "surrogatepass") for name in names]
    words = np.frombuffer(b"".join([text.ljust(-len(text) // 8 * -8, b"\0") for text in encoded]), "<u8")
    length = np.array([len(text) for text in encoded], np.int64)
    count = -(-length // 8)
    first = pointer_of(count)
    digests = length.astype(np.uint64) + np.uint64(seed % (1 << 64))
    members = np.arange(len(names))
    for place in range(-1, int(count.max(initial=0))):
        members = members[count[members] > place]
        mixed = digests[members] + np.uint64(0x9E3779B97F4A7C15)
        if place >= 0:
            mixed ^= words[first[members] + place]
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        digests[members] = mixed ^ (mixed >> np.uint64(31))
    return digests


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
    _Exchange(units, shares, part_of, room).run(order)
    return part_of


def _greedy(units: Units, shares: Sequence[Fraction], room: list[int], order: Integers) -> Integers:
    """The part of each unit, (U,).

    Args:
        room: images that each part should have; afterwards what it still lacks.
        order: of units that are equally good.
    """
    count, totals = len(shares), units.totals
    left, given = totals.copy(), np.zeros((units.categories, count), np.int64)
    first = units.first
    length = np.diff(first)
    rows, begin = units.members(order)
    part_of = np.full(len(units.names), -1, np.int64)
    while (left > 0).any():
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        there = rows[begin[rarest] : begin[rarest + 1]]
        there = there[part_of[units.unit[there]] < 0]
        members = units.unit[there]
        total, so_far = int(totals[rarest]), given[rarest].tolist()
        lacks = [float(share * total - number) for share, number in zip(shares, so_far, strict=True)]
        part_of[members] = _dealt(units.count[there], units.sizes[members], lacks, room)
        theirs = ranges(first[members], length[members])
        kinds = units.category[theirs] * count + np.repeat(part_of[members], length[members])
        added = np.bincount(kinds, units.count[theirs], given.size).astype(np.int64).reshape(given.shape)
        given += added
        left -= added.sum(axis=1)
    others = order[part_of[order] < 0]
    part_of[others] = _dealt(units.sizes[others], units.sizes[others], list(map(float, room)), room)
    return part_of


def _dealt(objects: Integers, sizes: Integers, lacks: list[float], room: list[int]) -> Integers:
    """The part of each of some units: of those that lack images the one that lacks most objects, of equals most images.

    Units with most objects come first.

    Args:
        objects, sizes: (U,) of each unit.
        lacks, room: objects and images that each part lacks; kept up to date.
    """
    chosen = np.zeros(len(objects), np.int64)
    for number in np.unique(objects)[::-1].tolist():
        alike = np.flatnonzero(objects == number)
        if (sizes[alike] == 1).all():
            chosen[alike] = _dealt_at_once(len(alike), number, lacks, room)
            continue
        for unit, size in zip(alike.tolist(), sizes[alike].tolist(), strict=True):
            part = max(range(len(room)), key=lambda part: (room[part] > 0, lacks[part], room[part]))
            chosen[unit] = part
            lacks[part] -= number
            room[part] -= size
    return chosen


def _dealt_at_once(count: int, number: int, lacks: list[float], room: list[int]) -> Integers:
    """The same for so many images with so many objects each: what parts lack before each image, in falling order."""
    order = sorted(range(len(room)), key=lambda part: (-room[part], part))
    most = [min(max(room[part], 0), count) for part in order]
    before = np.concatenate([lacks[part] - number * np.arange(times) for part, times in zip(order, most, strict=True)])
    part_of = np.repeat(order, most)[np.argsort(-before, kind="stable")[:count]]
    for part, times in enumerate(np.bincount(part_of, minlength=len(room)).tolist()):
        lacks[part] -= number * times
        room[part] -= times
    return part_of


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
        self.left = ROWS if len(units.names) <= FEW else ROWS // 20

    def run(self, order: Integers) -> None:
        """Block after block, until none has two parts that gain by an exchange, or enough was looked at."""
        number = -(-(len(self.units.unit) + len(order)) // BLOCK)
        # Of each part some are in every block: the first in the order are of the largest part.
        blocks = [order[begin::number] for begin in range(number if len(order) <= FEW else 1)]
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
