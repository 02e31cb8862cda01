"""Toy: boxes in a text file.

    root/
        images/dog.png
        boxes.toy             a line an object: image, category, xmin, ymin, xmax, ymax, separated by tabs
        train.txt, val.txt    image names, one a line

Traps: corners are whole numbers, counted from 0, and both inside the box; what follows a `#` is a note on the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import json_text, lists
from segdata.formats.shared.folder import (
    image_bytes,
    image_size,
    names_in,
    read_bytes,
    stem,
    write_file,
    write_image,
)

LAYOUT = "images/ and boxes.toy (Toy)"

_BOXES = "boxes.toy"


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder has the text file of boxes."""
    return (root / _BOXES).is_file()


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image with its lines of the text file; every other text file is a split."""
    lines = lists.lines_of(read_bytes(root, _BOXES, "the dataset"))
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]
    names = names_in(root / "images", ".png", ".jpg")
    rows_of: dict[str, list[tuple[int, list[str]]]] = {stem(name): [] for name in names}
    for number, row in rows:
        if len(row) != 6 or row[0] not in rows_of:
            findings.skip(InvalidAnnotation("a line is no box of an image", file=root / _BOXES, place=f"line {number}"))
        else:
            rows_of[row[0]].append((number, row))
    if labels is None:
        categories = sorted({row[1] for _, row in rows if len(row) == 6})
        labels = LabelSpace("custom", tuple(Category(name, index, None) for index, name in enumerate(categories)))
    index_of = {stem(name): index for index, name in enumerate(names)}
    files = names_in(root, ".txt")
    texts = {file: read_bytes(root, file, "the dataset") for file in files}
    return Source(
        root=root,
        layout="Toy folder",
        labels=labels,
        entries=[Entry(stem(name), f"images/{name}", data=rows_of[stem(name)]) for name in names],
        splits={stem(file): lists.members(root / file, text, index_of, findings) for file, text in texts.items()},
        documents=[lists.document("toy", file, text, index_of, is_split=True) for file, text in texts.items()],
        annotation_files=[_BOXES, *files],
    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its boxes."""
    height, width = image_size(source, entry)
    category, boxes, order, extra = [], [], [], []
    for number, (_, name, *corners, last) in entry.data:
        last, _, note = last.partition("#")
        try:
            x0, y0, x1, y1 = map(int, (*corners, last))
            index = source.labels.index_of_name[name]
        except (ValueError, KeyError):
            findings.skip(
                InvalidAnnotation(
                    "a box is not valid", file=source.root / _BOXES, place=f"line {number}", key=entry.key
                )
            )
            continue
        category.append(index)
        boxes.append([x0, y0, x1 - x0 + 1, y1 - y0 + 1])  # half-open: x right, y down
        order.append(number)
        extra.append({"toy": {"note": note}} if note else {})
    count = len(category)
    instances = Instances.build(
        category,
        Masks.empty(height, width, count),
        has_mask=np.zeros(count, bool),
        bbox=boxes,
        order=order,
        extra=extra,
    )
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        encoded=lambda: image_bytes(source, entry),
        instances=instances,
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write every image, and the lines of these samples into a part file."""
    keys: list[str] = []
    lines: list[tuple[int, int, str]] = []
    for index, sample in samples:
        keys.append(sample.key)
        write_image(root, sample)
        instances = sample.instances
        for category, box, order, extra in zip(
            instances.category.tolist(), instances.bbox.tolist(), instances.order.tolist(), instances.extra, strict=True
        ):
            x, y, width, height = map(int, box)
            corners = "\t".join(map(str, (x, y, x + width - 1, y + height - 1)))
            note = extra.get("toy", {}).get("note")
            row = f"{sample.key}\t{header.labels[category].name}\t{corners}{'#' + note if note else ''}\n"
            lines.append((order, index, row))
    write_file(root, f".parts/{number:05d}.json", json_text.encode(lines))
    return {"keys": keys, "part": f".parts/{number:05d}.json"}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the lines of all parts into one file, in the source's order, and write the splits."""
    lines: list[tuple[int, int, str]] = []
    for receipt in receipts:
        path = root / receipt["part"]
        lines += json_text.decode(json_text.map_file(path), list[tuple[int, int, str]], path)
    write_file(root, _BOXES, "".join(row for _, _, row in sorted(lines)).encode())
    written = {key for receipt in receipts for key in receipt["keys"]}
    for document in header.documents:
        if document.get("format") == "toy":
            write_file(root, document["file"], lists.without_absent(document, written))
