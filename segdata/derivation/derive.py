"""Make a pack of the files of others: unchanged files get a second name, changed tables are written, the index comes last.

All of it happens in a work folder in the target. A run that was stopped leaves nothing that looks finished, and the
next one begins anew: links cost nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.reprs import counted, line
from segdata.derivation.pieces import Parent, Piece
from segdata.derivation.tables import changed
from segdata.errors import InvalidInput, UsageError
from segdata.pack import layout
from segdata.pack.layout import is_pack
from segdata.pack.read import open_pack
from segdata.pack.write import (
    UNFINISHED,
    commit,
    file_names,
    index_document,
    is_unfinished,
    remove_unnamed,
    write_arrays,
    write_dataset,
)
from segdata.system import workers as processes
from segdata.system.files import canonical_json, disk_errors, locked, real_path, remove_tree, require_replaceable
from segdata.system.links import link_or_copy
from segdata.version import __version__

if TYPE_CHECKING:
    from segdata.conversion.job import Progress

CHANGED = "changed"
"""In place of the format whose samples these are, where they are not as its reader gave them any more."""


@dataclass(frozen=True)
class Derived:
    """A pack that was made of other packs.

    Attributes:
        verb: how it was made: "merge", "split" …
        target: its folder.
        samples, instances: how many it has.
        splits: name → number of samples.
        parents: the folders of the packs that it was made of.
        linked, copied, written: bytes of files that got a second name, were copied because a second name was refused,
            and were written anew.
        unused: bytes of images in its files that no sample has any more; `convert` leaves them out.
        problems: what was odd (remarks) or dropped (losses), by kind with examples.
        details: figures that the verb has.
        was_done: True when the target was already there, made of the same packs with the same options.
    """

    verb: str
    target: Path
    samples: int
    instances: int
    splits: Mapping[str, int]
    parents: Sequence[Path]
    linked: int
    copied: int
    written: int
    unused: int
    problems: Mapping[str, Any]
    details: Mapping[str, Any]
    was_done: bool = False

    def __repr__(self) -> str:
        counts = counted(self.samples, "sample"), counted(self.instances, "object")
        return line(self, repr(str(self.target)), self.verb, *counts, "was there" if self.was_done else "")

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return {
            **vars(self),
            "target": str(self.target),
            "splits": dict(self.splits),
            "parents": [str(parent) for parent in self.parents],
            "details": dict(self.details),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A pack to be made of others: everything that is decided before a file is written.

    Attributes:
        verb: how it is made.
        parents: the packs that it is made of.
        pieces: its shards, in order; those without samples are left out.
        splits: name → (K,) int64 numbers of its samples in the new pack.
        documents: what the sources' files say beyond single images.
        origin: the format whose samples these still are, else `CHANGED`.
        images, images_root: as in the index of a pack. Pieces without images get an empty file where others have some.
        options: what the result depends on beside the parents, as JSON holds it.
        further: what else it is made of, as packs name their parents: name and sha256.
        findings: what is odd or dropped.
        details: figures for the result.
    """

    verb: str
    parents: Sequence[Parent]
    pieces: Sequence[Piece]
    labels: LabelSpace
    splits: Mapping[str, npt.NDArray[np.int64]]
    documents: Sequence[Mapping[str, Any]]
    origin: str
    images: layout.Images
    images_root: Path | None = None
    options: Mapping[str, Any]
    further: Sequence[Mapping[str, str]] = ()
    findings: Findings = field(default_factory=Findings)
    details: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for the same packs, verb and options, by the same version."""
        parents = [parent.sha256 for parent in self.parents]
        parents += [item["sha256"] for item in self.further]
        identity = [self.verb, parents, self.options, __version__, layout.VERSION]
        return hashlib.sha256(canonical_json(identity)).hexdigest()

    def provenance(self) -> dict[str, Any]:
        """What the index says the pack was made of."""
        made = [parent.index["provenance"] for parent in self.parents]
        layouts, roots = ({item[name] for item in made} for name in ("layout", "root"))
        return {
            "format": self.origin,
            "layout": layouts.pop() if len(layouts) == 1 else "several layouts",
            "root": roots.pop() if len(roots) == 1 else ", ".join(item["root"] for item in made),
            "fingerprint": self.fingerprint,
            "options": {"verb": self.verb, **self.options},
            "parents": [*(parent.recorded() for parent in self.parents), *map(dict, self.further)],
        }


def derive(
    plan: Plan,
    target: Path,
    *,
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make the pack.

    Args:
        target: the folder to make.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write changed tables; by default as many as there are processors.
        progress: called with (samples done, samples in all) of the changed tables.

    Raises:
        InvalidInput: no sample is left.
        UsageError: the target holds something else, or is one of the packs that it is made of.
        DamagedData: a table that is changed is damaged.
        DiskError: a file can neither be linked nor copied, or not be written.
    """
    pieces = [piece for piece in plan.pieces if piece.samples]
    if not pieces:
        raise InvalidInput("no sample is left", file=plan.parents[0].folder, state="nothing was written")
    if any(real_path(parent.folder) == real_path(target) for parent in plan.parents):
        raise UsageError("a pack cannot be made of itself", file=target, fix="choose another folder with -o")
    with locked(target, wait=wait):
        if not force and (done := _finished(plan, target)) is not None:
            return done
        with disk_errors(target):
            for name in UNFINISHED:
                for path in target.glob(f"{name}*"):
                    remove_tree(path)
        require_replaceable(target, force=force or is_unfinished(target), what="the pack")
        work = target / f"{UNFINISHED[0]}{plan.fingerprint[:16]}"
        try:
            with disk_errors(work):
                work.mkdir(parents=True)
            return _make(plan, pieces, target, work, _Writing(workers, progress))
        finally:
            with disk_errors(target):
                remove_tree(work)
                if target.is_dir() and not any(target.iterdir()):
                    target.rmdir()


def _finished(plan: Plan, target: Path) -> Derived | None:
    """The pack that is there already, made of the same packs with the same options."""
    if not is_pack(target):
        return None
    index = layout.read_index(target)
    if index["provenance"]["fingerprint"] != plan.fingerprint:
        return None
    open_pack(target)
    return replace(_result(plan, target, index), was_done=True)


@dataclass(frozen=True)
class _Writing:
    """How changed tables are written."""

    workers: int | None
    progress: Progress | None


def _make(plan: Plan, pieces: Sequence[Piece], target: Path, work: Path, writing: _Writing) -> Derived:
    receipts = _link(plan, pieces, work)
    written = _write_changed(plan, pieces, receipts, work, writing)
    dataset = write_dataset(work, {name: members.tolist() for name, members in plan.splits.items()}, plan.documents)
    index = index_document(
        receipts,
        dataset,
        labels=plan.labels,
        splits={name: members.tolist() for name, members in plan.splits.items()},
        images=plan.images,
        images_root=plan.images_root,
        provenance=plan.provenance(),
        findings=plan.findings,
        max_pixels=max(parent.store.max_pixels for parent in plan.parents),
    )
    linked, copied = (sum(receipt[name] for receipt in receipts) for name in ("linked", "copied"))
    empty = sum(receipt["written"] for receipt in receipts)
    commit(target, work, [*receipts, dataset], index)
    remove_unnamed(target, index)
    result = _result(plan, target, index)
    return replace(result, linked=linked, copied=copied, written=written + empty + dataset["entry"]["bytes"])


def _link(plan: Plan, pieces: Sequence[Piece], work: Path) -> list[dict[str, Any]]:
    """Give the unchanged files of all pieces names in the work folder; the receipts of their shards."""
    receipts = []
    for number, piece in enumerate(pieces):
        entry: dict[str, Any] = {**piece.entry, "annotations": dict(piece.entry["annotations"])}
        receipt: dict[str, Any] = {"entry": entry, "files": {}, "linked": 0, "copied": 0, "written": 0}
        if entry["images"] is not None:
            entry["images"] = dict(entry["images"])
        elif plan.images == "embed":
            part = f".empty-{number:05d}.part"
            empty = write_arrays(work / part, {"images/data": np.zeros(0, np.uint8)})
            entry["images"], receipt["written"] = empty, empty["bytes"]
            _named(receipt, "images", number, part)
        for kind in ("images", "annotations"):
            is_linked = piece.entry[kind] is not None and (kind == "images" or piece.change.is_none)
            if is_linked:
                # Of a name that nothing else writes to: what is written there is written to the parent's file.
                part = f".linked-{kind}-{number:05d}.part"
                source = piece.parent.folder / piece.entry[kind]["file"]
                is_second_name = link_or_copy(source, work / part)
                receipt["linked" if is_second_name else "copied"] += piece.entry[kind]["bytes"]
                _named(receipt, kind, number, part)
        receipts.append(receipt)
    return receipts


def _named(receipt: dict[str, Any], kind: str, number: int, part: str) -> None:
    """Give a shard's file its final name."""
    entry = receipt["entry"]
    (final,) = file_names(number, {"images": None, "annotations": None, kind: entry[kind]}).values()
    receipt["files"][part] = entry[kind]["file"] = final


def _write_changed(
    plan: Plan, pieces: Sequence[Piece], receipts: Sequence[dict[str, Any]], work: Path, writing: _Writing
) -> int:
    """Write the changed tables and complete their receipts; the bytes written."""
    numbers = [number for number, piece in enumerate(pieces) if not piece.change.is_none]
    total = sum(pieces[number].samples for number in numbers)
    samples = written = 0

    def task(number: int, beat: processes.Beat) -> dict[str, Any]:
        beat(number)
        arrays = changed(pieces[number], plan.labels)
        entry = write_arrays(work / f".annotations-{number:05d}.part", arrays)
        return {"annotations": entry, "samples": len(arrays["image/id"]), "instances": len(arrays["instance/id"])}

    def done(number: int, entry: dict[str, Any]) -> None:
        nonlocal samples, written
        receipts[number]["entry"].update(entry)
        _named(receipts[number], "annotations", number, f".annotations-{number:05d}.part")
        samples += entry["samples"]
        written += entry["annotations"]["bytes"]
        if writing.progress is not None:
            writing.progress(samples, total)

    processes.run(
        numbers,
        task,
        workers=writing.workers or processes.available(),
        name_of=lambda number: f"shard {pieces[number].shard.number} of {pieces[number].parent.folder}",
        done=done,
        progress=lambda begun: None,
        hang_seconds=math.inf,
    )
    return written


def _result(plan: Plan, target: Path, index: Mapping[str, Any]) -> Derived:
    """The result as far as the index of the pack says it."""
    return Derived(
        verb=plan.verb,
        target=target,
        samples=index["samples"],
        instances=index["instances"],
        splits={split["name"]: split["samples"] for split in index["splits"]},
        parents=[parent.folder for parent in plan.parents],
        linked=0,
        copied=0,
        written=0,
        unused=open_pack(target).unused_image_bytes(),
        problems=index["report"],
        details=plan.details,
    )
