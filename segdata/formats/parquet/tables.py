"""Parquet tables written: the rows of samples in a schema, a file for each part, named in the end."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import SegdataError
from segdata.formats.contract import Header
from segdata.formats.parquet import rows
from segdata.formats.parquet.columns import FLAGS, Columns
from segdata.formats.parquet.files import arrow
from segdata.system.files import disk_errors, inside

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 100
"""Rows of a row group: what `datasets` writes of images."""

PARTS = ".parts"
"""The folder of unfinished files."""

_LABELS = b"segdata"
"""The key of the label space in the schema's metadata."""

FIELDS = {role: role for role in ("id", "category", "bbox", "area", "iscrowd", *FLAGS, "score", "segmentation")}
COLUMNS = Columns(
    "image",
    "semantic",
    "objects",
    key="key",
    id="image_id",
    width="width",
    height="height",
    fields=FIELDS,
    names=tuple(FIELDS),
    booleans=FLAGS,
)
"""The columns of tables that segdata writes of other formats."""

KEPT = {
    *("crowd flags", "difficult flags", "truncated flags", "occluded flags", "scores", "areas as annotated"),
    *("boxes as annotated", "objects without mask", "objects with empty masks", "image ids", "object ids"),
}
"""What these columns hold of the columns of objects."""


def schema(labels: LabelSpace) -> pa.Schema:
    """The schema of such tables, with features for `datasets` of any version and the whole label space."""
    pa, _ = arrow()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {
        "id": pa.int64(),
        "category": pa.int64(),
        "bbox": pa.list_(pa.float64(), 4),
        "area": pa.float64(),
        "iscrowd": pa.int64(),
        **dict.fromkeys(FLAGS, pa.bool_()),
        "score": pa.float64(),
        "segmentation": pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())]),
    }
    columns = {
        "image": image,
        "key": pa.string(),
        "image_id": pa.int64(),
        "width": pa.int64(),
        "height": pa.int64(),
        "objects": pa.list_(pa.struct([(name, kinds[name]) for name in FIELDS])),
        "semantic": image,
    }
    names = {"names": [category.name for category in labels.categories], "_type": "ClassLabel"}
    features = {
        "image": {"_type": "Image"},
        **{name: _value(columns[name]) for name in ("key", "image_id", "width", "height")},
        "objects": [
            {
                **{name: _value(kinds[name]) for name in FIELDS},
                "category": names,
                "bbox": {"feature": _value(pa.float64()), "length": 4, "_type": "Sequence"},
                "segmentation": {
                    "size": {"feature": _value(pa.int32()), "length": 2, "_type": "Sequence"},
                    "counts": _value(pa.string()),
                },
            }
        ],
        "semantic": {"_type": "Image"},
    }
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        _LABELS: json.dumps({"labels": labels.as_dict()}).encode(),
    }
    return pa.schema(list(columns.items()), metadata)


def _value(kind: pa.DataType) -> dict[str, str]:
    name = {"double": "float64"}.get(str(kind), str(kind))
    return {"dtype": name, "_type": "Value"}


def labels_of(schema: pa.Schema) -> LabelSpace | None:
    """The label space that segdata wrote into a schema; None where it did not."""
    try:
        return LabelSpace.from_dict(json.loads((schema.metadata or {})[_LABELS])["labels"])
    except (KeyError, ValueError, TypeError, RecursionError, SegdataError):
        return None


def document(schema: pa.Schema, columns: Columns, files: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a pack keeps of the tables: their schema, what its columns mean, and the names of the files by split."""
    return {
        "format": "parquet",
        "file": next((name for names in files.values() for name in names), "data/train-00000-of-00001.parquet"),
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        "columns": columns.as_dict(),
        "files": {split: list(names) for split, names in files.items()},
        "by_position": bool(columns.categories) or labels_of(schema) is not None,
    }


def holds_run_lengths(document: Mapping[str, Any], objects: str, segmentation: str) -> bool:
    """Whether tables of a document, as a pack keeps it, have run lengths of objects, and not outlines.

    Args:
        objects, segmentation: names of the column, and of the field in it.
    """
    pa, _ = arrow()
    kind = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(document["schema"]))).field(objects).type
    while not pa.types.is_struct(kind):
        kind = kind.value_type
    return "counts" in str(kind.field(segmentation).type)


def plain_name(path: object) -> str:
    """A path under the dataset's root from what a table says: the last part of one that leads elsewhere."""
    text = path if isinstance(path, str) else ""
    parts = text.replace("\\", "/").split("/")
    is_inside = bool(text) and not text.startswith("/") and ":" not in parts[0] and ".." not in parts
    return "/".join(part for part in parts if part not in ("", ".")) if is_inside else parts[-1]


def row(sample: Sample, columns: Columns, numbers: rows.Numbers) -> dict[str, Any]:
    """The columns of a sample's row but for the bytes of image and label map."""
    cells = {
        columns.image: {"bytes": None, "path": sample.file},
        columns.key: sample.key,
        columns.id: sample.id if sample.id >= 0 else None,
        columns.width: sample.width,
        columns.height: sample.height,
    }
    if columns.objects and sample.has_instances:
        cells[columns.objects] = rows.objects(columns, sample, numbers)
    return {name: value for name, value in cells.items() if name}


# ---------------------------------------------------------------------- write


def write(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write the rows of some samples into a file for each split; returns how many each has."""
    pa, parquet = arrow()
    about = next(item for item in header.documents if item.get("format") == "parquet")
    kind = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["schema"])))
    columns = Columns(**about["columns"])
    numbers = rows.Numbers.of(header.labels, by_position=about["by_position"])
    split_of = first_splits(header)
    folder = root / PARTS
    writers: dict[str, Any] = {}
    waiting: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int] = {}
    order = list(header.splits)
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
        for index, sample in samples:
            split = split_of[index]
            if split not in writers:
                path = part_file(folder, order.index(split), number, ".parquet")
                writers[split] = parquet.ParquetWriter(path, kind, compression=_compression(kind, columns))
            waiting.setdefault(split, []).append(_whole_row(sample, kind, columns, numbers))
            counts[split] = counts.get(split, 0) + 1
            if len(waiting[split]) == ROWS:
                writers[split].write_table(pa.Table.from_pylist(waiting.pop(split), schema=kind))
        for split, rest in waiting.items():
            writers[split].write_table(pa.Table.from_pylist(rest, schema=kind))
        for writer in writers.values():
            writer.close()
    return {"number": number, "splits": counts}


def _compression(kind: pa.Schema, columns: Columns) -> dict[str, str]:
    """None for photos, which are compressed already."""
    image = columns.image if str(kind.field(columns.image).type).endswith("binary") else f"{columns.image}.bytes"
    leaves = [path for field in kind for path in _leaves(field.name, field.type)]
    return {path: "none" if path == image else "snappy" for path in leaves}


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Paths of the columns that a file stores of one field."""
    if kind.num_fields == 0:
        yield path
    for number in range(kind.num_fields):
        field = kind.field(number)
        is_list = "list" in str(kind).partition("<")[0]
        yield from _leaves(f"{path}.list.element" if is_list else f"{path}.{field.name}", field.type)


def _whole_row(sample: Sample, kind: pa.Schema, columns: Columns, numbers: rows.Numbers) -> dict[str, Any]:
    cells = row(sample, columns, numbers)
    residue = sample.extra.get("parquet", {})
    cells |= {name: value for name, value in sample.extra.items() if name in kind.names}
    cells |= residue.get("row", {})
    paths = residue.get("paths", {})
    cells[columns.image] = _cell(kind, columns.image, sample.encoded, paths.get(columns.image, sample.file))
    if columns.semantic and sample.semantic is not None:
        data = rows.map_png(sample.semantic, numbers)
        cells[columns.semantic] = _cell(kind, columns.semantic, data, paths.get(columns.semantic))
    return cells


def _cell(kind: pa.Schema, name: str, data: bytes | None, path: str | None) -> Any:
    """An image's cell in the way of its column."""
    return data if str(kind.field(name).type).endswith("binary") else {"bytes": data, "path": path}


def first_splits(header: Header) -> dict[int, str]:
    """Sample → the first split that it is in."""
    return {int(index): split for split, members in reversed(list(header.splits.items())) for index in members}


def part_file(folder: Path, split: int, number: int, ending: str) -> Path:
    """The file of a part's rows of a split, by the split's position, until `finish` names it."""
    return folder / f"{split:05d}-{number:05d}{ending}"


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Give the files their names: those of the source where there are as many, else SPLIT-NUMBER-of-COUNT in `data/`."""
    about = next(item for item in header.documents if item.get("format") == "parquet")

    def name(split: str, number: int, count: int) -> str:
        return f"data/{split}-{number:05d}-of-{count:05d}.parquet"

    name_parts(receipts, root, header.splits, about["files"], name)


def name_parts(
    receipts: Sequence[Mapping[str, Any]],
    root: Path,
    splits: Iterable[str],
    files: Mapping[str, Sequence[str]],
    name: Callable[[str, int, int], str],
) -> None:
    """Move the files of all parts to where they belong.

    Args:
        receipts: of every part its `number`, and of `splits` how many samples it has of each.
        files: names of the source's files by split; they stay where there are as many as parts.
        name: split, number and count → name of a file.
    """
    for order, split in enumerate(splits):
        numbers = [receipt["number"] for receipt in receipts if receipt["splits"].get(split)]
        names = files.get(split, [])
        if len(names) != len(numbers):
            names = [name(split, part, len(numbers)) for part in range(len(numbers))]
        for number, file in zip(numbers, names, strict=True):
            target = inside(root, file, "the dataset")
            with disk_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                part_file(root / PARTS, order, number, target.suffix).replace(target)
