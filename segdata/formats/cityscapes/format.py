"""Cityscapes: PNG frames by city, label PNGs and polygon documents beside them.

    root/
        leftImg8bit/{train,val,test,train_extra}/CITY/CITY_000000_000019_leftImg8bit.png
        gtFine/{train,val,test}/CITY/CITY_000000_000019_gtFine_labelIds.png       label ids, 8 bit
                                                        _gtFine_instanceIds.png   16 bit: id, or id · 1000 + n
                                                        _gtFine_polygons.json     what the PNGs were painted from
                                                        _gtFine_color.png         for people
        gtCoarse/{train,train_extra,val}/…              the same with _gtCoarse

The key is CITY/CITY_000000_000019. Splits are gtFine's; train_extra is gtCoarse's; other gtCoarse folders become splits
of their own ("gtCoarse/train"). Instances come from instanceIds: a value ≥ 1000 is one object, 24 … 33 a group (crowd).

Where there are no labelIds, the label map comes from instanceIds, from the polygons (drawn as the official scripts draw
them), from labelTrainIds or from colours, in this order. `frames.py` has other names of folders and files, `spaces.py`
says whose categories the ids are.

Traps: n has gaps; licence plates (−1) are never drawn; polygons may be deleted, empty or hidden; trainId files are not
part of the release; copies come with 8-bit or made-up instance values, without labelIds, or with 255 for void.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace, look_up
from segdata.core.masks import Masks
from segdata.core.rle import constant_runs
from segdata.core.sample import Instances, Sample
from segdata.errors import NotThere
from segdata.formats.cityscapes import frames, label_files, polygons, spaces
from segdata.formats.cityscapes.frames import Frame
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import binary, json_text, label_tables, pairs, verbatim
from segdata.formats.shared.folder import image_bytes, image_size, read_bytes, write_file, write_image
from segdata.system.files import inside

LAYOUT = "leftImg8bit/SPLIT/CITY/ or gtFine/SPLIT/CITY/ (Cityscapes)"

_MODES = {"labelIds": "L", "instanceIds": "I;16"}
_GROUP_LIMIT = 1000
_VOID = spaces.VOID_ID


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder has Cityscapes' folders."""
    return frames.is_one(root)


def is_relative(root: Path, *, alone: bool = False) -> bool:
    """Whether the archives were unzipped side by side, each into a folder of its own."""
    return frames.is_side_by_side(root)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every frame of every city, split by split."""
    entries: list[Entry] = []
    files: list[str] = []
    jobs = frames.jobs(root)
    splits = {job.name: frames.add_split(root, job, options, entries, files) for job in jobs}
    if (error := frames.no_labels(root, jobs, entries)) is not None:
        raise error
    pairs.remark_missing(pairs.NO_LABELS, entries, splits, lambda entry: bool(entry.data.suffixes), findings)
    pairs.remark_missing(
        "frame without instanceIds, where others of its split have them", entries, splits, _has_instances, findings
    )
    bad = set(manifest.shipped("cityscapes").known_bad)
    for entry in entries:
        for file in entry.data.others.values():
            findings.remark("label file that is called otherwise than Cityscapes': taken for its kind", file)
        if entry.key in bad:
            findings.remark("image known to be damaged in the official release", entry.key)
    beside = ["", *dict.fromkeys(folder for job in jobs for folder in (job.kind, job.labels))]
    table = label_tables.in_folder(root, beside) if labels is None else label_tables.beside(root, beside, findings)
    given = spaces.Given(root, entries, table, labels, options.classes_from_data)
    tables = [] if table is None else [table.file, *table.others]
    space = spaces.decide(given, findings)
    return Source(
        root=root,
        layout="Cityscapes folders",
        labels=space,
        entries=entries,
        splits={name: members for name, members in splits.items() if members},
        documents=[
            {"format": "cityscapes", "file": name, **verbatim.from_text(read_bytes(root, name, "the dataset"))}
            for name in tables
        ],
        annotation_files=[*files, *tables],
        data=binary.are_binary(given.label_ids(), space),
    )


def _has_instances(entry: Entry) -> bool | None:
    return "instanceIds.png" in entry.data.suffixes if entry.data.suffixes else None


def inspect(root: Path, findings: Findings) -> None:
    """Report keys that occur twice in one object of a polygon document."""
    for path in sorted({*root.glob("gt*/*/*/*_polygons.json"), *root.glob("*/gt*/*/*/*_polygons.json")}):
        for key in json_text.repeated_keys(json_text.map_file(path)):
            findings.skip(json_text.key_twice(path, "$", key))


# ---------------------------------------------------------------------- load


@dataclass(frozen=True)
class _Files:
    """A frame's label files as stored, None where there are none, and the kind that its label map is taken from."""

    ids: png.LabelImage | None
    numbers: png.LabelImage | None
    polygons: dict[str, Any] | None
    taken_from: str


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One frame with its label map, objects and polygon document."""
    root, labels, frame = source.root, source.labels, entry.data
    taken_from = label_files.only(frame.suffixes)
    files = _Files(
        label_files.values(root, frame, "labelIds.png"),
        label_files.values(root, frame, "instanceIds.png"),
        _polygons(root, frame, labels, entry.key, findings),
        taken_from,
    )
    size = _size(source, entry, files)
    residue: dict[str, Any] = {"base": frame.base}
    if frame.others:
        residue["files"] = dict(frame.others)
    for name, file in (("labelIds", files.ids), ("instanceIds", files.numbers)):
        if file is not None and file.mode != _MODES[name]:
            residue.setdefault("stored", {})[name] = {"mode": file.mode, **verbatim.palette_of(file)}
    ids, numbers = _ids(entry, files, source, residue, findings)
    semantic = None if ids is None else _label_map(root, entry, ids, labels, residue, findings)
    if semantic is None and taken_from:
        semantic = label_files.of_other_files(root, entry, size, labels, residue, findings)
    instances = None
    if numbers is not None:
        path = root / frame.file("instanceIds.png")
        instances = _instances(path, numbers, labels, entry, findings)
        if files.numbers is not None:
            _compare(entry, ids, numbers, instances, residue, findings)
    if files.polygons is not None:
        residue["polygons"] = files.polygons
    for name, derive in (("labelTrainIds", label_files.train_ids), ("color", label_files.colors)):
        stored = label_files.values(root, frame, f"{name}.png")
        if stored is not None:
            derived = None if ids is None or "label_map" in residue else derive(ids, labels)
            is_derived = derived is not None and stored.palette is None and np.array_equal(stored.values, derived)
            residue[name] = (
                True if is_derived else {**verbatim.palette_of(stored), **verbatim.from_array(stored.values)}
            )
            if name == "labelTrainIds" and not is_derived and ids is not None:
                findings.remark("labelTrainIds are not those of labelIds", entry.key)
    return Sample(
        entry.key,
        *size,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=instances,
        semantic=semantic,
        extra={"cityscapes": residue} if frame.suffixes else {"cityscapes": {"base": frame.base}},
    )


def _ids(
    entry: Entry, files: _Files, source: Source, residue: dict[str, Any], findings: Findings
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.uint16] | None]:
    """(H, W) label ids and instance ids of a frame, None where no file tells them."""
    labels = source.labels
    if files.numbers is not None and files.numbers.mode != "I;16":
        findings.remark("instance file is not 16-bit", entry.key)
    ids = None if files.ids is None else files.ids.values
    numbers = None if files.numbers is None else files.numbers.values.astype(np.uint16)
    white = binary.white(files.ids, labels) if source.data and files.ids is not None else None
    if ids is not None and white is not None and not np.array_equal(ids, white):
        findings.remark(binary.REMARK, entry.key)
        residue["label_map"], ids = verbatim.from_array(ids), white.astype(np.uint8)
    if files.taken_from == "instanceIds.png" and numbers is not None:
        findings.remark("no labelIds file: label map taken from instanceIds", entry.key)
        ids = np.where(numbers >= _GROUP_LIMIT, numbers // _GROUP_LIMIT, numbers).astype(np.uint8)
        residue["absent"] = ["labelIds"]
    elif files.taken_from == "polygons.json" and files.polygons is not None:
        findings.remark("no label files: drawn from polygons, in their order", entry.key)
        unlabeled = labels.index_of_name.get("unlabeled")
        ids, numbers = polygons.draw(files.polygons, labels, _VOID if unlabeled is None else labels[unlabeled].id)
        residue["absent"] = ["labelIds", "instanceIds"]
        if not any(category.isthing for category in labels.categories):
            findings.remark("polygons of categories that do not say whether they are things: pixels only", entry.key)
            numbers = None
    return ids, numbers


def _label_map(
    root: Path, entry: Entry, ids: npt.NDArray[Any], labels: LabelSpace, residue: dict[str, Any], findings: Findings
) -> npt.NDArray[Any]:
    """(H, W) category indices of label ids; 255 is void where no category has it."""
    table = labels.table_from_ids(256 if ids.dtype == np.uint8 else 65536)
    indices = table[ids]
    wrong = indices < 0
    if wrong.any():
        kind_of_file = label_files.only(entry.data.suffixes)
        path = root / entry.data.file(kind_of_file)
        is_void = ids == _VOID
        if (wrong & ~is_void).any():
            raise label_files.unknown(path, entry, ids, wrong & ~is_void, labels)
        if kind_of_file != "polygons.json":
            count = int(is_void.sum())
            rest = ids[~is_void]
            is_train = bool(rest.size) and int(rest.max()) < 19 and labels.name == spaces.OFFICIAL
            kind = "pixels of 255 in labelIds, read as void"
            kind += "; other values are below 19: are these trainIds?" if is_train else ""
            findings.correct(kind, entry.key, label_files.unknown(path, entry, ids, is_void, labels), count)
            residue["label_map"] = verbatim.from_array(ids)
        indices = np.where(is_void, labels.void, indices)
    semantic: npt.NDArray[Any] = indices.astype(labels.dtype)
    return semantic


def _compare(
    entry: Entry,
    ids: npt.NDArray[Any] | None,
    numbers: npt.NDArray[np.uint16],
    instances: Instances,
    residue: dict[str, Any],
    findings: Findings,
) -> None:
    """Count pixels of which instanceIds and labelIds say different categories; keep instanceIds that do not follow."""
    stored = verbatim.to_array(residue["label_map"]) if "label_map" in residue else ids
    if not np.array_equal(_instance_map(stored, instances), numbers):
        residue["instance_map"] = verbatim.from_array(numbers)
    if ids is not None:
        differ = np.where(numbers >= _GROUP_LIMIT, numbers // _GROUP_LIMIT, numbers) != ids
        wrong = int(np.count_nonzero(differ))
        if wrong:
            row, column = np.argwhere(differ)[0].tolist()
            where = f"row {row}, column {column}: {int(ids[row, column])} and {int(numbers[row, column])}"
            findings.remark(
                "instanceIds and labelIds disagree: pixels", f"{entry.key}: {wrong} pixels ({where})", wrong
            )


def label_map(source: Source, entry: Entry) -> npt.NDArray[np.uint8] | None:
    """A frame's label map, equal to that of `load`; None where the labelIds file alone does not give it."""
    stored = label_files.values(source.root, entry.data, "labelIds.png")
    if stored is None or stored.values.dtype != np.uint8 or source.labels.dtype != np.uint8:
        return None
    white = binary.white(stored, source.labels) if source.data else None
    if white is not None:
        zero, one = (source.labels.index_of_id[number] for number in (0, 1))
        return np.where(white, np.uint8(one), np.uint8(zero))
    table = source.labels.table_from_ids(256)
    table[_VOID] = source.labels.void if table[_VOID] < 0 else table[_VOID]
    unknown = list(set(stored.values.tobytes().translate(None, bytes(np.flatnonzero(table >= 0).tolist()))))
    if unknown:
        wrong = np.isin(stored.values, unknown)
        path = source.root / entry.data.file("labelIds.png")
        raise label_files.unknown(path, entry, stored.values, wrong, source.labels)
    return look_up(np.where(table < 0, np.arange(256), table).astype(np.uint8), stored.values)


def instance_ids(source: Source, entry: Entry) -> npt.NDArray[np.uint16] | None:
    """A frame's instanceIds: label id · 1000 + n for objects, label ids elsewhere; None where there are none."""
    stored = label_files.values(source.root, entry.data, "instanceIds.png")
    if stored is None:
        return None
    numbers = stored.values.astype(np.uint16, copy=False)
    for value in np.unique(numbers.ravel()[constant_runs(numbers)[0]]).tolist():
        label = value // _GROUP_LIMIT if value >= _GROUP_LIMIT else value
        if label == _VOID and label not in source.labels.index_of_id:
            numbers = np.where(numbers == value, 0, numbers)
        elif label not in source.labels.index_of_id:
            path = source.root / entry.data.file("instanceIds.png")
            raise label_files.unknown(path, entry, numbers, numbers == value, source.labels)
    return numbers


def _size(source: Source, entry: Entry, files: _Files) -> tuple[int, int]:
    """Height and width from the image's header, else from the label files."""
    root = source.root
    size = image_size(source, entry) if entry.file else _size_of_labels(source, entry, files)
    document = files.polygons
    if document is not None and (document["imgHeight"], document["imgWidth"]) != size:
        stored = (document["imgHeight"], document["imgWidth"])
        raise label_files.other_size(root / entry.data.file("polygons.json"), entry, stored, size)
    for name, file in (("labelIds", files.ids), ("instanceIds", files.numbers)):
        if file is not None and file.values.shape != size:
            raise label_files.other_size(root / entry.data.file(f"{name}.png"), entry, file.values.shape, size)
    return size


def _size_of_labels(source: Source, entry: Entry, files: _Files) -> tuple[int, int]:
    """Height and width of a frame without an image."""
    stored = files.ids or files.numbers
    if stored is None and files.polygons is not None:
        return files.polygons["imgHeight"], files.polygons["imgWidth"]
    stored = stored or (label_files.values(source.root, entry.data, files.taken_from) if files.taken_from else None)
    if stored is None:
        raise NotThere(
            "nothing tells the size of this image",
            key=entry.key,
            file=source.root,
            fix="give the image or one of its label files",
        )
    return stored.values.shape[0], stored.values.shape[1]


def _instances(
    path: Path, numbers: npt.NDArray[Any], labels: LabelSpace, entry: Entry, findings: Findings
) -> Instances:
    """One instance for each value ≥ 1000, one crowd for each plain id of a thing category; in order of the values."""
    values = []
    categories = []
    for value in np.unique(numbers).tolist():
        label = value // _GROUP_LIMIT if value >= _GROUP_LIMIT else value
        index = labels.index_of_id.get(label)
        if index is None and label == _VOID:
            continue
        if index is None:
            raise label_files.unknown(path, entry, numbers, numbers == value, labels)
        if value >= _GROUP_LIMIT or labels[index].isthing:
            values.append(value)
            categories.append(index)
            if value >= _GROUP_LIMIT and labels[index].isthing is False:
                findings.remark("object of a category without objects: kept", f"{entry.key}: value {value}")
    masks = Masks.from_id_map(numbers, values)
    boxes = masks.boxes_xywh.astype(np.float64)
    return Instances.build(
        categories,
        masks,
        iscrowd=[value < _GROUP_LIMIT for value in values],
        id=values,
        bbox=boxes,
        area=masks.areas,
    )


def _instance_map(ids: npt.NDArray[Any] | None, instances: Instances) -> npt.NDArray[np.uint16]:
    """(H, W) instanceIds: label ids with the ids of instances painted over."""
    size = (instances.masks.height, instances.masks.width)
    canvas = np.zeros(size, np.uint16) if ids is None else ids.astype(np.uint16)
    return instances.masks.paint(instances.id, canvas)


def _polygons(root: Path, frame: Frame, labels: LabelSpace, key: str, findings: Findings) -> dict[str, Any] | None:
    """The polygon document, checked and kept whole."""
    if "polygons.json" not in frame.suffixes:
        if frame.suffixes and frame.base.startswith((frames.FINE, frames.COARSE)):
            findings.remark("no polygon document", key)
        return None
    is_drawn = label_files.only(frame.suffixes) == "polygons.json"
    return polygons.read(
        inside(root, frame.file("polygons.json"), "the dataset"), labels, key, findings, is_drawn=is_drawn
    )


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write frame, label PNGs and polygon document of every sample."""
    labels = header.labels
    to_id = np.zeros(max(labels.void + 1, 256), np.int64)
    for index, category in enumerate(labels.categories):
        to_id[index] = max(category.id, 0)
    count = 0
    for _, sample in samples:
        count += 1
        write_image(root, sample)
        residue = sample.extra.get("cityscapes", {})
        absent, others = residue.get("absent", ()), residue.get("files", {})
        ids = None if sample.semantic is None else to_id[sample.semantic].astype(np.uint16)
        if "label_map" in residue:
            ids = verbatim.to_array(residue["label_map"])
        files: dict[str, bytes] = {}
        if ids is not None and "labelIds" not in absent:
            files["labelIds.png"] = _stored("labelIds", ids, residue)
        if sample.has_instances and "instanceIds" not in absent:
            stored = residue.get("instance_map")
            numbers = _instance_map(ids, sample.instances) if stored is None else verbatim.to_array(stored)
            files["instanceIds.png"] = _stored("instanceIds", numbers, residue)
        if "polygons" in residue:
            files["polygons.json"] = json_text.encode(residue["polygons"])
        for name, derive in (("labelTrainIds", label_files.train_ids), ("color", label_files.colors)):
            stored_map = residue.get(name)
            if stored_map is not True:
                values = None if stored_map is None else verbatim.to_array(stored_map)
            else:
                values = None if ids is None else derive(ids, labels)
            if values is not None:
                files[f"{name}.png"] = verbatim.to_png(values, stored_map if isinstance(stored_map, dict) else {})
        for suffix, data in files.items():
            write_file(root, others.get(suffix, residue["base"] + suffix), data)
    return {"samples": count}


def _stored(name: str, values: npt.NDArray[Any], residue: Mapping[str, Any]) -> bytes:
    """A PNG of ids, in the mode that it was read in."""
    storage = residue.get("stored", {}).get(name, {"mode": _MODES[name]})
    if storage["mode"] == "1":
        return png.encode_png(values.astype(np.uint8), mode="1")
    return verbatim.to_png(values.astype(np.uint16 if storage["mode"] == "I;16" else np.uint8), storage)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the tables of labels as they were; every other file belongs to one frame."""
    for document in header.documents:
        if document.get("format") == "cityscapes":
            write_file(
                root, document["file"], verbatim.to_text({k: document[k] for k in ("text", "base64") if k in document})
            )
