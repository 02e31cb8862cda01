"""Several packs as one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.derivation import spaces
from segdata.derivation.derive import CHANGED, Derived, Plan, derive
from segdata.derivation.pieces import Change, Parent, Piece
from segdata.errors import InvalidInput, UsageError
from segdata.pack import layout
from segdata.system.files import canonical_json, checked_name, disk_errors, real_path

if TYPE_CHECKING:
    from segdata.conversion.job import Progress
    from segdata.sources.dataset import Labels

Splits = dict[str, npt.NDArray[np.int64]]


@disk_errors()
def merge(
    packs: Sequence[str | Path],
    out: str | Path,
    *,
    prefix: bool = False,
    prefix_keys: bool = False,
    labels: Labels = None,
    force: bool = False,
    wait: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Derived:
    """Make one pack of several; no image is copied.

    The samples are those of the first pack, then those of the second … Splits of one name become one, ids stay as they
    are. What the sources' files say beyond single images stays where all packs are of one format and no file of that
    name is in two of them: merging conversions of parts of a dataset gives the conversion of the whole, column by column.

    Args:
        packs: the folders of two packs or more.
        out: the folder to make.
        prefix: put the folder's name before every split: "a/train", "b/train".
        prefix_keys: put the folder's name before every key; all tables are written anew.
        labels: map the categories of all packs: a TOML table whose categories are in one of the packs at least, the name
            of a view or label space, a label space, or the folder of a pack whose categories count (by their names). The
            tables of packs whose categories get other numbers are written anew, with their label maps.
        force: replace a target that holds something else.
        wait: seconds to wait for another process that works on the target.
        workers: processes that write changed tables; by default as many as there are processors.
        progress: called with (samples done, samples in all) of the changed tables.

    Returns:
        What was made. Where the same call made the target before, nothing is done.

    Raises:
        InvalidInput: two packs have a sample of the same key in the same split; or one refers to images, another has them.
        LabelMismatch: label spaces differ, in categories or in their order, and `labels` does not say how to map them.
        UsageError: fewer than two packs, one pack twice, folders whose names do not tell them apart for a prefix; or the
            target holds something else.
        NotThere: a pack, table or label space is not there.
        DamagedData: a pack is damaged where it is read.
    """
    parents = _opened(packs)
    findings = Findings()
    common = spaces.common(parents, labels)
    for parent, mapping in zip(parents, common.mappings, strict=True):
        if mapping is not None:
            spaces.remark_left_out(parent, mapping, findings)
    names = _names(parents) if prefix or prefix_keys else [""] * len(parents)
    images, images_root, file_prefixes = _images(parents)
    changes = [
        Change(mapping=mapping, key_prefix=f"{name}/" if prefix_keys else "", file_prefix=file_prefix)
        for name, mapping, file_prefix in zip(names, common.mappings, file_prefixes, strict=True)
    ]
    splits = _splits(parents, names if prefix else None)
    if not prefix_keys:
        _require_distinct(parents, splits)
    documents = _documents(parents)
    is_as_read = documents is not None and common.is_theirs and not (prefix or prefix_keys or any(file_prefixes))
    plan = Plan(
        verb="merge",
        parents=parents,
        pieces=[piece for parent, change in zip(parents, changes, strict=True) for piece in _pieces(parent, change)],
        labels=common.labels,
        splits=splits,
        documents=_count_dropped(parents, findings) if documents is None else documents,
        origin=parents[0].origin if is_as_read else CHANGED,
        images=images,
        images_root=images_root,
        options={
            "prefix": names if prefix else None,
            "prefix_keys": names if prefix_keys else None,
            "labels": None if labels is None else common.labels.digest,
            "mappings": [
                None if mapping is None else hashlib.sha256(canonical_json(mapping.table)).hexdigest()
                for mapping in common.mappings
            ],
        },
        findings=findings,
    )
    return derive(plan, Path(out), force=force, wait=wait, workers=workers, progress=progress)


def _opened(packs: Sequence[str | Path]) -> list[Parent]:
    if isinstance(packs, (str, Path)) or len(packs) < 2:
        raise UsageError(
            "there is nothing to merge", why="expected two packs or more", fix="name them: segdata merge A B -o OUT"
        )
    parents = [Parent.open(folder) for folder in packs]
    folders = [real_path(parent.folder) for parent in parents]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError("a pack is named twice", file=folder, fix="name every pack once")
    return parents


def _names(parents: Sequence[Parent]) -> list[str]:
    """A name for each pack: the last part of their paths in which all differ."""
    parts = [real_path(parent.folder).parts[:0:-1] for parent in parents]
    for names in zip(*parts, strict=False):
        if len(set(names)) == len(names):
            for name in names:
                checked_name(name, "the folder of a pack")
            return list(names)
    raise UsageError(
        "the names of the packs' folders do not tell them apart",
        why=", ".join(str(real_path(parent.folder)) for parent in parents),
        fix="give the folders different names",
    )


def _pieces(parent: Parent, change: Change) -> list[Piece]:
    """A pack's shards with what changes in them: a mapping changes only those with objects or label maps."""
    pieces = []
    for shard, _ in parent.rows():
        entry = parent.index["shards"][shard.number]
        has_categories = entry["instances"] or entry["annotations"]["arrays"]["semantic/data"]["shape"] != [0]
        pieces.append(Piece(parent, shard, change if has_categories else replace(change, mapping=None)))
    return pieces


# ---------------------------------------------------------------------- splits and keys


def _splits(parents: Sequence[Parent], names: Sequence[str] | None) -> Splits:
    """The union of all splits by name, in the order in which names come first."""
    parts: dict[str, list[npt.NDArray[np.int64]]] = {}
    first = 0
    for number, parent in enumerate(parents):
        for split, members in parent.store.splits.items():
            parts.setdefault(f"{names[number]}/{split}" if names else split, []).append(members + first)
        first += parent.store.count
    return {name: np.concatenate(members) for name, members in parts.items()}


def _require_distinct(parents: Sequence[Parent], splits: Splits) -> None:
    """Refuse a key that two packs have in one split, or outside of all splits.

    Raises:
        InvalidInput: with both.
    """
    starts = np.cumsum([0, *(parent.store.count for parent in parents)])
    count = int(starts[-1])
    unlisted = np.ones(count, bool)
    for members in splits.values():
        unlisted[members] = False
    keys: list[list[bytes] | None] = [None] * len(parents)
    for split, members in [*splits.items(), (None, np.flatnonzero(unlisted))]:
        of_parent = np.searchsorted(starts, members, side="right") - 1
        involved = np.unique(of_parent).tolist()
        seen: dict[bytes, int] = {}
        for number in involved if len(involved) > 1 else ():
            texts = keys[number] = keys[number] or parents[number].read_keys()
            mine = {texts[index]: number for index in (members[of_parent == number] - starts[number]).tolist()}
            both = mine.keys() & seen.keys()
            if both:
                key = min(both)
                raise _twice(parents[seen[key]], parents[number], split, key)
            seen |= mine


def _twice(first: Parent, other: Parent, split: str | None, key: bytes) -> InvalidInput:
    where = "no split" if split is None else f"the split {split!r}"
    return InvalidInput(
        f"{first.folder} and {other.folder} both have a sample of this key in {where}",
        file=other.folder,
        key=key.decode("utf-8", "surrogatepass"),
        state="nothing was written",
        fix="--prefix keeps the splits apart, --prefix-keys puts the folder's name before every key; if they are the same "
        "samples, leave one pack out",
    )


# ---------------------------------------------------------------------- images


def _images(parents: Sequence[Parent]) -> tuple[layout.Images, Path | None, list[str]]:
    """Where the images of the new pack are: kind, root, and what comes before each pack's paths under it.

    Raises:
        InvalidInput: some are in a pack, some are referred to.
    """
    kinds = {parent.index["images"]: parent for parent in reversed(parents)}
    nothing = [""] * len(parents)
    if {"embed", "reference"} <= kinds.keys():
        raise InvalidInput(
            f"{kinds['embed'].folder} has its images, {kinds['reference'].folder} refers to them",
            file=kinds["reference"].folder,
            why="a pack has all images or refers to all",
            fix=f"make one that has them: segdata convert {kinds['reference'].folder} PACK",
        )
    if "reference" not in kinds:
        return ("embed" if "embed" in kinds else "none"), None, nothing
    roots = [parent.store.images_root for parent in parents if parent.index["images"] == "reference"]
    if not all(root is not None and root.is_absolute() for root in roots):
        raise InvalidInput(
            "a pack does not say where its images are", file=kinds["reference"].folder, place="$.images_root"
        )
    common = os.path.commonpath(set(filter(None, roots)))
    prefixes = []
    for parent in parents:
        root = parent.store.images_root if parent.index["images"] == "reference" else None
        below = "." if root is None else os.path.relpath(root, common)
        prefixes.append("" if below == "." else f"{below}/")
    return "reference", Path(common), prefixes


# ---------------------------------------------------------------------- documents


def _documents(parents: Sequence[Parent]) -> list[Mapping[str, Any]] | None:
    """What the files of all sources say beyond single images; None where they are not files of one dataset.

    A text that several sources have in the same words (a table of labels) is one. A document that lists samples is not.
    """
    if len({parent.origin for parent in parents}) > 1:
        return None
    documents: dict[str, Mapping[str, Any]] = {}
    for parent in parents:
        for document in parent.store.documents:
            name = str(document.get("file"))
            if name in documents and (documents[name] != document or "split" in document):
                return None
            documents[name] = document
    return list(documents.values())


def _count_dropped(parents: Sequence[Parent], findings: Findings) -> list[Mapping[str, Any]]:
    """Count the documents that the merged pack does not have; there are none then."""
    for parent in parents:
        for document in parent.store.documents:
            findings.drop("documents of the sources' files", f"{parent.folder}: {document.get('file')}")
    return []
