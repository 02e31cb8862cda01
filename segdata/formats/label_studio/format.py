"""Label Studio's exports: a JSON list of tasks, each about one image.

    root/[SPLIT/]NAME.json            [{id, data: {image: ADDRESS}, annotations: [{result: [REGION, …]}], predictions}, …]
    root/[SPLIT/]label_config.xml     the labels, in their order; where it is missing: all that regions have, sorted
    root/[SPLIT/][images/]NAME.jpg    the longest end of ADDRESS that is a file

ADDRESS is an URL, /data/upload/…, /data/local-files/?d=PATH or a path. `regions.py` has the shapes, in percent; every
region with area is an object. Results without area are kept with the image.

Traps: a task has an annotation of each annotator, some of them cancelled; one is read. Predictions may lie beside. A label
may stand in a result of its own. Strokes of a brush are run lengths of RGBA.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.formats import xml
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.label_studio import documents, records, regions
from segdata.formats.label_studio.documents import CONFIG, Chosen
from segdata.formats.shapes import documents as split_documents
from segdata.formats.shapes import drawing, pictures
from segdata.formats.shapes.drawing import Shape
from segdata.formats.shared import lists, pairs, verbatim
from segdata.formats.shared.folder import (
    image_bytes,
    image_path,
    is_file,
    read_bytes,
    stem,
    write_file,
    write_image,
)
from segdata.formats.shared.palettes import from_hex
from segdata.sets.orientation import upright_size

LAYOUT = "a JSON list of tasks with data and annotations (Label Studio)"
NAME = "label-studio"

# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Data:
    """What loading needs of an entry: its document, place and text of its task, and the annotation that is read."""

    file: str
    place: int
    task: bytes
    chosen: Chosen | None


def detect(root: Path) -> bool:
    """Whether a JSON file of the folder, or of the folders of its splits, is a list of tasks."""
    return split_documents.detect(root, documents.is_document)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every task of every document; folders are splits."""
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    names: set[str] = set()
    files: list[str] = []
    seen: dict[str, str] = {}
    for split, file in split_documents.places(root, documents.is_document, NAME):
        try:
            texts = documents.read(root / file)
        except SegdataError as error:
            findings.skip(error.located(file=root / file))
            continue
        files.append(file)
        listing = _Listing(root, file, options.images_dir.get(split) or options.images_dir.get(""), seen)
        for task, entry in listing.entries(texts, findings):
            names |= _names(task, entry.data.chosen)
            splits.setdefault(split, []).append(len(entries))
            entries.append(entry)
    folders = dict.fromkeys(file.rpartition("/")[0] for file in files)
    paths = [f"{folder}/{CONFIG}".lstrip("/") for folder in folders]
    configs = {path: read_bytes(root, path, "the dataset") for path in paths if is_file(root / path)}
    return Source(
        root=root,
        layout=NAME,
        labels=labels or _labels({root / path: content for path, content in configs.items()}, names),
        entries=pairs.distinct(root, entries, splits, findings),
        splits=splits,
        documents=[
            *({"format": NAME, "file": file} for file in files),
            *({"format": NAME, "file": path, **verbatim.from_text(content)} for path, content in configs.items()),
        ],
        annotation_files=[*files, *configs],
    )


@dataclass
class _Listing:
    """The tasks of one document as entries.

    Attributes:
        images_dir: see `documents.image_of`.
        seen: image → where its task is, of all documents.
    """

    root: Path
    file: str
    images_dir: Path | None
    seen: dict[str, str]

    def entries(self, texts: Sequence[bytes], findings: Findings) -> Iterable[tuple[dict[str, Any], Entry]]:
        """Task and entry of each image; what is not valid goes to the findings."""
        path, valid = self.root / self.file, []
        for place, text in enumerate(texts):
            try:
                valid.append((place, text, documents.task(text, place, path)))
            except SegdataError as error:
                findings.skip(error.located(file=path, place=f"$[{place}]"))
        are_predictions = not any(item["result"] for _, _, task in valid for item in task.get("annotations") or ())
        for place, text, task in valid:
            chosen = documents.chosen(task, predictions=are_predictions)
            try:
                entry = self._entry(task, Data(self.file, place, text, chosen))
            except SegdataError as error:
                findings.skip(error.located(file=path, place=f"$[{place}].data"))
                continue
            self._remark(task, entry, findings)
            yield task, entry

    def _entry(self, task: Mapping[str, Any], data: Data) -> Entry:
        folder = self.file[: self.file.rfind("/") + 1]
        name, file = documents.image_of(task, self.root, folder, self.images_dir)
        here = f"{self.file}, $[{data.place}]"
        if (first := self.seen.setdefault(file, here)) != here:
            raise InvalidAnnotation(
                "two tasks are about one image", why=f"{file!r}, also in {first}", fix="remove one of the two"
            )
        disk = "" if self.images_dir is None else str(self.images_dir.absolute() / file)
        return Entry(stem(name), file, len(data.task), data, disk)

    def _remark(self, task: Mapping[str, Any], entry: Entry, findings: Findings) -> None:
        chosen = entry.data.chosen
        if chosen is not None and chosen.kind == "predictions":
            findings.remark("predictions read, with their scores: no task has an annotation", self.file)
        elif len(documents.submitted(task)) > 1:
            kind = "several annotations of an image: the one marked as ground truth, else the first, is read"
            findings.remark(kind, f"{entry.key}: $[{entry.data.place}]{chosen.path}")
        if task.get("predictions") and (chosen is None or chosen.kind == "annotations"):
            findings.remark("predictions are not read: tasks have annotations", entry.key)


def _results(task: Mapping[str, Any], chosen: Chosen | None) -> list[Any]:
    results: list[Any] = [] if chosen is None else task[chosen.kind][chosen.position]["result"]
    return results


def _names(task: Mapping[str, Any], chosen: Chosen | None) -> set[str]:
    """The labels of the regions that are read."""
    results = _results(task, chosen)
    by_id = regions.labels_by_id(results)
    return {label for item in results if regions.kind_of(item) for label in _labels_of(item, by_id)[:1]}


def _labels_of(region: Mapping[str, Any], by_id: Mapping[str, list[str]]) -> list[str]:
    id = region.get("id")
    return regions.own_labels(region) or (by_id.get(id, []) if isinstance(id, str) else [])


_TAGS = ("Labels", *(f"{kind.capitalize()}Labels" for kind in regions.SHAPES))


def _labels(configs: Mapping[Path, bytes], names: Iterable[str]) -> LabelSpace:
    """The labels for shapes that configurations declare, in their order, and then those that regions have, sorted; from 1."""
    colors: dict[str, str | None] = {}
    for path, content in configs.items():
        for node in xml.parse(content, path).root.walk():
            for child in node.children if node.tag in _TAGS else ():
                if child.tag == "Label" and child.attributes.get("value"):
                    colors.setdefault(child.attributes["value"], child.attributes.get("background"))
    colors |= {name: None for name in sorted(names) if name not in colors}
    rows = enumerate(colors.items(), 1)
    return LabelSpace("custom", tuple(Category(name, number, from_hex(color)) for number, (name, color) in rows))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its regions."""
    data: Data = entry.data
    path = source.root / data.file
    task = documents.task(data.task, data.place, path)
    results = _results(task, data.chosen)
    size = _size(source, entry, results, findings)
    height, width, orientation = size
    drawn = _drawn(source, entry, results, size, findings)
    masks = drawing.masks_of([item.shape for item in drawn.with_area], height, width)
    places = (f"{entry.key}: {_place(data, item.position)}" for item in drawn.with_area)
    drawing.remark_empty(masks, places, findings)
    residue: dict[str, Any] = {"file": data.file, "place": data.place, "task": task}
    if data.chosen is not None:
        kind, position = data.chosen.kind, data.chosen.position
        read = {name: value for name, value in task[kind][position].items() if name != "result"}
        items = [read if number == position else item for number, item in enumerate(task[kind])]
        residue |= {"task": {**task, kind: items}, "chosen": [kind, position]}
    if orientation != 1:
        residue["orientation"] = orientation
    if drawn.others:
        residue["results"] = drawn.others
    return Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=None
        if data.chosen is None
        else _instances(source.labels, drawn, masks, _prediction(task, data.chosen)),
        extra={NAME: residue},
    )


def _place(data: Data, position: int) -> str:
    """JSON path of a result."""
    return f"$[{data.place}]{data.chosen.path if data.chosen else ''}.result[{position}]"


def _size(source: Source, entry: Entry, results: Sequence[Any], findings: Findings) -> tuple[int, int, int]:
    """Height and width of the image as stored, and the orientation by which the shapes have to be turned back."""
    stated = None
    for item in results:
        if regions.kind_of(item):
            try:
                stated = regions.check(item)
                break
            except InvalidAnnotation:
                continue  # said when it is drawn
    path, image = source.root / entry.data.file, image_path(source.root, entry)
    if not is_file(image):
        if stated is None:
            raise InvalidAnnotation(
                "the size of the image is not known",
                file=path,
                key=entry.key,
                place=f"$[{entry.data.place}]",
                why="no region says it, and the image is not there",
                fix="put the image beside the document, or name its folder with --images-dir",
            )
        images.require_size(*stated, source.options.max_pixels)
        return (*stated, 1)
    try:
        encoded, limit = image_bytes(source, entry), source.options.max_pixels
        return pictures.orientation_of(encoded, stated, image, entry.key, findings, max_pixels=limit)
    except InvalidAnnotation as error:
        raise error.located(file=path, place=f"$[{entry.data.place}]") from error


@dataclass(frozen=True)
class _Item:
    """A region with area: its place among the results, its record and labels, what it covers in the image as stored."""

    position: int
    region: Mapping[str, Any]
    labels: Sequence[str]
    category: int
    shape: Shape


@dataclass
class _Drawn:
    """The results of an annotation: regions with area, and positions and records of the others.

    Attributes:
        orientation: the EXIF orientation by which the upright picture was turned to the image as stored.
    """

    orientation: int
    with_area: list[_Item] = field(default_factory=list)
    others: list[list[Any]] = field(default_factory=list)


def _drawn(
    source: Source, entry: Entry, results: Sequence[Any], size: tuple[int, int, int], findings: Findings
) -> _Drawn:
    """The regions in pixels of the image as stored; those that are not valid go to the findings."""
    height, width, orientation = size
    upright = upright_size(orientation, height, width)
    by_id = regions.labels_by_id(results)
    drawn = _Drawn(orientation)
    for position, region in enumerate(results):
        kind = regions.kind_of(region)
        if kind is None:
            drawn.others.append([position, region])
            continue
        labels = _labels_of(region, by_id)
        try:
            if (stated := regions.check(region)) != upright:
                why = f"{stated[1]} × {stated[0]}, not {upright[1]} × {upright[0]} (width × height)"
                raise InvalidAnnotation("a region is of a picture of another size", why=why, fix="draw it again")
            shape = regions.draw(region, kind, *upright)
            category = _category(labels, source.labels)
        except InvalidAnnotation as error:
            place = _place(entry.data, position)
            findings.skip(error.located(file=source.root / entry.data.file, key=entry.key, place=place))
            continue
        if len(labels) > 1:
            findings.remark("region with several labels: the first is its category", entry.key)
        stored = drawing.to_stored(shape, orientation, height, width).compact(height, width)
        drawn.with_area.append(_Item(position, region, labels, category, stored))
    return drawn


def _category(labels: Sequence[str], space: LabelSpace) -> int:
    if not labels and len(space) == 1:
        return 0
    if not labels or labels[0] not in space.index_of_name:
        known = ", ".join(item.name for item in space.categories[:6])
        raise InvalidAnnotation(
            "a region has a label that is not declared" if labels else "a region has no label",
            why=f"it has {', '.join(map(repr, labels)) or 'none'}; there are {known} …"[:300],
            fix="give it a label, or name all of them with --classes a,b,c",
        )
    return space.index_of_name[labels[0]]


def _prediction(task: Mapping[str, Any], chosen: Chosen) -> Mapping[str, Any] | None:
    """The prediction that is read; None where it is an annotation."""
    return task[chosen.kind][chosen.position] if chosen.kind == "predictions" else None


def _instances(labels: LabelSpace, drawn: _Drawn, masks: Masks, prediction: Mapping[str, Any] | None) -> Instances:
    polygons = drawing.polygons_of([item.shape for item in drawn.with_area], [[n] for n in range(len(masks))])
    extra = []
    for number, item in enumerate(drawn.with_area):
        name = labels[item.category].name
        given = records.values(item.region, name, polygons[number], masks, number, orientation=drawn.orientation)
        extra.append({NAME: {"position": item.position, **records.kept(item.region, given)}})
    return Instances.build(
        [item.category for item in drawn.with_area],
        masks,
        bbox=[_box(item) for item in drawn.with_area] or None,
        score=None if prediction is None else [_score(item.region, prediction) for item in drawn.with_area],
        order=[item.position for item in drawn.with_area],
        polygons=polygons,
        extra=extra,
    )


def _score(region: Mapping[str, Any], prediction: Mapping[str, Any]) -> float:
    """The score of a region of a prediction, else the prediction's; NaN where it is no number."""
    score = region.get("score", prediction.get("score"))
    return float(score) if type(score) in (int, float) else float("nan")


def _box(item: _Item) -> list[float]:
    """x y width height of a rectangle that is not turned; else unknown."""
    if regions.kind_of(item.region) != "rectangle" or item.region["value"].get("rotation", 0):
        return [float("nan")] * 4
    x, y = item.shape.ring[0::2], item.shape.ring[1::2]
    return [x.min().item(), y.min().item(), (x.max() - x.min()).item(), (y.max() - y.min()).item()]


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write images, and the task of each into a part file that `finish` puts in order."""
    parts = []
    for _, sample in samples:
        write_image(root, sample)
        residue = sample.extra.get(NAME, {})
        if "file" in residue:
            parts.append((residue["file"], residue["place"], _task(sample, header.labels)))
    return split_documents.write_records(parts, root, number)


def _task(sample: Sample, labels: LabelSpace) -> dict[str, Any]:
    """The task of a sample, with the results of the annotation that was read in their order."""
    residue, instances = sample.extra[NAME], sample.instances
    task: dict[str, Any] = residue["task"]
    if "chosen" not in residue:
        return task
    placed = [(position, result) for position, result in residue.get("results", ())]
    for number, extra in enumerate(instances.extra):
        kept, name = extra[NAME], labels[int(instances.category[number])].name
        given = records.values(
            kept["region"],
            name,
            instances.polygons[number],
            instances.masks,
            number,
            orientation=residue.get("orientation", 1),
        )
        placed.append((kept["position"], records.written(kept, given)))
    results = [result for _, result in sorted(placed, key=lambda item: item[0])]
    kind, chosen = residue["chosen"]
    items = [{**item, "result": results} if number == chosen else item for number, item in enumerate(task[kind])]
    return {**task, kind: items}


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Put the tasks of all parts into their documents, in the source's order."""
    tasks = split_documents.written_records(receipts, root)
    for document in header.documents:
        if document.get("format") != NAME:
            continue
        if document["file"].endswith(CONFIG):
            write_file(root, document["file"], lists.text(document))
        else:
            text = json.dumps([task for _, task in tasks.get(document["file"], [])], ensure_ascii=False)
            write_file(root, document["file"], text.encode("utf-8", "surrogatepass"))
