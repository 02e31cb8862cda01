"""COCO panoptic: a JSON document and a folder of PNGs whose colours are segment ids.

    root/
        annotations/panoptic_val2017.json             images, annotations (one an image), categories
                    panoptic_val2017/000000000139.png segment id = R + 256 G + 65536 B, 0 is void
        val2017/000000000139.jpg                      or images/val2017/…

    {"image_id": 139, "file_name": "000000000139.png",
     "segments_info": [{"id": 3226956, "category_id": 1, "iscrowd": 0, "area": 2840, "bbox": [413, 158, 53, 138]}, …]}

Or one document on its own (`gt.json` with `gt/` beside it). The same, with or without images and categories, is the
form of predictions. Every segment becomes an instance, things and stuff alike; the label map is painted from them.

Traps: segment ids are unique within an image only; OpenCV reads colours the other way round; `color` was absent in early
releases; the document's `area` counts in the evaluation, not the PNG's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError, UnknownLayout
from segdata.formats.coco.categories import label_space
from segdata.formats.coco.documents import Document, candidates, kind_of, sample_of
from segdata.formats.coco.image_index import ImageIndex
from segdata.formats.coco_panoptic.predictions import read
from segdata.formats.coco_panoptic.segments import (
    check,
    encode,
    instances_of,
    label_map,
    read_png,
    records_of,
    remark,
)
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import names_in, stem, write_file, write_image
from segdata.system.files import checked_name, disk_errors, inside
from segdata.system.reading import open_file, read_file

LAYOUT = "annotations/panoptic_*.json with PNG folders (COCO panoptic)"

NAME = "coco-panoptic"

__all__ = ["LAYOUT", "detect", "finish", "load", "read", "scan", "write_part"]
_PEEK = 1 << 20


class _FileName(msgspec.Struct):
    file_name: str


_FILE_NAME = msgspec.json.Decoder(_FileName)


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether this is a panoptic document, or a folder whose documents are all panoptic."""
    if root.is_file():
        if root.suffix != ".json":
            return False
        with open_file(root) as file:
            head = file.read(_PEEK)
        return b'"segments_info"' in head or bool(
            head.lstrip().startswith(b"{") and root.name.startswith("panoptic") and _folder(root).is_dir()
        )
    kinds = [kind_of(name)[0] for _, name in candidates(root)]
    return "panoptic" in kinds and set(kinds) <= {"panoptic", "image_info"}


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Index every document: images in order, one annotation each; PNGs stay unread."""
    if root.is_file():
        paths, root = [root], root.parent
    else:
        paths = [folder / name for folder, name in candidates(root) if kind_of(name)[0] == "panoptic"]
    index = ImageIndex(root, options)
    for path in paths:
        document = _open(root, path)
        index.add(document, findings)
        _require_one_each(document)
    documents = index.documents
    if not documents:
        raise UnknownLayout("no panoptic document was found", file=root, why=f"looked for {LAYOUT}")
    folders = [_folder(Path(document.name)).as_posix() for document in documents]
    return Source(
        root=root,
        layout="COCO panoptic documents",
        labels=labels or label_space(documents, findings),
        entries=index.entries,
        splits=index.splits,
        documents=[
            {"format": NAME, "file": document.name, "split": document.split, "header": document.header}
            for document in documents
        ],
        annotation_files=[
            *(document.name for document in documents),
            *(
                f"{folder}/{name}"
                for folder, document in zip(folders, documents, strict=True)
                for name in sorted(_named(document).intersection(names_in(root / folder, ".png")))
            ),
        ],
        data=documents,
    )


def _open(root: Path, path: Path) -> Document:
    """Map a document and index it; everything inside stays unparsed."""
    view = json_text.map_file(path)
    top = json_text.decode(view, dict[str, msgspec.Raw], path)
    missing = [key for key in ("images", "annotations", "categories") if key not in top]
    if missing:
        raise InvalidAnnotation(
            f"the document has no {' and no '.join(map(repr, missing))}",
            file=path,
            place="$",
            why=f"it has {', '.join(map(repr, top)) or 'nothing'}"
            + (": it looks like predictions" if "annotations" in top else ""),
            fix="give the ground truth's document; predictions are evaluated against it",
        )
    kind, split = kind_of(path.name)
    name = path.relative_to(root).as_posix()
    return Document.of(path, name, ("panoptic", split if kind else stem(path.name)), top, view)


def _require_one_each(document: Document) -> None:
    counts = np.diff(document.by_image[1])
    if (counts > 1).any():
        image = int(np.flatnonzero(counts > 1)[0])
        raise InvalidAnnotation(
            "an image has several panoptic annotations",
            file=document.path,
            place=" and ".join(f"$.annotations[{position}]" for position in document.of_image(image)[:2]),
            fix="keep one annotation for every image",
        )


def _named(document: Document) -> set[str]:
    """The PNGs that a document's annotations name; records that cannot be read name none."""
    names: set[str] = set()
    for raw in document.annotations:
        with contextlib.suppress(*json_text.INVALID):
            names.add(_FILE_NAME.decode(raw).file_name)
    return names


def _folder(document: Path) -> Path:
    """Where a document's PNGs lie."""
    return document.with_suffix("")


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its segments."""
    documents: list[Document] = source.data
    (number, index), *others = entry.data
    document = documents[number]
    record, image = document.image_record(index), document.image(index)
    extra = {key: value for key, value in record.items() if key not in ("id", "file_name", "height", "width")}
    annotation, position = _annotation(document, index)
    for other_number, other_index in others:
        other = documents[other_number]
        if _annotation(other, other_index)[0] != annotation:
            raise InvalidAnnotation(
                "two documents annotate one image differently",
                file=other.path,
                key=entry.key,
                fix="convert the documents on their own",
            )
    if annotation is None:
        own_id = {NAME: {"id": record["id"]}} if record["id"] != image.id else {}
        return sample_of(source, entry, image, instances=None, extra=extra | own_id)
    name = _png_of(annotation, entry.key, document.path)
    segments = annotation["segments_info"]
    size = image.height, image.width
    try:
        check(segments, source.labels)
        png = read_png(source.root, f"{_folder(Path(document.name)).as_posix()}/{name}")
        instances = instances_of(png.values, segments, source.labels, size)
        remark(instances, entry.key, findings)
    except SegdataError as error:
        raise error.located(file=document.path, key=entry.key, place=f"$.annotations[{position}]") from error
    rest = {key: value for key, value in annotation.items() if key not in ("image_id", "file_name", "segments_info")}
    residue: dict[str, Any] = {
        **({"id": record["id"]} if record["id"] != image.id else {}),
        **({"png": name} if name != f"{entry.key}.png" else {}),
        **({"annotation": rest} if rest else {}),
        **({"place": position} if position != index else {}),
        **({"mode": png.mode} if png.mode != "RGB" else {}),
    }
    return sample_of(
        source,
        entry,
        image,
        instances=replace(instances, extra=_residues(segments, instances, source.labels)),
        semantic=label_map(instances, source.labels),
        extra={**extra, NAME: residue} if residue else extra,
    )


def _annotation(document: Document, index: int) -> tuple[dict[str, Any] | None, int]:
    """The annotation of a document's image, and its position in the list."""
    positions = document.of_image(index)
    if not positions:
        return None, -1
    return document.annotation_record(positions[0]), positions[0]


def _png_of(annotation: Mapping[str, Any], key: str, path: Path) -> str:
    name = annotation.get("file_name")
    if not isinstance(name, str) or not isinstance(annotation.get("segments_info"), list):
        raise InvalidAnnotation(
            "an annotation is not panoptic",
            file=path,
            key=key,
            why=f"it has {', '.join(map(repr, annotation))}; expected image_id, file_name and segments_info",
        )
    return checked_name(name, "the document").as_posix()


def _residues(segments: Sequence[Any], instances: Instances, labels: LabelSpace) -> list[dict[str, Any]]:
    """What the columns would not give back of each segment's record."""
    residues = []
    for record, again in zip(segments, records_of(instances, labels), strict=True):
        other = {
            key: value
            for key, value in record.items()
            if key not in again or again[key] != value or isinstance(value, bool)
        }
        absent = [key for key in again if key not in record]
        residue = {**({"verbatim": other} if other else {}), **({"absent": absent} if absent else {})}
        residues.append({NAME: residue} if residue else {})
    return residues


# ---------------------------------------------------------------------- write


class _Line(msgspec.Struct, array_like=True):
    """An image's records on their way into a document: the document, positions in its lists, JSON texts."""

    document: int
    image_position: int
    annotation_position: int
    image: msgspec.Raw
    annotation: msgspec.Raw


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write images and PNGs, and each sample's records into a part file that `finish` puts in order."""
    documents = _documents(header)
    position_of = [
        {int(index): position for position, index in enumerate(header.splits[document["split"]])}
        for document in documents
    ]
    lines = []
    for index, sample in samples:
        write_image(root, sample)
        image, annotation, png = _records(sample, header.labels)
        texts = [json_text.encode(record) for record in (image, annotation)]
        for document_number, document in enumerate(documents):
            position = position_of[document_number].get(index)
            if position is None:
                continue
            if png is not None and annotation is not None:
                folder = _folder(Path(document["file"])).as_posix()
                write_file(root, f"{folder}/{annotation['file_name']}", png)
            annotation_position = sample.extra.get(NAME, {}).get("place", position)
            lines.append(b"[%d,%d,%d,%b,%b]\n" % (document_number, position, annotation_position, *texts))
    write_file(root, f".parts/{number:05d}.lines", b"".join(lines))
    return {"part": f"{number:05d}"}


def _records(sample: Sample, labels: LabelSpace) -> tuple[dict[str, Any], dict[str, Any] | None, bytes | None]:
    """A sample's image record, its annotation and the PNG."""
    residue = sample.extra.get(NAME, {})
    ending = sample.file[len(stem(sample.file)) :]
    image = {
        **{key: value for key, value in sample.extra.items() if key != NAME},
        "id": residue.get("id", sample.id),
        "file_name": sample.key + ending,
        "height": sample.height,
        "width": sample.width,
    }
    if not sample.has_instances:
        return image, None, None
    instances = sample.instances
    segments = []
    for record, extra in zip(records_of(instances, labels), instances.extra, strict=True):
        segment_residue = extra.get(NAME, {})
        record.update(segment_residue.get("verbatim", {}))
        absent = segment_residue.get("absent", ())
        segments.append({key: value for key, value in record.items() if key not in absent})
    annotation = {
        "image_id": image["id"],
        "file_name": residue.get("png", f"{sample.key}.png"),
        "segments_info": segments,
        **residue.get("annotation", {}),
    }
    return image, annotation, encode(instances, opaque=residue.get("mode") == "RGBA")


def _documents(header: Header) -> list[Mapping[str, Any]]:
    return [
        document
        for document in header.documents
        if document.get("format") == NAME and document["split"] in header.splits
    ]


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the records of all parts into their documents, in the source's order."""
    lines: list[_Line] = []
    for receipt in receipts:
        text = read_file(root / ".parts" / f"{receipt['part']}.lines")
        lines += [msgspec.json.decode(row, type=_Line) for row in text.splitlines()]
    for number, document in enumerate(_documents(header)):
        chosen = [line for line in lines if line.document == number]
        by_image = sorted(chosen, key=lambda line: line.image_position)
        by_annotation = sorted(chosen, key=lambda line: line.annotation_position)
        annotations = [bytes(line.annotation) for line in by_annotation]
        texts = {
            "images": [bytes(line.image) for line in by_image],
            "annotations": [annotation for annotation in annotations if annotation != b"null"],
        }
        path = inside(root, document["file"], "the pack")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                separator = b"{"
                for key, value in document["header"].items():
                    file.write(separator + json_text.encode(key) + b":" + json_text.encode(value))
                    separator = b",\n"
                for key, records in texts.items():
                    file.write(separator + b'"%b":[\n' % key.encode() + b",\n".join(records) + b"]")
                    separator = b",\n"
                file.write(b"}\n")
