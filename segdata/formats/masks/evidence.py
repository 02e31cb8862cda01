"""Whether a folder of images and masks is of this format: by its layout, a receipt, or the values of some masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.errors import SegdataError
from segdata.formats.contract import ReadOptions
from segdata.formats.masks import categories, folders, mask_files
from segdata.formats.shared import label_tables, pairs
from segdata.formats.shared.folder import conversion_report
from segdata.formats.shared.object_numbers import Evidence, evidence, spread


def detect(root: Path) -> bool:
    """Whether the masks of a folder number objects: beyond doubt, as far as files alone tell."""
    layout = _layout(root)
    if layout is None:
        return False
    if layout.is_sure or _is_written_here(root):
        return True
    try:
        table = label_tables.in_folder(root, beside(layout))
    except SegdataError:
        return False
    if table is not None:
        return bool(_fits(root, layout, table.label_space()))
    return evidence(list(_values(root, layout))) is Evidence.NUMBERS


def fits(root: Path, labels: LabelSpace) -> bool | None:
    """Whether the masks number objects when these categories are declared; None where that does not matter."""
    layout = _layout(root)
    return None if layout is None or layout.is_sure else _fits(root, layout, labels)


def beside(layout: folders.Layout) -> list[str]:
    """Folders in which a table of labels may lie."""
    parts = [part for pair in layout.pairs for part in (pair.images, pair.labels)]
    above = [part.rpartition("/")[0] for part in parts]
    return list(dict.fromkeys(["", *above, *parts, *(part for _, part in layout.parts)]))


def _layout(root: Path) -> folders.Layout | None:
    if not root.is_dir() or pairs.has_documents(root):
        return None
    try:
        return folders.find(root)
    except SegdataError:
        return None


def _fits(root: Path, layout: folders.Layout, labels: LabelSpace) -> bool:
    """One category and more values than it can have are numbers; several categories are classes."""
    if len(categories.of_objects(labels)) != 1:
        return False
    masks = list(_values(root, layout))
    every = set().union(*masks)
    is_constant = all(values == every for values in masks if values)
    return len(every) > 1 and not is_constant and not every <= {*labels.index_of_id, 255}


def _is_written_here(root: Path) -> bool:
    """Whether segdata wrote the folder in this format."""
    return bool(conversion_report(root).get("target_format") == "masks")


def _values(root: Path, layout: folders.Layout) -> Iterator[set[int]]:
    """The values but 0 of masks evenly spread over the dataset; files that hold none are no evidence."""
    entries = [entry for pair in layout.pairs for entry in pairs.entries_of(root, pair, ReadOptions(), Findings())]
    files = [entry.data.file for entry in entries if entry.data.file]
    for position in spread(len(files)):
        try:
            yield set(mask_files.read(root, files[position], ReadOptions().max_pixels).numbers)
        except SegdataError:
            continue
