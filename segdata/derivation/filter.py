"""The images and the objects of a pack that queries mean, as a pack of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdata.conversion.job import Progress
from segdata.core.findings import Findings
from segdata.derivation.derive import Derived
from segdata.derivation.subset import subset
from segdata.errors import NotThere, UsageError
from segdata.pack.read import Pack, open_pack
from segdata.places.address import require_folder


def filter_pack(
    pack: str | Path,
    out: str | Path,
    *,
    where: str | None = None,
    objects: str | None = None,
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make a pack of the images and objects of another that queries mean; no image is copied.

    Args:
        pack: the folder of a pack.
        out: the folder to make.
        where: which images stay, with all their objects: "any(category == 'dog')".
        objects: which objects stay: "area >= 32**2 and not iscrowd". Their images stay, also those that are left without
            objects; label maps stay as they are. `where` asks the images as they were, with all their objects.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write changed tables; by default as many as there are processors.
        progress: called with (samples done, samples in all) of the changed tables.

    Raises:
        InvalidQuery: with the column of what is wrong, and what may be meant.
        UsageError: neither query is given; the target holds something else, or is the pack itself.
        NotThere: there is no pack; no image is left.
        DamagedData: a table is not what was written.
    """
    if where is None and objects is None:
        raise UsageError(
            "there is nothing to filter by",
            fix="give --where with a query of images, --objects with one of objects, or both",
        )
    require_folder(pack, "files of packs are linked, not copied")
    parent = open_pack(pack)
    is_meant = np.ones(len(parent), bool) if where is None else parent.matching(where)
    if not is_meant.any():
        raise NotThere("the query means no image of the pack", file=Path(pack), why=f"where {where!r}"[:300])
    is_kept = None if objects is None else parent.matching_objects(objects)
    findings = Findings()
    _remark(findings, parent, "images that --where does not mean", np.flatnonzero(~is_meant))
    if is_kept is not None:
        image, _ = parent.object_categories()
        _remark(findings, parent, "objects that --objects does not mean", image[is_meant[image] & ~is_kept])
    return subset(
        pack,
        is_meant,
        out,
        objects=is_kept,
        verb="filter",
        options={"where": where, "objects_where": objects},
        findings=findings,
        force=force,
        wait=wait,
        workers=workers,
        progress=progress,
    )


def _remark(findings: Findings, pack: Pack, what: str, images: npt.NDArray[np.int64]) -> None:
    """Count what is left out, with the key of the first image of it."""
    if len(images):
        findings.remark(f"left out as asked: {what}", pack.key(int(images[0])), len(images))
