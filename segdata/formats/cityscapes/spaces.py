"""What the ids of a dataset in Cityscapes' folders mean: the user's table, one beside the files, or Cityscapes' own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segdata.catalog import manifest
from segdata.catalog.label_table import Table
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.rle import constant_runs
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.cityscapes import polygons
from segdata.formats.contract import Entry
from segdata.formats.shared import label_tables
from segdata.formats.shared.folder import read_bytes
from segdata.system.files import inside

OFFICIAL, TRAIN_VIEW = "cityscapes", "cityscapes-19"
CLASSES = "name the categories with --classes FILE|NAMES|from-data"
VOID_ID = 255
"""The value of pixels without label in files of people and of other datasets."""

_KEY = re.compile(r"([A-Za-z-]+)/\1_\d{6}_\d{6}")
_GROUP_LIMIT = 1000


@dataclass(frozen=True)
class Given:
    """What is known of a dataset before its label files are looked at.

    Attributes:
        entries: every frame.
        table: the table beside the label files.
        declared: the label space that the user named.
        from_data: whether categories may be taken from the label files.
    """

    root: Path
    entries: Sequence[Entry]
    table: Table | None
    declared: LabelSpace | None
    from_data: bool

    @property
    def is_named_officially(self) -> bool:
        """Whether all frames are called CITY/CITY_SEQUENCE_FRAME."""
        return all(_KEY.fullmatch(entry.key) for entry in self.entries)

    def has(self, *suffixes: str) -> bool:
        """Whether a frame has a label file of one of these kinds."""
        return any(suffix in entry.data.suffixes for entry in self.entries for suffix in suffixes)

    def label_ids(self) -> Iterator[png.LabelImage]:
        """The labelIds files as stored; those that cannot be read are passed over here."""
        for entry in self.entries:
            stored = _stored(self.root, entry, "labelIds.png")
            if stored is not None:
                yield stored


def decide(given: Given, findings: Findings) -> LabelSpace:
    """The label space of the label files.

    Raises:
        InvalidAnnotation: nothing says what their ids mean.
    """
    official = manifest.label_space(OFFICIAL)
    if given.declared is not None:
        return given.declared
    if given.table is not None:
        return _of_table(given.table, official, findings)
    if given.from_data:
        return _from_data(given)
    frame = next((entry.data for entry in given.entries if entry.data.has_own_ids), None)
    if frame is not None:
        raise InvalidAnnotation(
            "no table says what the ids mean",
            file=given.root / frame.file(frame.suffixes[0]),
            why="by the files' name they are others than Cityscapes' label ids",
            fix=f"{CLASSES}; or give the labelIds files",
        )
    is_unsure = given.has("labelIds.png") or (given.has("instanceIds.png") and not given.is_named_officially)
    if is_unsure and not given.has("polygons.json"):
        first = next(entry for entry in given.entries if entry.data.suffixes)
        kind = "no table of labels and no polygon documents: ids are taken for Cityscapes' own"
        findings.remark(kind, f"{first.key} (--classes FILE|NAMES names others)")
    elif given.has("labelTrainIds.png") and not given.has("labelIds.png", "instanceIds.png", "polygons.json"):
        findings.remark(f"labelTrainIds alone: label maps of {TRAIN_VIEW}", given.root.name)
        return manifest.view(official, TRAIN_VIEW).target
    return official


def _of_table(table: Table, official: LabelSpace, findings: Findings) -> LabelSpace:
    """The table's categories; Cityscapes' own where it is Cityscapes' table, however the names are spelled."""
    spelled = {category.id: _spelling(category.name) for category in official.categories}
    plate = spelled[-1]
    if all(_spelling(row.name) in (spelled.get(row.value), plate) for row in table.rows):
        return official
    categories = table.categories
    if all(category.name in official.index_of_name for category in categories):
        categories = tuple(
            replace(category, isthing=official[official.index_of_name[category.name]].isthing)
            for category in categories
        )
    labels = LabelSpace("custom", categories)
    label_tables.remark_void_names(labels, table.file, findings)
    return labels


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _from_data(given: Given) -> LabelSpace:
    """Categories named by the ids in the label files, or by the labels of polygons where there are no label files."""
    if given.has("polygons.json") and not given.has("labelIds.png", "instanceIds.png"):
        names = sorted({name for entry in given.entries for name in _polygon_names(given.root, entry)})
        known = set(names)
        names = [name for name in names if not (name.endswith("group") and name.removesuffix("group") in known)]
        return LabelSpace("custom", tuple(Category(name, index) for index, name in enumerate(names)))
    numbers: set[int] = set()
    for entry in given.entries:
        for suffix in ("labelIds.png", "instanceIds.png", "labelTrainIds.png"):
            stored = _stored(given.root, entry, suffix)
            if stored is not None:
                values = stored.values
                present = np.unique(values.ravel()[constant_runs(values)[0]]).astype(np.int64)
                numbers.update(np.where(present >= _GROUP_LIMIT, present // _GROUP_LIMIT, present).tolist())
    numbers.discard(VOID_ID)
    return LabelSpace("custom", tuple(Category(f"class {number}", number) for number in sorted(numbers)))


def _polygon_names(root: Path, entry: Entry) -> Iterator[str]:
    if "polygons.json" in entry.data.suffixes:
        yield from polygons.names_in(inside(root, entry.data.file("polygons.json"), "the dataset"))


def _stored(root: Path, entry: Entry, suffix: str) -> png.LabelImage | None:
    """A label file as stored; None where there is none that can be read."""
    if suffix not in entry.data.suffixes:
        return None
    try:
        stored = png.read_labels(read_bytes(root, entry.data.file(suffix), "the dataset"))
    except SegdataError:
        return None
    return stored if stored.values.ndim == 2 else None
