"""`apply`: the edits of a pack and the pack → a new pack, whose unchanged files are links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segdata import formats
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.correction import journal
from segdata.correction.edits import OPS
from segdata.correction.history import History
from segdata.correction.journal import Edits
from segdata.correction.replay import Replayed, largest_id, replay
from segdata.derivation.derive import CHANGED, Derived, Plan, derive
from segdata.derivation.pieces import Change, Parent, Piece
from segdata.errors import SegdataError, UsageError
from segdata.formats.contract import RESIDUES, UNSAID, Correction
from segdata.pack.store import Store
from segdata.system.files import disk_errors

if TYPE_CHECKING:
    from segdata.conversion.job import Progress


@disk_errors()
def apply(
    edits: str | Path,
    pack: str | Path,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make a pack of another and its edits; the pack itself stays as it is, and no image is copied.

    Shards without edits are linked; of the others the table is written anew. Objects that edits add come after those of
    the pack. An object with another mask loses its polygons, and one that changed what its format kept to write the
    source's record again; everything else stays to the last digit.

    Args:
        edits: the file of edits.
        pack: the folder of the pack that they are of.
        out: the folder to make.
        only: apply these ops alone: "mask", "add", "accept", "delete", "category", "flags", "map"; all where empty.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write changed tables; by default as many as there are processors.
        progress: called with (samples done, samples in all) of the changed tables.

    Returns:
        What was made; `problems` counts a torn last line of the edits as skipped. Where the same call made the target
        before, nothing is done.

    Raises:
        InvalidInput: the edits are of another pack, or one of them cannot be; the line is named.
        DamagedData: a line of the edits is not what was written, or a table of the pack is damaged.
        UsageError: there is no such op; the target holds something else, or is the pack itself.
        NotThere: there is no pack, or no such file.
    """
    if wrong := [op for op in only if op not in OPS]:
        raise UsageError(f"there is no op {wrong[0]!r}", why=f"there are {', '.join(OPS)}", fix="correct --only")
    parent = Parent.open(pack)
    read = journal.read(Path(edits), parent.store)
    findings = Findings()
    if read.torn:
        findings.skip(read.torn_error())
    changes = _Changes(parent, read, tuple(sorted(set(only))), findings)
    plan = Plan(
        verb="apply",
        parents=[parent],
        pieces=[Piece(parent, shard, Change(annotations=changes.of(rows))) for shard, rows in parent.rows()],
        labels=parent.store.labels,
        splits=dict(parent.store.splits),
        documents=parent.store.documents,
        origin=parent.origin if changes.is_native else CHANGED,
        images=parent.index["images"],
        images_root=parent.store.images_root,
        options={"only": list(changes.only)},
        further=[{"name": read.path.name, "sha256": read.sha256}],
        findings=findings,
        details={"edits": dict(changes.applied)},
    )
    return derive(plan, Path(out), force=force, wait=wait, workers=workers, progress=progress)


class _Changes:
    """What edits change in the samples of a pack, each looked at once before anything is written.

    Attributes:
        applied: op → how many edits of it count.
        is_native: whether all samples can still be written as those of their format.
    """

    def __init__(self, parent: Parent, edits: Edits, only: tuple[str, ...], findings: Findings) -> None:
        self.only = only
        self.applied: Counter[str] = Counter()
        self._store = parent.store
        self._edits = edits
        self._first_id = first_id(parent.store)
        self._origin = parent.origin
        self._corrected = RESIDUES[parent.origin].corrected if parent.origin in RESIDUES else None
        self._histories = {
            index: history for index, history in sorted(edits.histories.of.items()) if history.active(only)
        }
        for index, history in self._histories.items():
            before = parent.store.sample(index)
            replayed = self._replayed(before, history)
            self.applied.update(edit.op for edit in history.active(only))
            self._remark(findings, before, replayed, self._written(before, replayed))
        self.is_native = self._corrected is not None or not self._histories

    def of(self, rows: slice) -> dict[int, Callable[[Sample], Sample]]:
        """Row in a shard → what makes the sample there the corrected one."""
        return {
            index - rows.start: self._correcting(history)
            for index, history in self._histories.items()
            if rows.start <= index < rows.stop
        }

    def _correcting(self, history: History) -> Callable[[Sample], Sample]:
        def correct(before: Sample) -> Sample:
            return self._written(before, self._replayed(before, history))

        return correct

    def _written(self, before: Sample, replayed: Replayed) -> Sample:
        """The corrected sample as its format's writer takes it, with what that cannot say counted in its residue."""
        if self._corrected is None:
            return replayed.sample
        rows = np.array([-1 if name.startswith("new-") else int(name) for name in replayed.names], np.int64)
        changed = (rows < 0) | np.isin(replayed.names, replayed.changed)
        losses = Findings()
        store = self._store
        correction = Correction(before, replayed.sample, store.labels, store.documents, rows, changed)
        after = self._corrected(correction, losses)
        unsaid = {kind: dropped.count for kind, dropped in losses.dropped.items()}
        for kind, count in before.extra.get(self._origin, {}).get(UNSAID, {}).items():
            unsaid[kind] = max(count, unsaid.get(kind, 0))
        residue = {name: value for name, value in after.extra.get(self._origin, {}).items() if name != UNSAID}
        residue |= {UNSAID: unsaid} if unsaid else {}
        extra = {name: value for name, value in after.extra.items() if name != self._origin}
        return after.with_annotations(
            instances=after.instances if after.has_instances else None,
            semantic=after.semantic,
            extra={**extra, self._origin: residue} if residue else extra,
        )

    def _remark(self, findings: Findings, before: Sample, replayed: Replayed, written: Sample) -> None:
        """Count what a sample loses, what its format cannot say of it, and edits that found no object."""
        lost = sum(
            name.isdigit() and self._origin in before.instances.extra[int(name)] and self._origin not in extra
            for name, extra in zip(replayed.names, written.instances.extra, strict=True)
        )
        for what, count in (
            ("polygons of objects with another mask", replayed.without_polygons),
            ("what was kept to write changed objects' source records again", lost),
            ("edits of objects that --only leaves out", replayed.left_out),
        ):
            if count:
                findings.remark(f"not in the new pack: {what}", before.key, count)
        for kind, count in written.extra.get(self._origin, {}).get(UNSAID, {}).items():
            findings.remark(f"{self._origin} cannot say: {kind}", before.key, count)

    def _replayed(self, sample: Sample, history: History) -> Replayed:
        try:
            return replay(sample, history, self._store.labels, first_id=self._first_id, only=self.only)
        except SegdataError as error:
            raise error.located(file=self._edits.path, key=sample.key) from error


def first_id(store: Store) -> int | None:
    """What ids of added objects are counted from, where ids tell the objects of all samples apart."""
    origin = str(store.index["provenance"]["format"])
    if origin in formats.FORMATS and "object" not in formats.distinct_ids(origin):
        return None
    ids = [largest_id(np.asarray(shard.table["instance/id"])) for shard in store.shards]
    return max(ids, default=0)
