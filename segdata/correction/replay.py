"""A sample with its edits applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata import formats as formats  # fills RESIDUES
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.correction.edits import (
    AcceptEdit,
    AddEdit,
    CategoryEdit,
    DeleteEdit,
    FlagsEdit,
    MapEdit,
    MaskEdit,
    OfObject,
    mask_digest,
    masks_of,
)
from segdata.correction.history import History
from segdata.errors import InvalidInput
from segdata.formats.contract import RESIDUES

_COLUMNS = (
    *("category", "has_mask", "iscrowd", "difficult", "truncated", "occluded"),
    *("id", "bbox", "area", "score", "order"),
)


@dataclass(frozen=True)
class Replayed:
    """A sample with its edits applied.

    Attributes:
        sample: the sample.
        names: what edits call each of its objects: the row in the pack, "12", or "new-7".
        changed: names of the objects of the pack that are other than there, without those that went.
        without_polygons: how many of these lost polygons.
        left_out: edits of objects that are not there, because `only` leaves out what added them.
    """

    sample: Sample
    names: Sequence[str]
    changed: Sequence[str] = ()
    without_polygons: int = 0
    left_out: int = 0


def replay(
    sample: Sample,
    history: History,
    labels: LabelSpace,
    *,
    first_id: int | None = None,
    only: Sequence[str] = (),
) -> Replayed:
    """Apply the edits of a sample.

    New objects come after those of the pack. An object whose mask changes gets the box and the area of the new one where
    it had a box and an area, and loses its polygons; any object that changes loses what its format kept for the way back.

    Args:
        history: its edits.
        labels: the pack's label space.
        first_id: what the id of an added object is counted from, with the number of its edit; by default ids follow the
            largest of the sample.
        only: apply these ops alone; all where empty.

    Raises:
        InvalidInput: an edit replaces another mask than the object had.
    """
    edits = history.active(only)
    if not edits:
        return Replayed(sample, [str(row) for row in range(len(sample.instances))])
    _require_same_masks(sample.instances, history)
    objects = _Objects(sample, [edit for edit in edits if isinstance(edit, AddEdit | AcceptEdit)], first_id)
    semantic = sample.semantic
    left_out = 0
    for edit in edits:
        if isinstance(edit, MapEdit):
            semantic = _patched(semantic, edit, sample, labels)
        elif isinstance(edit, OfObject):
            left_out += not objects.apply(edit)
    has_instances = sample.has_instances or any(isinstance(edit, AddEdit | AcceptEdit) for edit in edits)
    instances, names = objects.result()
    corrected = sample.with_annotations(
        instances=instances if has_instances else None, semantic=semantic, extra=sample.extra
    )
    corrected.labels = sample.labels
    return Replayed(
        corrected,
        names,
        [name for name in names if name in objects.changed and not name.startswith("new-")],
        objects.without_polygons,
        left_out,
    )


def _require_same_masks(instances: Instances, history: History) -> None:
    """Refuse an edit whose `was` is no mask that its object ever had."""
    digests: dict[str, set[str]] = {}
    for edit in history.edits:
        if not isinstance(edit, MaskEdit | AddEdit | AcceptEdit):
            continue
        known = digests.setdefault(edit.of, set())
        if not known and isinstance(edit, MaskEdit):
            known.add(mask_digest(instances.masks, int(edit.of)))
        if isinstance(edit, MaskEdit) and edit.was is not None and edit.was not in known:
            raise InvalidInput(
                f"edit {edit.n} replaces another mask than the object has",
                key=edit.key,
                place=f"line {edit.n + 1}, was",
                why=f"it says {edit.was[:12]}…, the object's masks are {', '.join(f'{item[:12]}…' for item in sorted(known))}",
            )
        masks = masks_of(edit, instances.masks.height, instances.masks.width)
        known.add(mask_digest(masks))


class _Objects:
    """The objects of a sample while edits are applied: its own, then those that are added, each with its name."""

    def __init__(self, sample: Sample, added: Sequence[AddEdit | AcceptEdit], first_id: int | None) -> None:
        instances = sample.instances
        count = len(instances)
        self.size = sample.height, sample.width
        self.changed: set[str] = set()
        self.without_polygons = 0
        self._instances = instances
        self._names = [*(str(row) for row in range(count)), *(edit.of for edit in added)]
        self._row = {name: row for row, name in enumerate(self._names)}
        self._masks: dict[int, Masks] = {}
        self._is_there = np.arange(len(self._names)) < count
        new = Instances.build(np.zeros(len(added)), Masks.empty(*self.size, len(added)))
        self._columns = {name: np.concatenate([getattr(instances, name), getattr(new, name)]) for name in _COLUMNS}
        after = largest_id(instances.id) + 1
        numbers = range(after, after + len(added)) if first_id is None else [first_id + edit.n for edit in added]
        self._columns["id"][count:] = list(numbers)
        self._columns["order"][count:] += int(instances.order.max(initial=-1)) + 1

    def apply(self, edit: OfObject) -> bool:
        """Apply an edit; whether its object is there."""
        row = self._row.get(edit.of)
        if row is None:
            return False
        columns = self._columns
        if isinstance(edit, AddEdit | AcceptEdit):
            self._is_there[row] = True
        elif not self._is_there[row]:
            return False
        if isinstance(edit, MaskEdit | AddEdit | AcceptEdit):
            masks = masks_of(edit, *self.size)
            is_known = ~np.isnan(columns["bbox"][row]) | edit.of.startswith("new-")
            columns["bbox"][row] = np.where(is_known, masks.boxes_xywh[0], columns["bbox"][row])
            if not np.isnan(columns["area"][row]) or edit.of.startswith("new-"):
                columns["area"][row] = masks.areas[0]
            columns["has_mask"][row] = True
            self._masks[row] = masks
        if isinstance(edit, CategoryEdit | AddEdit | AcceptEdit):
            columns["category"][row] = edit.category
        if isinstance(edit, FlagsEdit | AddEdit | AcceptEdit):
            for name, value in edit.flags.given().items():
                columns[name][row] = value
        if isinstance(edit, DeleteEdit):
            self._is_there[row] = False
        self.changed.add(edit.of)
        return True

    def result(self) -> tuple[Instances, list[str]]:
        """The objects that are there, and their names."""
        before, count, added = self._instances, len(self._instances), len(self._names) - len(self._instances)
        rows = sorted(self._masks)
        source = np.arange(len(self._names))
        source[rows] = count + added + np.arange(len(rows))
        parts = [before.masks, Masks.empty(*self.size, added), *(self._masks[row] for row in rows)]
        rings = [[ring.reshape(-1) for ring in before.polygons[row]] for row in range(count)] + [[]] * added
        extra = [dict(item) for item in before.extra] + [{}] * added
        for row in np.flatnonzero(self._is_there[:count]).tolist():
            if str(row) not in self.changed:
                continue
            if row in self._masks and rings[row]:
                rings[row] = []
                self.without_polygons += 1
            extra[row] = {name: value for name, value in extra[row].items() if name not in RESIDUES}
        instances = Instances(
            masks=Masks.concatenate(parts, *self.size)[source],
            polygons=Polygons.of(rings),
            extra=extra,
            **self._columns,
        )
        names = [name for name, is_there in zip(self._names, self._is_there, strict=True) if is_there]
        return instances.take(self._is_there), names


def largest_id(ids: npt.NDArray[np.int64]) -> int:
    """The largest of some ids, 0 for none; ids that leave no room above them do not count."""
    return int(ids.max(initial=0, where=ids < 1 << 60))


def _patched(semantic: npt.NDArray[Any] | None, edit: MapEdit, sample: Sample, labels: LabelSpace) -> npt.NDArray[Any]:
    """A label map with the pixels of an edit; all of it void before, where the sample has none."""
    value = labels.void if edit.category is None else edit.category
    if semantic is None:
        semantic = np.full((sample.height, sample.width), labels.void, labels.dtype)
    return masks_of(edit, sample.height, sample.width).paint([value], semantic.copy())
