"""`diff`: what differs between two packs, by images, objects and categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdata.comparison import labels, objects, samples, tables
from segdata.comparison.objects import Spaces
from segdata.comparison.sides import Side
from segdata.core.arrays import IntArray
from segdata.core.reprs import line
from segdata.core.sample import Sample
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
            and its objects that were removed, added or changed.
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
        return {**vars(self), "one": str(self.one), "other": str(self.other), "differs": bool(self)}


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
    changes = _changes(first, second, pairs, spaces, compared, progress)
    lone = [_lone(side, indices) for side, indices in zip((first, second), pairs, strict=True)]
    names = [set(side.store.splits) for side in (first, second)]
    splits = {"removed": sorted(names[0] - names[1]), "added": sorted(names[1] - names[0])}
    return Difference(
        one=Path(one),
        other=Path(other),
        labels=labels.differences(spaces.one, spaces.other),
        splits={kind: value for kind, value in splits.items() if value},
        documents=_have_other_documents(first, second),
        images=_count_images(changes, len(pairs[0]), *map(len, lone)),
        objects=_count_objects(changes),
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


# ---------------------------------------------------------------------- single images


def _changes(
    first: Side,
    second: Side,
    pairs: tuple[IntArray, IntArray],
    spaces: Spaces,
    compared: tables.Compared,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """What differs of every image that both packs have, without those that are equal."""
    names = [
        [(side.splits[index], side.keys[index]) for index in indices.tolist()]
        for side, indices in zip((first, second), pairs, strict=True)
    ]
    is_other = np.array([mine != theirs for mine, theirs in zip(*names, strict=True)], bool)
    is_other = np.logical_or.reduce([is_other, compared.has_other_objects, *compared.kinds.values()])
    by_id = bool(compared.has_other_objects.any()) and first.has_ids and second.has_ids
    chosen = np.flatnonzero(is_other).tolist()
    changes = []
    for number, pair in enumerate(chosen):
        mine, theirs = first.store.sample(int(pairs[0][pair])), second.store.sample(int(pairs[1][pair]))
        (splits, key), (other_splits, other_key) = (side[pair] for side in names)
        change: dict[str, Any] = {}
        if key != other_key:
            change["renamed"] = [key, other_key]
        if splits != other_splits:
            change["moved"] = [list(splits), list(other_splits)]
        for kind, has_kind in compared.kinds.items():
            if has_kind[pair]:
                change |= _of_image(kind, mine, theirs, spaces)
        if compared.has_other_objects[pair]:
            difference = objects.compared(mine.instances, theirs.instances, spaces, by_id=by_id)
            if difference:
                change["objects"] = {name: items for name, items in vars(difference).items() if items}
        if change:
            changes.append({"key": key, "splits": list(splits), **change})
        if progress is not None:
            progress(number + 1, len(chosen))
    return changes


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


# ---------------------------------------------------------------------- sums


def _count_images(changes: Sequence[Mapping[str, Any]], pairs: int, removed: int, added: int) -> dict[str, int]:
    names = {"key", "splits", "moved", "renamed"}
    return {
        "removed": removed,
        "added": added,
        "moved": sum("moved" in change for change in changes),
        "renamed": sum("renamed" in change for change in changes),
        "changed": sum(bool(change.keys() - names) for change in changes),
        "equal": pairs - len(changes),
    }


def _count_objects(changes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many objects were removed, added and changed; then how many in each kind of change."""
    counts: Counter[str] = Counter()
    for change in changes:
        of_image = change.get("objects", {})
        counts.update({name: len(of_image.get(name, ())) for name in ("removed", "added", "changed")})
        for item in of_image.get("changed", ()):
            counts.update(item["changes"].keys())
    return dict(counts)
