"""Some of a pack's samples, or of its objects, as a pack of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.rle import pointer_of
from segdata.derivation.derive import CHANGED, Derived, Plan, derive
from segdata.derivation.pieces import Change, Mask, Parent, Piece
from segdata.errors import UsageError
from segdata.system.files import disk_errors

if TYPE_CHECKING:
    from segdata.conversion.job import Progress


@disk_errors()
def subset(
    pack: str | Path,
    keep: npt.NDArray[np.bool_],
    out: str | Path,
    *,
    objects: npt.NDArray[np.bool_] | None = None,
    verb: str = "subset",
    options: Mapping[str, Any] | None = None,
    findings: Findings | None = None,
    details: Mapping[str, Any] | None = None,
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make a pack of some samples of another; no image is copied.

    Shards of which all samples stay are linked, those of which none stays are left out. Of the others the table is
    written anew and the file of images linked as a whole: `Derived.unused` says how many of its bytes no sample has.
    The samples keep their order, ids and splits; a split of which nothing is left stays, empty.

    Args:
        pack: the folder of a pack.
        keep: (N,) bool, which of all samples of the pack stay, in the order of `segdata.open(pack)`.
        out: the folder to make.
        objects: (M,) bool, which of all objects of the pack stay where their samples do, in the order of
            `object_categories`; label maps stay as they are. The samples are then not their format's any more: a writer
            counts what was kept only to reproduce the source's files.
        verb: what the pack says it was made by: "filter", "dedupe" …
        options: what else it says of how it was made, as JSON holds it (nested up to three levels).
        findings: what is odd or left out, for the pack's report.
        details: figures for the result.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write changed tables; by default as many as there are processors.
        progress: called with (samples done, samples in all) of the changed tables.

    Returns:
        What was made. Where the same call made the target before, nothing is done.

    Raises:
        UsageError: not one boolean for each sample or object; the target holds something else.
        InvalidInput: no sample is left.
        NotThere: there is no pack.
        DamagedData: a table that is written anew is damaged.
    """
    parent = Parent.open(pack)
    keep = _booleans("keep", keep, parent.index["samples"], "sample")
    if objects is not None:
        objects = _booleans("objects", objects, parent.index["instances"], "object")
    position = pointer_of(keep)
    plan = Plan(
        verb=verb,
        parents=[parent],
        pieces=pieces_of(parent, keep, objects),
        labels=parent.store.labels,
        splits={name: position[members[keep[members]]] for name, members in parent.store.splits.items()},
        documents=parent.store.documents,
        origin=parent.origin if objects is None or objects.all() else CHANGED,
        images=parent.index["images"],
        images_root=parent.store.images_root,
        options={**(options or {}), "samples": _digest(keep), "objects": None if objects is None else _digest(objects)},
        findings=findings or Findings(),
        details=details or {},
    )
    return derive(plan, Path(out), force=force, wait=wait, workers=workers, progress=progress)


def pieces_of(parent: Parent, keep: Mask, objects: Mask | None = None) -> list[Piece]:
    """A pack's shards with what stays of them.

    Args:
        keep: (N,) bool, the samples that stay.
        objects: (M,) bool, the objects that stay.
    """
    pieces, first = [], 0
    for shard, rows in parent.rows():
        count = parent.index["shards"][shard.number]["instances"]
        kept = None if objects is None else objects[first : first + count]
        pieces.append(Piece(parent, shard, Change(rows=keep[rows], objects=kept)))
        first += count
    return pieces


def _booleans(name: str, values: Any, count: int, noun: str) -> Mask:
    array = np.asarray(values)
    if array.dtype != np.bool_ or array.shape != (count,):
        raise UsageError(
            f"{name} is not one boolean for each {noun} of the pack",
            why=f"expected ({count},) bool, found {array.shape} {array.dtype}",
        )
    return array


def _digest(values: Mask) -> str:
    return hashlib.sha256(np.packbits(values).tobytes()).hexdigest()
