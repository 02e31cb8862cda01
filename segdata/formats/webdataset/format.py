"""WebDataset: tar files of samples, as its `WebDataset("train-{000000..000003}.tar")` streams them.

    root/train-000000.tar        a tar a shard; the name up to the number is the split
        KEY.jpg                  image file, unchanged
        KEY.json                 {"key", "image_id", "width", "height", "objects": [{"category", "bbox", "segmentation", …}]}
        KEY.seg.png              label map: positions of the categories in labels.json, 255 (or 65535) is void
    root/labels.json             {"name", "categories": [{"name", "id", "color", …}]}

Objects are as in Parquet tables (`category` is a position, `segmentation` COCO's compressed run lengths).

Traps: a key ends at the first dot of a name; files of a sample follow each other; readers stream, so nothing is an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, NotThere, SegdataError, UsageError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.parquet import rows
from segdata.formats.parquet.tables import COLUMNS, FIELDS, PARTS, first_splits, name_parts, part_file
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import IMAGE_ENDINGS, folders_in, is_file, names_in, read_bytes, write_file
from segdata.formats.webdataset import tars
from segdata.system.files import disk_errors

LAYOUT = "*.tar with KEY.json or KEY.seg.png beside images, and labels.json (WebDataset)"

TABLE = "labels.json"
_DOCUMENT, _MAP = "json", "seg.png"
_NUMBERED = re.compile(r"(.*?)[-_]?\d+")

# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder has tar files whose first sample has annotations."""
    files = [name for names in _files(root).values() for name in names] if root.is_dir() else []
    if not files:
        return False
    try:
        first = next(tars.samples(root, files[0]), None)
    except SegdataError:
        return False
    return first is not None and bool(_ending(first)) and bool({_DOCUMENT, _MAP} & first.parts.keys())


def _files(root: Path) -> dict[str, list[str]]:
    """Split → its tar files."""
    splits: dict[str, list[str]] = {}
    for folder in ("", *folders_in(root)):
        for name in names_in(root / folder, ".tar"):
            numbered = _NUMBERED.fullmatch(name[: -len(".tar")])
            split = (numbered[1] if numbered else name[: -len(".tar")]) or folder or "all"
            splits.setdefault(split, []).append(f"{folder}/{name}" if folder else name)
    return splits


def _ending(sample: tars.Members) -> str:
    """The ending of a sample's image, "" where it has none."""
    return next((ending for ending in sample.parts if f".{ending}" in IMAGE_ENDINGS), "")


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every sample of every tar file; of their members, only the headers are read."""
    if options.images_dir:
        raise UsageError("--images-dir has no place here", why="tar files hold the images")
    files = _files(root)
    if not files:
        raise NotThere("there are no tar files", file=root, why=f"looked for {LAYOUT}")
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    for split, names in files.items():
        keys: dict[str, str] = {}
        for name in names:
            for sample in tars.samples(root, name):
                ending = _ending(sample)
                if not ending:
                    findings.skip(InvalidAnnotation("a sample has no image", file=root / name, key=sample.key))
                    continue
                if sample.key in keys:
                    raise InvalidAnnotation(
                        "a key is in two tar files of a split",
                        file=root / name,
                        key=sample.key,
                        why=f"and in {keys[sample.key]}",
                    )
                keys[sample.key] = name
                splits.setdefault(split, []).append(len(entries))
                size = sum(length for _, length in sample.parts.values())
                entries.append(Entry(sample.key, f"{sample.key}.{ending}", size, (name, sample.parts), embedded=True))
    space, document = (labels, None) if labels is not None else _labels(root)
    return Source(
        root=root,
        layout="WebDataset",
        labels=space,
        entries=entries,
        splits=splits,
        documents=[{"format": "webdataset", "file": TABLE, "text": document, "files": files}],
        annotation_files=[*(name for names in files.values() for name in names), *([TABLE] if document else [])],
        data=rows.Numbers.of(space, by_position=labels is None),
    )


def _labels(root: Path) -> tuple[LabelSpace, str | None]:
    """The label space beside the tar files, and its text."""
    if not is_file(root / TABLE):
        raise InvalidAnnotation(
            "nothing says what the categories are",
            file=root,
            why=f"there is no {TABLE} beside the tar files",
            fix="name them with --classes FILE|NAMES",
        )
    content = read_bytes(root, TABLE, "the dataset")
    try:
        space = LabelSpace.from_dict(json_text.decode(content, dict[str, Any], root / TABLE))
        return space, content.decode()
    except (SegdataError, UnicodeDecodeError) as error:
        raise InvalidAnnotation("the table of labels is not valid", file=root / TABLE, why=str(error)[:200]) from error


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One sample."""
    name, parts = entry.data
    located = {"file": source.root / name, "key": entry.key}
    ending = entry.file.rpartition("/")[2].partition(".")[2]
    try:
        encoded = tars.read(source.root, name, parts[ending])
        header = images.probe(encoded, max_pixels=source.options.max_pixels)
        size = (header.height, header.width)
        semantic = None
        if _MAP in parts:
            data = tars.read(source.root, name, parts[_MAP])
            semantic = rows.label_map(data, source.data, size, source.options.max_pixels)
        document: dict[str, Any] = {}
        if _DOCUMENT in parts:
            content = tars.read(source.root, name, parts[_DOCUMENT])
            document = json_text.decode(content, dict[str, Any], source.root / name)
        objects = document.get(COLUMNS.objects)
        if objects is not None and not (isinstance(objects, list) and all(isinstance(item, dict) for item in objects)):
            raise InvalidAnnotation(f"{COLUMNS.objects!r} is no list of objects", why=f"found {objects!r}"[:200])
        instances = None if objects is None else rows.instances(COLUMNS, objects, source.data, size, findings, located)
    except SegdataError as error:
        raise error.located(**located) from error
    number = document.get(COLUMNS.id)
    sample = Sample(
        entry.key,
        *size,
        file=entry.file,
        id=number if type(number) is int and 0 <= number < 1 << 63 else -1,
        encoded=encoded,
        instances=instances,
        semantic=semantic,
    )
    again = _document_of(sample, source.data)
    extra = {key: value for key, value in document.items() if key not in again and key != "webdataset"}
    verbatim = {
        key: value for key, value in document.items() if key == "webdataset" or (key in again and again[key] != value)
    }
    residue: dict[str, Any] = {"document": verbatim} if verbatim else {}
    absent = [key for key in again if key not in document]
    if absent:
        residue["absent"] = absent
    others = sorted(set(parts) - {ending, _MAP, _DOCUMENT})
    for other in others:
        findings.remark(f"files .{other} of samples are not read", entry.key)
    return sample.with_annotations(
        instances=instances, semantic=semantic, extra={**extra, "webdataset": residue} if residue else extra or None
    )


def _document_of(sample: Sample, numbers: rows.Numbers) -> dict[str, Any]:
    """The JSON document of a sample from its columns alone."""
    document: dict[str, Any] = {"key": sample.key, "width": sample.width, "height": sample.height}
    if sample.id >= 0:
        document[COLUMNS.id] = sample.id
    if sample.has_instances:
        items = rows.objects(COLUMNS, sample, numbers)
        plain = [{key: value for key, value in item.items() if value is not None} for item in items]
        document[COLUMNS.objects] = [
            {**item, **{key: value for key, value in extra.items() if key not in FIELDS}}
            for item, extra in zip(plain, sample.instances.extra, strict=True)
        ]
    return document


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write some samples into a tar file for each of their splits."""
    numbers = rows.Numbers.of(header.labels, by_position=True)
    split_of = first_splits(header)
    order = list(header.splits)
    writers: dict[str, tars.Writer] = {}
    counts: dict[str, int] = {}
    with disk_errors(root):
        (root / PARTS).mkdir(exist_ok=True)
        for index, sample in samples:
            split = split_of[index]
            if split not in writers:
                writers[split] = tars.Writer(part_file(root / PARTS, order.index(split), number, ".tar"))
            writers[split].add(sample.key, _parts(sample, numbers))
            counts[split] = counts.get(split, 0) + 1
        for writer in writers.values():
            writer.close()
    return {"number": number, "splits": counts}


def _parts(sample: Sample, numbers: rows.Numbers) -> dict[str, bytes]:
    """The files of a sample: ending → bytes."""
    parts: dict[str, bytes] = {}
    encoded = sample.encoded
    if encoded is not None:
        parts[sample.file.rpartition("/")[2].partition(".")[2] or "jpg"] = encoded
    residue = sample.extra.get("webdataset", {})
    document = {**_document_of(sample, numbers), **residue.get("document", {})}
    document |= {key: value for key, value in sample.extra.items() if key != "webdataset"}
    document = {key: value for key, value in document.items() if key not in residue.get("absent", ())}
    if document:
        parts[_DOCUMENT] = json_text.encode(document)
    if sample.semantic is not None:
        parts[_MAP] = rows.map_png(sample.semantic, numbers)
    return parts


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Give the tar files of all parts their names, and write the table of labels."""
    about = next((item for item in header.documents if item.get("format") == "webdataset"), {})
    name_parts(
        receipts, root, header.splits, about.get("files", {}), lambda split, number, _: f"{split}-{number:06d}.tar"
    )
    text = about.get("text")
    write_file(root, TABLE, text.encode() if text else json_text.encode(header.labels.as_dict()))
