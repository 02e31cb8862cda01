"""Parquet tables of images and annotations, as Hugging Face's `datasets` reads and writes them.

    root/data/train-00000-of-00002.parquet    files SPLIT-NUMBER-of-COUNT are a split; in root, data/ or SPLIT/
    root/id2label.json                        names of the categories where the features of the columns say none

    image       struct {bytes, path}          image files as they are
    objects     list of structs               category (ClassLabel), bbox x y width height, area, iscrowd, segmentation …
    semantic    struct {bytes, path}          a PNG of category numbers

Traps: objects may be a struct of lists; boxes may be corners; label maps carry no names; `path` may be absolute, of another
machine; a file is one compressed stream, so rows are read forwards, some at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, InvalidImage, NotThere, SegdataError, UsageError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.parquet import files, rows, tables
from segdata.formats.parquet.columns import Columns, of_schema
from segdata.formats.shared import label_tables
from segdata.formats.shared.folder import IMAGE_ENDINGS, image_ending, is_file, stem

LAYOUT = "*.parquet with a column of images (Parquet)"

_NAMES = "id2label.json"
_LOOKED_AT = 1000
"""Rows whose boxes are looked at, to tell corners from sizes."""

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder, or one below it, holds Parquet files."""
    return root.is_dir() and bool(files.listed(root))


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every row of every file; of the files, only names and keys are read."""
    if options.images_dir:
        raise UsageError("--images-dir has no place here", why="Parquet files hold the images")
    splits = files.listed(root)
    if not splits:
        raise NotThere("there are no Parquet files", file=root, why=f"looked for {LAYOUT}")
    names = [name for members in splits.values() for name in members]
    schema, columns = _schema(root, names, findings)
    space = labels or _labels(root, names, schema, columns, options)
    entries: list[Entry] = []
    members: dict[str, list[int]] = {}
    for split, parts in splits.items():
        first = len(entries)
        for name in parts:
            entries += _entries(root, name, columns)
        members[split] = list(range(first, len(entries)))
        entries[first:] = _distinct(entries[first:], findings)
    by_position = labels is None and (bool(columns.categories) or tables.labels_of(schema) is not None)
    numbers = rows.Numbers.of(space, by_position=by_position)
    return Source(
        root=root,
        layout="Parquet",
        labels=space,
        entries=entries,
        splits=members,
        documents=[tables.document(schema, columns, splits)],
        annotation_files=[*names, *([_NAMES] if is_file(root / _NAMES) else [])],
        data=(columns, numbers),
    )


def _schema(root: Path, names: Sequence[str], findings: Findings) -> tuple[Any, Columns]:
    """The schema of all files, and its columns."""
    schema = files.opened(root, names[0]).schema_arrow
    for name in names[1:]:
        other = files.opened(root, name).schema_arrow
        if not schema.equals(other):
            raise InvalidAnnotation(
                "files of one dataset have different columns",
                file=root / name,
                why=f"{names[0]} has {', '.join(map(str, schema))}; this one {', '.join(map(str, other))}"[:400],
                fix="convert them one by one, in folders of their own",
            )
    columns = of_schema(schema, root / names[0])
    if columns.fields.get("bbox") and _has_corners(root, names, columns):
        findings.remark("boxes are x0, y0, x1, y1: read as corners", names[0])
        columns = replace(columns, has_corners=True)
    return schema, columns


def _has_corners(root: Path, names: Sequence[str], columns: Columns) -> bool:
    """Whether boxes can only be corners: by their areas, or because widths would leave the images."""
    sizes = [columns.width, columns.height] if columns.width and columns.height else []
    area, box = columns.fields.get("area", ""), columns.fields["bbox"]
    fits = {"corners": True, "sizes": True}
    for row in _first(files.column(root, names[0], [columns.objects, *sizes])):
        width, height = (row[name] or 0 for name in sizes) if sizes else (0, 0)
        for item in columns.records(row[columns.objects]):
            if not isinstance(item.get(box), list) or len(item[box]) != 4 or None in item[box]:
                continue
            x0, y0, x1, y1 = item[box]
            fits["corners"] &= x1 >= x0 and y1 >= y0
            if sizes:
                fits["sizes"] &= x0 + x1 <= width + 1 and y0 + y1 <= height + 1
            if item.get(area):
                is_area = {"corners": (x1 - x0) * (y1 - y0), "sizes": x1 * y1}
                if not columns.fields.get("segmentation"):
                    fits = {way: fits[way] and abs(is_area[way] - item[area]) <= 0.01 * item[area] + 1 for way in fits}
    return fits["corners"] and not fits["sizes"]


def _first(values: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for _, value in zip(range(_LOOKED_AT), values, strict=False):
        yield value


def _labels(root: Path, names: Sequence[str], schema: Any, columns: Columns, options: ReadOptions) -> LabelSpace:
    """The categories: what segdata wrote, names of the features, a table beside the files, or what the objects name."""
    written = tables.labels_of(schema)
    if written is not None:
        return written
    if columns.categories:
        return LabelSpace("custom", tuple(Category(name, index) for index, name in enumerate(columns.categories)))
    if is_file(root / _NAMES):
        return label_tables.from_file(root / _NAMES)
    table = label_tables.in_folder(root)
    if table is not None:
        return table.label_space()
    category = columns.fields.get("category", "")
    if options.classes_from_data and category:
        values: set[Any] = {
            item.get(category)
            for name in names
            for row in files.column(root, name, [columns.objects])
            for item in columns.records(row[columns.objects])
        } - {None}
        if all(isinstance(value, str) for value in values):
            return LabelSpace("custom", tuple(Category(name, index) for index, name in enumerate(sorted(values))))
        return LabelSpace("custom", tuple(Category(str(value), int(value)) for value in sorted(values)))
    if not columns.semantic and not columns.objects:
        return LabelSpace("custom", ())
    raise InvalidAnnotation(
        "nothing says what the categories are",
        file=root / names[0],
        why=f"neither the features of the columns nor {_NAMES} name them",
        fix="name them with --classes FILE|NAMES" + (", or take the numbers: --classes from-data" if category else ""),
    )


def _entries(root: Path, name: str, columns: Columns) -> list[Entry]:
    file = files.opened(root, name)
    count = file.metadata.num_rows
    each = max(1, (root / name).stat().st_size // max(count, 1))
    wanted = columns.key or f"{columns.image}.path"
    try:
        keys = [_key(row, columns) for row in files.column(root, name, [wanted])]
    except (KeyError, InvalidAnnotation):
        keys = [""] * count
    keys += [""] * (count - len(keys))
    ending = _ending(root, name, columns) if count else ""
    return [
        Entry(key, key if _is_named(key) else key + ending, each, (name, index), embedded=True)
        for index, key in enumerate(keys)
    ]


def _is_named(key: str) -> bool:
    """Whether a key is the name of an image file."""
    return key.lower().endswith(IMAGE_ENDINGS)


def _ending(root: Path, name: str, columns: Columns) -> str:
    """The ending of image files as the first row's image has it, for images without file name."""
    try:
        codec = images.probe(_image(files.row(root, name, 0)[columns.image])).codec
    except SegdataError:  # what is wrong with it is said when it is loaded
        return ".jpg"
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(codec, f".{codec}")


def _key(row: Mapping[str, Any], columns: Columns) -> str:
    if columns.key:
        return tables.plain_name(row[columns.key])
    cell = row.get(columns.image)
    return tables.plain_name(cell.get("path")) if isinstance(cell, dict) else ""


def _distinct(entries: Sequence[Entry], findings: Findings) -> list[Entry]:
    """The entries of a split with keys of their own: names where all differ, else numbers of rows."""
    keys = [stem(entry.key) if _is_named(entry.key) else entry.key for entry in entries]
    if len({*keys}) == len(keys) and all(keys):
        return [replace(entry, key=key) for entry, key in zip(entries, keys, strict=True)]
    if any(keys):
        findings.remark("names of images are not all different: images are numbered", entries[0].data[0])
    return [
        replace(entry, key=f"{number:09d}", file=f"{number:09d}{image_ending(entry.file)}")
        for number, entry in enumerate(entries)
    ]


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One row."""
    columns, numbers = source.data
    name, index = entry.data
    located = {"file": source.root / name, "key": entry.key}
    row = files.row(source.root, name, index)
    try:
        encoded = _image(row[columns.image])
        header = images.probe(encoded, max_pixels=source.options.max_pixels)
        size = (header.height, header.width)
        semantic = row[columns.semantic] if columns.semantic else None
        if semantic is not None:
            semantic = rows.label_map(_image(semantic), numbers, size, source.options.max_pixels)
        objects = row[columns.objects] if columns.objects else None
        instances = None if objects is None else rows.instances(columns, objects, numbers, size, findings, located)
    except SegdataError as error:
        raise error.located(place=f"row {index}", **located) from error
    number = row[columns.id] if columns.id else None
    sample = Sample(
        entry.key,
        *size,
        file=entry.file,
        id=number if type(number) is int and number >= 0 else -1,
        encoded=encoded,
        instances=instances,
        semantic=semantic,
    )
    again = tables.row(sample, columns, numbers)
    extra = _extra(row, again, columns, entry.key, findings)
    return sample.with_annotations(instances=instances, semantic=semantic, extra=extra)


def _image(cell: Any) -> bytes:
    """The bytes of an image's cell."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        path = cell.get("path") if isinstance(cell, dict) else None
        raise InvalidImage(
            "the table does not hold the image",
            why=f"it refers to {path!r}" if path else "its bytes are absent",
            fix="write it again with the images in it: Dataset.to_parquet, or push_to_hub(embed_external_files=True)",
        )
    return data


def _extra(
    row: Mapping[str, Any], again: Mapping[str, Any], columns: Columns, key: str, findings: Findings
) -> dict[str, Any] | None:
    """Further columns of a row, and below "parquet" what `again`, made of the sample, does not give back."""
    pictures = {columns.image, columns.semantic}
    known = {columns.objects, columns.key, columns.id, columns.width, columns.height}
    kept, others = rows.further(row, [name for name in row if name not in pictures | known])
    differs = {name: row[name] for name in row if name in known and row[name] != again.get(name)}
    verbatim, unlike = rows.further(differs, list(differs))
    for name in (*others, *unlike):
        findings.remark(f"column {name!r} is not kept: its values are no JSON", key)
    absent = [name for name in differs if differs[name] is None]
    paths = {name: row[name]["path"] for name in row if name in pictures and isinstance(row[name], dict)}
    paths = {name: path for name, path in paths.items() if path != again.get(name, {}).get("path")}
    residue = {"row": {**verbatim, **dict.fromkeys(absent)}, "paths": paths}
    residue = {name: value for name, value in residue.items() if value}
    return {**kept, "parquet": residue} if residue else kept or None


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write the rows of some samples, a file for each of their splits."""
    return tables.write(samples, root, header, number)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Give the files of all parts their names, and write the table of labels as it was."""
    tables.finish(receipts, root, header)
