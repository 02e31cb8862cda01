"""What the values and colours of label files mean: the table beside them, the user's, or CamVid's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.catalog.label_table import Table
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.png import LabelImage
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats.camvid import label_files
from segdata.formats.contract import Entry
from segdata.formats.shared import binary, label_tables, palettes
from segdata.formats.shared.folder import conversion_report
from segdata.formats.shared.object_numbers import LOOKED_AT, Evidence, evidence

_FRAMES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
"""How names of CamVid's own frames begin."""

_LOOKED_AT = 8
"""Label files that are looked at to find out what all of them hold."""

_MOST_COLORS = 256


@dataclass(frozen=True)
class Reading:
    """How label files are read.

    Attributes:
        is_binary: whether black and white, 0 and 255, are two categories.
        has_values: whether colours are odd: the layout has values, and no table speaks of colours.
    """

    is_binary: bool = False
    has_values: bool = False


@dataclass(frozen=True)
class Given:
    """What is known of a dataset before its label files are looked at.

    Attributes:
        layout: its name.
        entries: every image.
        table: the table beside the label files.
        declared: the label space that the user named.
        from_data: whether categories may be taken from the label files.
    """

    root: Path
    layout: str
    entries: Sequence[Entry]
    table: Table | None
    declared: LabelSpace | None
    from_data: bool

    @property
    def is_camvid(self) -> bool:
        """Whether the frames are CamVid's own, by their names."""
        return all(entry.key.rpartition("/")[2].startswith(_FRAMES) for entry in self.entries)

    def stored(self) -> Iterator[tuple[str, LabelImage]]:
        """Label files as stored; those that cannot be read are passed over here."""
        for entry in self.entries:
            if entry.data.file:
                try:
                    yield entry.data.file, label_files.read(self.root, entry.data.file)[0]
                except SegdataError:
                    continue

    def files(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Label files with their values."""
        return ((file, raw.values) for file, raw in self.stored())


def decide(given: Given, findings: Findings) -> tuple[LabelSpace, Reading]:
    """The label space of the label files.

    Raises:
        InvalidAnnotation: nothing says what their values mean.
    """
    if given.declared is not None:
        return given.declared, _reading(given, given.declared)
    if given.table is not None:
        labels = _of_table(given, given.table, findings)
        return labels, Reading() if labels.name != "custom" else _reading(given, labels)
    if given.from_data:
        return _from_data(given), Reading()
    return _official(given, findings), Reading(has_values=given.layout != "original")


def _reading(given: Given, labels: LabelSpace) -> Reading:
    """Whether two categories are black and white in the label files."""
    return Reading(binary.are_binary((raw for _, raw in given.stored()), labels))


def _of_table(given: Given, table: Table, findings: Findings) -> LabelSpace:
    """The table's label space, with a remark on categories that sound like void and count."""
    labels = table.label_space(manifest.label_space("camvid-32"))
    if labels.name == "custom" and labels.categories and _is_adapted(given.root):
        last = labels.categories[-1]
        if last.color == (0, 0, 0) and last.name.startswith("Void"):
            labels = LabelSpace(labels.name, (*labels.categories[:-1], replace(last, ignore=True)))
    elif labels.name == "custom" and not table.has_colors:  # names alone; what is first is a background
        rows = [replace(row, ignore=row.ignore and row.id != 0) for row in labels.categories]
        labels = LabelSpace(labels.name, tuple(rows))
    label_tables.remark_void_names(labels, table.file, findings)
    return labels


def _is_adapted(root: Path) -> bool:
    """Whether segdata wrote the folder from another format, with a row of its own for pixels without category."""
    report = conversion_report(root)
    return bool(report.get("source_format") != report.get("target_format"))


def _official(given: Given, findings: Findings) -> LabelSpace:
    """CamVid's own table where nothing speaks against it; remarked where the frames are not CamVid's own."""
    files = given.files()
    first = next(files, None)
    is_color = first is not None and first[1].ndim == 3
    is_original = given.layout == "original"
    labels = manifest.label_space("camvid-32" if is_original or is_color else "camvid-segnet")
    if given.is_camvid or first is None:
        return labels
    looked_at = [first, *(item for item, _ in zip(files, range(_LOOKED_AT), strict=False))]
    against = next((f"{file}: {why}" for file, values in looked_at if (why := _against(values, labels))), None)
    if against is None and all(values.ndim == 2 and values.max(initial=0) <= 1 for _, values in looked_at):
        against = f"{looked_at[0][0]}: values 0 and 1 alone, as masks of one class have"
    if against is None and given.layout not in ("original", "SegNet", "suffixed"):
        against = "names and folders are not CamVid's"
    if against is not None:
        raise InvalidAnnotation(
            "no table says what the label files mean",
            file=given.root,
            why=f"CamVid's own table is not theirs: {against}",
            fix=f"give the right table in label_colors.txt, or {label_files.CLASSES}{_or_numbers(given)}",
        )
    kind = f"no table of labels beside the files: CamVid's own {len(labels)} categories are assumed"
    findings.remark(kind, f"{looked_at[0][0]} (--classes FILE|NAMES names others)")
    return labels


def _or_numbers(given: Given) -> str:
    """The other way to read label files whose values may number objects, as the end of an advice."""
    maps = [values for (_, values), _ in zip(given.files(), range(LOOKED_AT), strict=False)]
    if any(values.ndim == 3 for values in maps):
        return ""
    sets = [set(label_files.present(values).tolist()) - {0} for values in maps]
    if evidence(sets) is Evidence.CLASSES:
        return ""
    return "; where the values number the objects of each image: --from masks"


def _against(values: npt.NDArray[Any], labels: LabelSpace) -> str | None:
    """What of a label file no file of CamVid has, in words."""
    if values.ndim == 3:
        known = {r << 16 | g << 8 | b for r, g, b in (item.color or (-1, 0, 0) for item in labels.categories)}
        codes = label_files.color_codes(values)
        is_off = ~np.isin(codes, sorted(known))
        if is_off.mean() <= palettes.OFF_TABLE_LIMIT:
            return None
        code = int(codes[is_off][0])
        return f"colour ({code >> 16}, {(code >> 8) & 255}, {code & 255}) of {is_off.mean():.1%} of the pixels"
    numbers = label_files.present(values).tolist()
    if set(numbers) == {0, 255} or any(number not in labels.index_of_id and number != 255 for number in numbers):
        return f"values {', '.join(map(str, numbers[:8]))}{' …' if len(numbers) > 8 else ''}"
    return None


def _from_data(given: Given) -> LabelSpace:
    """Categories named by the values that the label files hold, or numbered in the order of their colours."""
    numbers: set[int] = set()
    colors: set[int] = set()
    for file, values in given.files():
        (colors if values.ndim == 3 else numbers).update(label_files.present(values).tolist())
        if len(colors) > _MOST_COLORS:
            raise InvalidAnnotation(
                f"label files hold more than {_MOST_COLORS} colours",
                file=given.root / file,
                why="smoothed or compressed pixels are no categories",
                fix="use the original PNG label files, or name the table with --classes FILE",
            )
    if numbers and colors:
        raise InvalidAnnotation(
            "some label files hold colours, others values",
            file=given.root,
            fix="name the table of both with --classes FILE",
        )
    if len(numbers) > 2:
        numbers.discard(255)
    rows: Mapping[int, Category] = {value: Category(f"class {value}", value) for value in sorted(numbers)}
    if colors:
        rows = {
            code: Category(f"class {index}", index, (code >> 16, (code >> 8) & 255, code & 255))
            for index, code in enumerate(sorted(colors))
        }
    return LabelSpace("custom", tuple(rows.values()))
