"""One label space for several packs: theirs, where they have the same; else one that a table maps them to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelMapping, LabelSpace
from segdata.derivation.pieces import Parent
from segdata.errors import LabelMismatch, UsageError, number_of
from segdata.pack.layout import is_pack, read_index

if TYPE_CHECKING:
    from segdata.sources.dataset import Labels

Mappings = list[LabelMapping | None]
"""For each pack the mapping of its categories; None where they stay as they are."""


@dataclass(frozen=True)
class Common:
    """The label space of several packs.

    Attributes:
        labels: the space.
        mappings: of each pack's categories to it; None where their indices stay.
        is_theirs: whether it is the space of all of them, to the last detail.
    """

    labels: LabelSpace
    mappings: Mappings
    is_theirs: bool


def common(parents: Sequence[Parent], labels: Labels) -> Common:
    """The label space of a merge.

    Args:
        labels: what to map to: as `convert` takes it, or a pack whose categories count.

    Raises:
        LabelMismatch: the packs have different label spaces, and nothing says how they are mapped; or a table leads to
            different ones.
        NotThere: no view, space or file of that name; or a table names a category that no pack has.
        UsageError: a mapping, which is of one label space alone.
    """
    spaces = [parent.store.labels for parent in parents]
    if labels is None:
        for parent, space in zip(parents[1:], spaces[1:], strict=True):
            _require_equal(parents[0], parent, space)
        return Common(spaces[0], [None] * len(spaces), is_theirs=True)
    mappings = _mappings(spaces, labels)
    target = mappings[0].target
    for parent, mapping in zip(parents, mappings, strict=True):
        mapping.target.require_equal(target, f"{labels!r} maps {parent.folder} to another label space")
    return Common(
        target,
        [None if _stays(space, mapping) else mapping for space, mapping in zip(spaces, mappings, strict=True)],
        is_theirs=all(space.digest == target.digest for space in spaces),
    )


def _require_equal(first: Parent, other: Parent, space: LabelSpace) -> None:
    try:
        first.store.labels.require_equal(space, f"{first.folder} and {other.folder} cannot be merged as they are")
    except LabelMismatch as error:
        error.file = str(other.folder)
        error.fix = (
            f"map both with --labels: {first.folder} (its categories, by their names), the name of a label space "
            f"({', '.join(manifest.spaces())}), or a TOML table (docs/sets.md)"
        )
        raise


def _mappings(spaces: Sequence[LabelSpace], labels: Labels) -> list[LabelMapping]:
    from segdata.sources.dataset import relabelling  # formats, which few merges need, take half a second to import

    if isinstance(labels, LabelMapping):
        raise UsageError("labels is a mapping, which is of one label space alone", fix="give a label space or a table")
    if isinstance(labels, (str, Path)) and str(labels).endswith(".toml"):
        return manifest.mappings_from_file(Path(labels), spaces)
    if isinstance(labels, (str, Path)) and is_pack(Path(labels)):
        labels = LabelSpace.from_dict(read_index(Path(labels))["labels"])
    return [relabelling(labels, space).mapping for space in spaces]


def _stays(space: LabelSpace, mapping: LabelMapping) -> bool:
    """Whether a mapping leaves every index as it is, and the values of label maps, too."""
    is_same = np.array_equal(mapping.indices, np.arange(len(space)))
    return is_same and space.dtype == mapping.target.dtype


def remark_left_out(parent: Parent, mapping: LabelMapping, findings: Findings) -> None:
    """Count the objects of categories that a mapping leaves out; columns alone are read."""
    counts = np.zeros(len(parent.store.labels), np.int64)
    for shard, _ in parent.rows():
        counts += np.bincount(shard.table["instance/category"], minlength=len(counts))[: len(counts)]
    for index in np.flatnonzero((mapping.indices < 0) & (counts > 0)).tolist():
        name = parent.store.labels[index].name
        findings.remark(f"left out as asked: objects of category {name!r}", str(parent.folder), int(counts[index]))
    gone = int(np.count_nonzero(mapping.indices < 0))
    if gone == len(mapping.indices):
        findings.remark(f"no category is mapped: none of {number_of(gone, 'category')}", str(parent.folder))
