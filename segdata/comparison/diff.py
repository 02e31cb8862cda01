"""`diff`: what differs between two packs, by images, objects and categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdata.comparison import labels, samples, tables
from segdata.comparison.changes import Pairs, changed
from segdata.comparison.objects import Spaces
from segdata.comparison.sides import Side
from segdata.core.arrays import IntArray
from segdata.core.reprs import line
from segdata.errors import UsageError
from segdata.pack.layout import is_pack
from segdata.places.address import located
from segdata.system.files import disk_errors


@dataclass(frozen=True)
class Difference:
    """What differs between two packs, `one` and `other`.

    Attributes:
        one, other: their folders.
        labels: what differs between the label spaces: removed, added, renamed, changed, reordered.
        splits: names that one pack alone has, `removed` and `added`.
        documents: whether what the sources' files say beyond single images differs.
        images: how many were removed, added, moved between splits, changed, and are equal.
        objects: how many were removed, added and changed, and of the changed ones in what: category, flags, mask, box …;
            in images that both packs have.
        removed, added: the images that one pack alone has: key, splits.
        changes: of images that both packs have and that differ: key, `moved` between splits, what differs of the image,
            and its objects that were removed, added or changed. Where they are many, they are made anew each time that
            they are gone through: in a for loop once, by their index each alone.
    """

    one: Path
    other: Path
    labels: Mapping[str, Any]
    splits: Mapping[str, Sequence[str]]
    documents: bool
    images: Mapping[str, int]
    objects: Mapping[str, int]
    removed: Sequence[Mapping[str, Any]]
    added: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.labels or self.splits or self.documents or self.removed or self.added or self.changes)

    def __repr__(self) -> str:
        counts = [f"{number:,} {kind}" for kind, number in self.images.items() if number]
        return line(self, repr(str(self.one)), repr(str(self.other)), "images: " + ", ".join(counts))

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON holds it."""
        words = {"one": str(self.one), "other": str(self.other), "differs": bool(self)}
        return {**vars(self), "changes": list(self.changes), **words}


@disk_errors()
def diff(one: str | Path, other: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Difference:
    """What differs between two packs.

    Images are the same by split and key; else by the bytes of the image, and by key alone where these are not known.
    Objects are the same by id, where no two of a pack have the same and their boxes touch; else by the IoU of their
    masks, 0.5 at least, one to one. Tables are compared first, by their checksums: what is equal is not looked at.

    Args:
        progress: called with (images done, images in all) of those whose annotations differ.

    Raises:
        NotThere: there is no pack in a folder.
        UsageError: a dataset's folder.
        DamagedData: a table is not what was written.
    """
    first, second = (_side(path) for path in (one, other))
    spaces = Spaces(first.store.labels, second.store.labels, labels.partners(first.store.labels, second.store.labels))
    pairs = samples.matched(first, second)
    compared = tables.compared(first, second, pairs, spaces.partner)
    changes, counts = changed(Pairs(first, second, pairs, spaces, compared), progress)
    lone = [_lone(side, indices) for side, indices in zip((first, second), pairs, strict=True)]
    names = [set(side.store.splits) for side in (first, second)]
    splits = {"removed": sorted(names[0] - names[1]), "added": sorted(names[1] - names[0])}
    return Difference(
        one=Path(one),
        other=Path(other),
        labels=labels.differences(spaces.one, spaces.other),
        splits={kind: value for kind, value in splits.items() if value},
        documents=_have_other_documents(first, second),
        images={"removed": len(lone[0]), "added": len(lone[1]), **counts.images, "equal": len(pairs[0]) - len(changes)},
        objects=dict(counts.objects),
        removed=lone[0],
        added=lone[1],
        changes=changes,
    )


def _side(path: str | Path) -> Side:
    folder = located(path)
    if folder.is_dir() and not is_pack(folder):
        raise UsageError(
            "this is no pack", file=folder, fix=f"make a pack of it, segdata convert {folder} PACK, and compare that"
        )
    return Side.open(folder)


def _have_other_documents(one: Side, other: Side) -> bool:
    sides = [side.store.dataset.entry["arrays"]["documents"] for side in (one, other)]
    if all(sides[0][name] == sides[1][name] for name in ("crc32", "shape")):
        return False
    return one.store.documents != other.store.documents


def _lone(side: Side, matched: IntArray) -> list[dict[str, Any]]:
    """The samples that are in no pair."""
    is_lone = np.ones(side.store.count, bool)
    is_lone[matched] = False
    return [{"key": side.keys[index], "splits": list(side.splits[index])} for index in np.flatnonzero(is_lone).tolist()]
