"""The classes of a dataset in VOC's layout: declared, of a table beside the files, of the annotations, or VOC's own.

    labelmap.txt                        NAME:R,G,B:parts:actions a line, its position is the value of masks (CVAT, datumaro)
    class_names.txt, classes.txt, …     the tables that all formats read

Traps: a table of names alone may leave out the background, which is 0 in every mask; LabelImg leaves its own
predefined_classes.txt beside annotations of other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segdata.catalog import manifest
from segdata.catalog.label_table import Table
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace, is_background
from segdata.errors import SegdataError
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.shared import label_tables
from segdata.formats.shared.folder import read_bytes
from segdata.formats.xml import parse

OFFICIAL = "voc"
"""The label space of VOC's own classes."""

_LABELMAP = "labelmap.txt"
_BACKGROUND = Category("background", 0, isthing=False)


def decide(
    root: Path, entries: Sequence[Entry], declared: LabelSpace | None, options: ReadOptions, findings: Findings
) -> tuple[LabelSpace, list[str]]:
    """The label space, and the files under the root that tables were read from.

    Raises:
        InvalidAnnotation: a table that is not valid, or two that disagree.
    """
    folders = list(dict.fromkeys(["", *(name.rpartition("/")[0] for entry in entries for name in entry.data.names)]))
    if declared is None and not options.classes_from_data:
        table = label_tables.in_folder(root, folders)
    else:
        table = label_tables.beside(root, folders, findings)
    files = [] if table is None else [table.file, *table.others]
    if declared is not None:
        return declared, files
    if options.classes_from_data:
        return _from_data(root, entries, findings), files
    if table is not None:
        is_whole = table.file == _LABELMAP or table.has_colors
        absent = [] if is_whole else sorted(_names(root, entries).difference(row.name for row in table.rows))
        if not absent:
            return of_table(table, findings), files
        findings.remark(
            "table of classes passed over: annotations have other classes (--classes FILE|NAMES|from-data declares them)",
            f"{table.file} has no {', '.join(map(repr, absent[:4]))}",
        )
    labels = manifest.label_space(OFFICIAL)
    if any(entry.data.classes for entry in entries) and not any(entry.data.xml for entry in entries):
        findings.remark(
            "nothing names the classes of the masks: taken for VOC's own (--classes FILE|NAMES declares others)",
            ", ".join(category.name for category in labels.categories[:4]) + " …",
            sum(entry.data.classes is not None for entry in entries),
        )
    return labels, []


def _space(categories: Sequence[Category]) -> LabelSpace:
    """The categories as VOC's: all but the background are things."""
    return LabelSpace("custom", tuple(replace(item, isthing=not is_background(item.name)) for item in categories))


def of_table(table: Table, findings: Findings) -> LabelSpace:
    """The space of a table; of one of names alone with a background, where it has none."""
    is_whole = table.file == _LABELMAP or table.has_colors
    return _space(table.categories) if is_whole else _of_names(table, findings)


def _of_names(table: Table, findings: Findings) -> LabelSpace:
    """The space of a table of names, after a background where it has none."""
    categories = list(table.categories)
    if not any(item.id == 0 and is_background(item.name) for item in categories):
        if any(item.id == 0 for item in categories):
            categories = [replace(item, id=item.id + 1) for item in categories]
        categories = [_BACKGROUND, *categories]
        findings.remark("table of classes without the background: it is 0, the first class 1", table.file)
    return _space(sorted(categories, key=lambda item: item.id))


def _from_data(root: Path, entries: Sequence[Entry], findings: Findings) -> LabelSpace:
    """The background, and the classes that the objects of all annotations name, sorted."""
    names = sorted(_names(root, entries))
    findings.remark("classes taken from the annotations, as asked", ", ".join(names), len(names))
    return _space([_BACKGROUND, *(Category(name, number) for number, name in enumerate(names, 1))])


def _names(root: Path, entries: Sequence[Entry]) -> set[str]:
    """The classes but the background that objects of any annotation name."""
    names: set[str] = set()
    for entry in entries:
        try:
            tree = None if entry.data.xml is None else parse(read_bytes(root, entry.data.xml, "the dataset"), root)
        except SegdataError:
            continue  # `load` says what is wrong with it
        for node in tree.root.children if tree is not None else ():
            name = node.text_of("name") if node.tag == "object" else None
            if name and not is_background(name):
                names.add(name)
    return names
