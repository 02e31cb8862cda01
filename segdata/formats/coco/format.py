"""COCO: JSON documents beside folders of images.

    root/
        annotations/instances_val2017.json            objects: polygons, run lengths for crowds, boxes
                    person_keypoints_val2017.json     carried along: what the instances do not say
                    captions_val2017.json             carried along
        val2017/000000397133.jpg                      or images/val2017/…, images/…, or beside the JSON

A *document* is one JSON file; its split is the part of the name after the kind. For each split the first of
instances, person_keypoints, captions, image_info gives the samples; the others are carried per image.

Traps: file names come from `file_name`, never from the id; ids have gaps and exceed 2³¹; `segmentation` is a list of
rings, a list of runs or a compressed string whatever `iscrowd` says; `area` and crowd boxes follow no raster; info and
licences may be absent; two official boxes have no height; annotations of one image are scattered over the list.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError, UnknownLayout
from segdata.formats.coco import batch_reader
from segdata.formats.coco.annotations import instances_of, records_of, remarks_of, with_residue, with_residues
from segdata.formats.coco.categories import declared, label_space, records_of_space
from segdata.formats.coco.corrections import BOX_FROM_MASK, boxes_from_masks, corrected
from segdata.formats.coco.documents import (
    KINDS,
    NOT_READ,
    Document,
    candidates,
    in_words,
    kind_of,
    looks_like_coco,
    open_document,
    sample_of,
    split_of,
)
from segdata.formats.coco.image_index import ImageIndex
from segdata.formats.coco.rules import check
from segdata.formats.contract import RESIDUES, Entry, Header, ReadOptions, Source
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import stem, write_file, write_image
from segdata.system.files import disk_errors, inside
from segdata.system.reading import open_file

LAYOUT = "annotations/instances_*.json (COCO)"

_COLUMNS = ("id", "file_name", "height", "width")
_ABSENT = "\0absent"
"""Stands for a field that the source's record does not have."""

_OFFICIAL_SPLIT = re.compile(r"/((?:train|val|test|unlabeled)20\d\d)/")


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder holds COCO documents, or is one itself."""
    if root.is_file():
        return root.suffix == ".json"
    return any(kind_of(name)[0] in KINDS for _, name in candidates(root)) or any(
        looks_like_coco(folder / name) for folder, name in candidates(root)
    )


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Index every document: images in order, annotations by image; segmentations stay unparsed."""
    root, paths, not_coco = _files(root)
    passed_over: list[str] = []
    by_split = _by_split(root, paths, options, passed_over, findings)
    index = ImageIndex(root, options)
    for split, ranked in by_split.items():
        ranked.sort()
        if len(ranked) > 1 and ranked[-1][0] == KINDS.index("image_info"):
            passed_over.append(ranked.pop()[1].relative_to(root).as_posix())
            findings.remark("document not read: image_info", passed_over[-1])
        for _, path in ranked:
            try:
                document = open_document(root, path, split, findings, names_categories=labels is None)
            except InvalidAnnotation:
                if findings.strict or kind_of(path.name)[0] or len(paths) == 1:
                    raise
                not_coco.append(path)
                continue
            index.add(document, findings)
    documents = index.documents
    for path in not_coco:
        passed_over.append(path.relative_to(root).as_posix())
        findings.remark("file not read: no COCO document", passed_over[-1])
    if not documents:
        raise UnknownLayout(
            "no COCO document was found",
            file=root,
            why=f"looked for {', '.join(f'annotations/{kind}_*.json' for kind in KINDS)}",
        )
    return Source(
        root=root,
        layout="COCO documents",
        labels=label_space(documents, findings) if labels is None else declared(documents, labels, findings),
        entries=index.entries,
        splits=index.splits,
        documents=[
            {
                "format": "coco",
                "file": document.name,
                "kind": document.kind,
                "split": document.split,
                "header": document.header,
            }
            for document in documents
        ],
        annotation_files=[document.name for document in documents],
        passed_over=passed_over,
        may_be_empty=True,
        expects_annotations=any(document.kind in ("instances", "person_keypoints") for document in documents),
        data=documents,
    )


def _by_split(
    root: Path, paths: Sequence[Path], options: ReadOptions, passed_over: list[str], findings: Findings
) -> dict[str, list[tuple[int, Path]]]:
    """Split → the documents that are read of it, each with the rank of its kind; the others are added to `passed_over`."""
    by_split: dict[str, list[tuple[int, Path]]] = {}
    is_asked = any(split_of(path, root)[1] in options.splits for path in paths)
    for path in paths:
        kind, split = split_of(path, root)
        name = path.relative_to(root).as_posix()
        if is_asked and split not in options.splits:
            passed_over.append(name)
        elif not _is_read(kind, paths):
            passed_over.append(name)
            findings.remark(f"document not read: {kind}", name)
        else:
            by_split.setdefault(split, []).append((KINDS.index(kind) if kind in KINDS else 0, path))
    return by_split


def inspect(root: Path, findings: Findings) -> None:
    """Look for keys that occur twice in one object: readers keep one of them and never say so."""
    _, paths, _ = _files(root)
    for path in paths:
        if not _is_read(kind_of(path.name)[0], paths):
            continue
        text = json_text.map_file(path)
        top = json_text.decode(text, dict[str, msgspec.Raw], path)
        repeated = [("$", key) for key in json_text.repeated_at_top(text, top)]
        for name, value in top.items():
            if name not in ("images", "annotations"):
                repeated += [(f"$.{name}", key) for key in json_text.repeated_keys(value)]
                continue
            for position, raw in enumerate(json_text.decode(value, list[msgspec.Raw], path)):
                repeated += [(f"$.{name}[{position}]", key) for key in json_text.repeated_keys(raw)]
        for json_path, key in repeated:
            findings.skip(json_text.key_twice(path, json_path, key))


def _files(root: Path) -> tuple[Path, list[Path], list[Path]]:
    """The dataset's folder, its documents, and other JSON files, where `root` is the folder or one of the files."""
    if root.is_file():
        return root.parent.parent if root.parent.name == "annotations" else root.parent, [root], []
    files = [folder / name for folder, name in candidates(root)]
    documents = [path for path in files if kind_of(path.name)[0] or looks_like_coco(path)]
    return root, documents, [path for path in files if path not in documents]


def _is_read(kind: str, paths: Sequence[Path]) -> bool:
    """Whether a document of this kind is read: panoptic ones never, those of stuff where there are no others."""
    has_others = any(kind_of(path.name)[0] not in NOT_READ for path in paths)
    return kind not in NOT_READ or (kind != "panoptic" and not has_others)


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image of the documents with its objects, captions and what its other documents say."""
    documents: list[Document] = source.data
    (number, index), *others = entry.data
    document = documents[number]
    record, image = document.image_record(index), document.image(index)
    size = image.height, image.width
    reserved = _reserved()
    extra: dict[str, Any] = {key: value for key, value in record.items() if key not in (*_COLUMNS, *reserved)}
    taken = {key: record[key] for key in reserved if key in record}
    if index in document.corrected or index in document.files:
        taken |= {name: record.get(name, _ABSENT) for name in _COLUMNS if record.get(name) != getattr(image, name)}
    residue: dict[str, Any] = {"fields": taken} if taken else {}
    carried: dict[str, Any] = {}
    _remark_other_split(record, document, entry, findings)
    instances = None
    if document.kind in ("instances", "person_keypoints"):
        instances = _instances(source, document, index, size, entry, findings)
    elif document.kind == "captions":
        carried[document.name] = _carry(document, index, None, extra)
    for other_number, other_index in others:
        other = documents[other_number]
        carried[other.name] = _carry(other, other_index, record, extra)
        if other.kind == document.kind and _texts(other, other_index) == _texts(document, index):
            carried[other.name]["same"] = True
    if document is not next(first for first in documents if first.split == document.split):
        residue["own"] = [document.name, index]
    if carried:
        residue["documents"] = carried
    if residue:
        extra["coco"] = residue
    return sample_of(source, entry, image, instances=instances, extra=extra)


def _remark_other_split(record: Mapping[str, Any], document: Document, entry: Entry, findings: Findings) -> None:
    """Count an image whose `coco_url` is of another official split than the document."""
    official = _OFFICIAL_SPLIT.search(str(record.get("coco_url", "")))
    if not official or not _OFFICIAL_SPLIT.search(f"/{document.split}/"):
        return
    if official[1] != document.split and official[1][-4:] == document.split[-4:]:
        findings.remark(f"photo of {official[1]} by its coco_url", f"{document.name}: {entry.key}")


def _reserved() -> tuple[str, ...]:
    """Names that `Sample.extra` gives a meaning of its own: an image record's fields of these names are kept apart."""
    return (*RESIDUES, "captions")


def _texts(document: Document, index: int) -> list[bytes]:
    """The annotations of an image as they stand in the document."""
    return [bytes(document.annotations[position]) for position in document.of_image(index)]


def _carry(document: Document, index: int, image: Mapping[str, Any] | None, extra: dict[str, Any]) -> dict[str, Any]:
    """What a further document says about an image, verbatim: its position there, its record, its annotations.

    Args:
        image: the sample's image record; the further document's is kept where it differs.
        extra: gets the captions.
    """
    carried: dict[str, Any] = {"place": index}
    record = document.image_record(index)
    if image is not None and record != image:
        carried["image"] = record
    annotations = []
    for position in document.of_image(index):
        annotation = document.annotation_record(position)
        if document.kind == "captions" and isinstance(annotation.get("caption"), str):
            captions = extra.setdefault("captions", [])
            captions.append(annotation.pop("caption"))
            annotations.append([position, annotation, len(captions) - 1])
        else:
            annotations.append([position, annotation])
    carried["annotations"] = annotations
    return carried


def _instances(
    source: Source, document: Document, index: int, size: tuple[int, int], entry: Entry, findings: Findings
) -> Instances:
    order_of_image = document.of_image(index)
    is_renumbered = bool(document.category_ids) or not document.new_ids.keys().isdisjoint(order_of_image)
    regular = None if is_renumbered else _regular(document, index, source.labels)
    if regular is not None:
        for remark, number in regular.odd:
            findings.remark(remark, f"{document.name}: annotation {number}")
        return regular.instances
    records: list[dict[str, Any]] = []
    originals: list[dict[str, Any]] = []
    order: list[int] = []
    for position in order_of_image:
        json_path = f"$.annotations[{position}]"
        try:
            original = document.annotation_record(position)
        except SegdataError as error:
            findings.skip(error.located(key=entry.key, place=json_path))
            continue
        place = in_words(original.get("id"), json_path)
        try:
            record = _corrected(original, size, f"{document.name}: {place}", findings)
            record = record if position not in document.new_ids else {**record, "id": document.new_ids[position]}
            if type(record.get("category_id")) is int and record["category_id"] in document.category_ids:
                record = {**record, "category_id": document.category_ids[record["category_id"]]}
            check(record, source.labels, *size)
        except SegdataError as error:
            findings.skip(error.located(file=document.path, key=entry.key, place=place))
            continue
        records.append(record)
        originals.append(original)
        order.append(position)
    instances = instances_of(records, order, source.labels, *size)
    for number in () if findings.strict else boxes_from_masks(instances):
        findings.remark(BOX_FROM_MASK, f"{document.name}: {in_words(records[number].get('id'))}")
        records[number] = {**records[number], "bbox": instances.bbox[number].tolist()}
    for remark, identity in remarks_of(records, instances):
        findings.remark(remark, f"{document.name}: {in_words(identity)}")
    return with_residues(instances, originals, source.labels)


def _corrected(record: dict[str, Any], size: tuple[int, int], where: str, findings: Findings) -> dict[str, Any]:
    """A record as it is meant; under strict findings as it is."""
    if findings.strict:
        return record
    changed, kinds = corrected(record, *size)
    for kind in kinds:
        findings.remark(kind, where)
    return changed


def _regular(document: Document, index: int, labels: LabelSpace) -> batch_reader.Regular | None:
    """The instances of an image if its records are regular; its neighbours are read with it."""
    block, position = divmod(index, batch_reader.AT_ONCE)
    if document.block[0] != block:
        images = range(len(document.images))[block * batch_reader.AT_ONCE : (block + 1) * batch_reader.AT_ONCE]
        order = [document.of_image(image) for image in images]
        records = [[document.annotations[annotation] for annotation in annotations] for annotations in order]
        sizes = [(record.height, record.width) for record in map(document.image, images)]
        document.block = (block, batch_reader.read(records, order, sizes, labels))
    regular: list[batch_reader.Regular | None] = document.block[1]
    return regular[position]


# ---------------------------------------------------------------------- write


_LOCATION = struct.Struct("<qqqq")  # list of a document, position in the list, offset and length in the part file


class _Part:
    """The JSON records of some samples in one file, and a table of where in the documents each belongs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()
        self.locations: list[bytes] = []

    def put_image(self, document: int, position: int, record: Mapping[str, Any]) -> None:
        """Add a record of a document's `images`."""
        self._put(2 * document, position, record)

    def put_annotation(self, document: int, position: int, record: Mapping[str, Any]) -> None:
        """Add a record of a document's `annotations`."""
        self._put(2 * document + 1, position, record)

    def _put(self, target: int, position: int, record: Mapping[str, Any]) -> None:
        text = self._encoder.encode(record)
        self.locations.append(_LOCATION.pack(target, position, self._file.tell(), len(text)))
        self._file.write(text)


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write images, and each sample's JSON records into a part file that `finish` puts in order."""
    documents = _documents(header)
    number_of = {document["file"]: index for index, document in enumerate(documents)}
    members = [_positions(header, document) for document in documents]
    folder = root / ".parts"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder), (folder / f"{number:05d}").open("wb") as file:
        part = _Part(file)
        for index, sample in samples:
            write_image(root, sample)
            image = _image_record(sample)
            carried: Mapping[str, Any] = sample.extra.get("coco", {}).get("documents", {})
            document, position = _document_of(sample, index, documents, members)
            if document is not None:
                part.put_image(document, position, image)
                instances = sample.instances
                records = records_of(instances, header.labels)
                for record, extra, order in zip(records, instances.extra, instances.order.tolist(), strict=True):
                    part.put_annotation(document, order, {"image_id": image["id"], **with_residue(record, extra)})
            for name, item in carried.items():
                if name in number_of:
                    _put_carried(part, number_of[name], item, sample, image)
    write_file(root, f".parts/{number:05d}.places", b"".join(part.locations))
    return {"part": f"{number:05d}"}


def _put_carried(
    part: _Part, document: int, carried: Mapping[str, Any], sample: Sample, image: Mapping[str, Any]
) -> None:
    """Add what a further document says about an image."""
    part.put_image(document, carried["place"], carried.get("image", image))
    for position, annotation, *caption in carried["annotations"]:
        text = {"caption": sample.captions[caption[0]]} if caption else {}
        part.put_annotation(document, position, {**annotation, **text})


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the records of all parts into their documents, in the source's order."""
    folder = root / ".parts"
    tables = [np.fromfile(folder / f"{receipt['part']}.places", np.int64).reshape(-1, 4) for receipt in receipts]
    locations = np.concatenate([np.zeros((0, 4), np.int64), *tables])
    part_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    with contextlib.ExitStack() as stack:
        parts = [memoryview(stack.enter_context(open_file(folder / receipt["part"])).read()) for receipt in receipts]

        def records(target: int) -> Iterator[memoryview]:
            rows = np.nonzero(locations[:, 0] == target)[0]
            for row in rows[np.argsort(locations[rows, 1], kind="stable")].tolist():
                _, _, offset, length = locations[row].tolist()
                yield parts[part_of[row]][offset : offset + length]

        for number, document in enumerate(_documents(header)):
            path = inside(root, document["file"], "the pack")
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    _write_document(file, document["header"], records(2 * number), records(2 * number + 1))


def _write_document(
    file: IO[bytes], header: Mapping[str, Any], images: Iterable[memoryview], annotations: Iterable[memoryview]
) -> None:
    """Write a JSON document, a record a line; `annotations` is null in the header of a document without them."""
    separator = b"{"
    for key, value in header.items():
        if key != "annotations":
            file.write(separator + json_text.encode(key) + b":" + json_text.encode(value))
            separator = b",\n"
    for key, records in (("images", images), ("annotations", annotations)):
        if key in header:
            continue
        file.write(separator + b'"' + key.encode() + b'":[')
        separator = b"\n"
        for record in records:
            file.write(separator + record)
            separator = b",\n"
        file.write(b"]")
        separator = b",\n"
    file.write(b"}\n")


def _documents(header: Header) -> Sequence[Mapping[str, Any]]:
    """The source's documents, or one instances document a split for data that came from elsewhere."""
    documents = [document for document in header.documents if document.get("format") == "coco"]
    categories = records_of_space(header.labels)
    if documents:
        chosen = [document for document in documents if document["split"] in header.splits]
        if not categories or any(document["header"].get("categories") for document in documents):
            return chosen
        return [
            {**document, "header": {**document["header"], "categories": categories}}
            if document["kind"] in ("instances", "person_keypoints")
            else document
            for document in chosen
        ]
    return [
        {
            "file": f"annotations/instances_{split.replace('/', '_')}.json",
            "kind": "instances",
            "split": split,
            "header": {"info": {}, "licenses": [], "categories": categories},
        }
        for split in header.splits
    ]


def _positions(header: Header, document: Mapping[str, Any]) -> dict[int, int]:
    """Index of a sample → its position in the document's list of images."""
    return {int(index): position for position, index in enumerate(header.splits[document["split"]])}


def _document_of(
    sample: Sample, index: int, documents: Sequence[Mapping[str, Any]], members: Sequence[Mapping[int, int]]
) -> tuple[int | None, int]:
    """The document that a sample's columns belong to, and the image's position in it: the first of its splits' documents.

    Other documents are carried; where the columns are of another one than the first, `load` has noted it.
    """
    residue = sample.extra.get("coco", {})
    carried, noted = residue.get("documents", {}), residue.get("own")
    for number, document in enumerate(documents):
        if document["file"] in carried:
            continue
        if noted is not None:
            if document["file"] == noted[0]:
                return number, noted[1]
        elif index in members[number]:
            return number, members[number][index]
    return None, 0


def _image_record(sample: Sample) -> dict[str, Any]:
    """A sample's record in a document's list of images."""
    reserved = _reserved()
    record = {key: value for key, value in sample.extra.items() if key not in reserved}
    ending = sample.file[len(stem(sample.file)) :]
    record |= {"id": sample.id, "file_name": sample.key + ending, "height": sample.height, "width": sample.width}
    record |= sample.extra.get("coco", {}).get("fields", {})
    return {key: value for key, value in record.items() if value != _ABSENT}
