"""What differs of every image that two packs have, part by part: a part is of one shard, and its dictionaries are made anew
whenever they are asked for. A hundred thousand of them would fill the memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np

from segdata.comparison import columns, objects, tables
from segdata.comparison.objects import Objects, Spaces
from segdata.comparison.sides import Side
from segdata.core.arrays import IntArray
from segdata.core.sample import Sample

_AT_ONCE = 1024
"""Images of a part at most."""

_MOST = 4096
"""Changes that are kept in memory; more are made anew."""

Change = Mapping[str, Any]


@dataclass(frozen=True)
class Pairs:
    """The images that both packs have, K of them.

    Attributes:
        one, other: the packs.
        samples: (K,) int64 indices in both, ordered by the first.
        spaces: their categories.
        compared: what the tables say.
    """

    one: Side
    other: Side
    samples: tuple[IntArray, IntArray]
    spaces: Spaces
    compared: tables.Compared

    @cached_property
    def parts(self) -> list[IntArray]:
        """The pairs that may differ, as parts of one shard of `one` and `_AT_ONCE` pairs at most."""
        names = [
            [(side.splits[index], side.keys[index]) for index in indices.tolist()]
            for side, indices in zip((self.one, self.other), self.samples, strict=True)
        ]
        is_other = np.array([mine != theirs for mine, theirs in zip(*names, strict=True)], bool)
        kinds = self.compared.kinds.values()
        pairs = np.flatnonzero(np.logical_or.reduce([is_other, self.compared.has_other_objects, *kinds]))
        shard = self.one.located(self.samples[0][pairs])[0]
        bounds = np.flatnonzero(np.diff(shard, prepend=-1, append=-1)).tolist() if len(pairs) else [0]
        return [
            pairs[at : min(at + _AT_ONCE, end)]
            for begin, end in itertools.pairwise(bounds)
            for at in range(begin, end, _AT_ONCE)
        ]

    @cached_property
    def by_id(self) -> bool:
        """Whether numbers tell the objects of each pack apart."""
        return bool(self.compared.has_other_objects.any()) and self.one.has_ids and self.other.has_ids

    def changes(self, part: IntArray) -> list[Change]:
        """What differs of the pairs of a part, without those that are equal."""
        compared = self._objects(part)
        return [change for pair in part.tolist() if len(change := self._change(pair, compared.get(pair))) > 2]

    def _change(self, pair: int, difference: Objects | None) -> dict[str, Any]:
        """Key and splits of an image, and what differs of it."""
        index, to = int(self.samples[0][pair]), int(self.samples[1][pair])
        key, splits = self.one.keys[index], self.one.splits[index]
        other_key, other_splits = self.other.keys[to], self.other.splits[to]
        change: dict[str, Any] = {"key": key, "splits": list(splits)}
        if key != other_key:
            change["renamed"] = [key, other_key]
        if splits != other_splits:
            change["moved"] = [list(splits), list(other_splits)]
        kinds = [kind for kind, has_kind in self.compared.kinds.items() if has_kind[pair]]
        if kinds:
            mine, theirs = self.one.store.sample(index), self.other.store.sample(to)
            for kind in kinds:
                change |= _of_image(kind, mine, theirs, self.spaces)
        if difference:
            change["objects"] = {name: items for name, items in vars(difference).items() if items}
        return change

    def _objects(self, part: IntArray) -> dict[int, Objects]:
        """What differs in the objects of the pairs whose objects do."""
        differs = part[self.compared.has_other_objects[part]]
        is_sized = ~self.compared.kinds["size"][differs]
        results: dict[int, Objects | None] = dict.fromkeys(differs.tolist())
        pairs = differs[is_sized]
        samples = self.samples[0][pairs], self.samples[1][pairs]
        for which, mine, theirs in tables.groups(self.one, self.other, samples):
            together = columns.compared(columns.Columns(*mine), columns.Columns(*theirs), self.spaces, by_id=self.by_id)
            results.update(zip(pairs[which].tolist(), together, strict=True))
            tables.release(mine[0], theirs[0])
        return {pair: self._alone(pair) if result is None else result for pair, result in results.items()}

    def _alone(self, pair: int) -> Objects:
        """What differs in the objects of a pair, which takes longer."""
        mine, theirs = (
            side.store.sample(int(of_side[pair]))
            for side, of_side in zip((self.one, self.other), self.samples, strict=True)
        )
        return objects.compared(mine.instances, theirs.instances, self.spaces, by_id=self.by_id)


@dataclass(frozen=True)
class Counts:
    """How many images were moved, renamed, changed; objects removed, added, changed, and in what."""

    images: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("moved", "renamed", "changed"), 0))
    objects: Counter[str] = field(default_factory=Counter)

    def add(self, change: Change) -> None:
        """Count what differs of an image."""
        for kind in ("moved", "renamed"):
            self.images[kind] += kind in change
        self.images["changed"] += bool(change.keys() - {"key", "splits", "moved", "renamed"})
        of_image = change.get("objects", {})
        if of_image:
            self.objects.update({name: len(of_image.get(name, ())) for name in ("removed", "added", "changed")})
            for item in of_image.get("changed", ()):
                self.objects.update(item["changes"].keys())


class Changes(Sequence[Change]):
    """What differs of many images, made anew each time.

    Args:
        counts: how many changes each part has.
    """

    def __init__(self, pairs: Pairs, counts: Sequence[int]) -> None:
        self._pairs = pairs
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __iter__(self) -> Iterator[Change]:
        for part in self._pairs.parts:
            yield from self._pairs.changes(part)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> list[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | list[Change]:
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        index = range(len(self))[index]
        part = int(np.searchsorted(self._ends, index, "right"))
        changes = self._pairs.changes(self._pairs.parts[part])
        return changes[index - int(self._ends[part])]


def changed(pairs: Pairs, progress: Callable[[int, int], None] | None) -> tuple[Sequence[Change], Counts]:
    """What differs of every image that both packs have, without those that are equal; and how many these are.

    Args:
        progress: called with (images done, images in all) of those that may differ.
    """
    kept: list[Change] = []
    lengths: list[int] = []
    counts, total, done = Counts(), sum(map(len, pairs.parts)), 0
    for part in pairs.parts:
        changes = pairs.changes(part)
        for change in changes:
            counts.add(change)
        lengths.append(len(changes))
        kept += changes if sum(lengths) <= _MOST else ()
        done += len(part)
        if progress is not None:
            progress(done, total)
    return (kept if sum(lengths) <= _MOST else Changes(pairs, lengths)), counts


# ---------------------------------------------------------------------- single images


def _of_image(kind: str, mine: Sample, theirs: Sample, spaces: Spaces) -> dict[str, Any]:
    """What differs of an image that differs in its tables, `[in one, in other]`."""
    if kind == "size":
        return {"size": [[each.height, each.width] for each in (mine, theirs)]}
    if kind in ("id", "file"):
        return {kind: [getattr(each, kind) for each in (mine, theirs)]}
    if kind == "annotated":
        names = ("has_instances", "has_semantic")
        sides = {name: [getattr(each, name) for each in (mine, theirs)] for name in names}
        return {name: values for name, values in sides.items() if values[0] != values[1]}
    if kind == "semantic":
        pixels = _other_pixels(mine, theirs, spaces)
        return {"label_map": {"pixels": pixels}} if pixels else {}
    return {kind: True}


def _other_pixels(mine: Sample, theirs: Sample, spaces: Spaces) -> int:
    """In how many pixels two label maps differ; 0 where the images are of different sizes, which is said by itself."""
    one, other = mine.semantic, theirs.semantic
    if one is None or other is None or one.shape != other.shape:
        return 0
    table = np.full(spaces.one.void + 1, -1, np.int32)
    table[: len(spaces.partner)] = spaces.partner
    table[spaces.one.void] = spaces.other.void
    return int(np.count_nonzero(table[one] != other))
