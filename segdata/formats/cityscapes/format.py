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

Traps: n has gaps; licence plates (−1) are never drawn; polygons may be deleted, empty or hidden; trainId files are not
part of the release; copies come with 8-bit or made-up instance values, or without labelIds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core import images, png
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace, look_up
from segdata.core.masks import Masks
from segdata.core.rle import constant_runs
from segdata.core.sample import Instances, Sample
from segdata.errors import InvalidAnnotation, InvalidImage, NotThere, SegdataError
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import json_text, verbatim
from segdata.formats.shared.folder import file_size, folders_in, image_bytes, names_in, read_bytes, write_file

LAYOUT = "leftImg8bit/SPLIT/CITY/ or gtFine/SPLIT/CITY/ (Cityscapes)"

_IMAGE = "_leftImg8bit.png"
_LABELS = ("labelIds.png", "instanceIds.png", "labelTrainIds.png", "color.png", "polygons.json")
_MODES = {"labelIds": "L", "instanceIds": "I;16"}
_GROUP_LIMIT = 1000


# ---------------------------------------------------------------------- entries


@dataclass(frozen=True)
class _Frame:
    """An image's label files: `{base}{suffix}` for each of its suffixes."""

    base: str
    suffixes: tuple[str, ...]


def detect(root: Path) -> bool:
    """Whether the folder has Cityscapes' folders."""
    return any((root / name).is_dir() for name in ("leftImg8bit", "gtFine", "gtCoarse"))


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every frame of every city, split by split."""
    entries: list[Entry] = []
    splits: dict[str, list[int]] = {}
    files: list[str] = []
    kinds = [kind for kind in ("gtFine", "gtCoarse") if (root / kind).is_dir()]
    image_splits = folders_in(root / "leftImg8bit")
    fine = folders_in(root / "gtFine") or [split for split in image_splits if split != "train_extra"]
    fine = [*fine, *(split for split in image_splits if split not in fine and split != "train_extra")]
    jobs = [("gtFine", split, split) for split in _ordered(fine)]
    for split in _ordered([*folders_in(root / "gtCoarse"), *(s for s in image_splits if s == "train_extra")]):
        is_main = split == "train_extra" or "gtFine" not in kinds
        job = ("gtCoarse", split, split if is_main else f"gtCoarse/{split}")
        if job not in jobs and (job[2] not in [name for _, _, name in jobs] or "gtFine" not in kinds):
            jobs = [other for other in jobs if other[2] != job[2]] + [job]
    for kind, split, name in jobs:
        splits[name] = _add_split(root, kind, split, entries, files)
    bad = set(manifest.shipped("cityscapes").known_bad)
    for entry in entries:
        if entry.key in bad:
            findings.remark("image known to be damaged in the official release", entry.key)
    return Source(
        root=root,
        layout="Cityscapes folders",
        labels=labels or manifest.label_space("cityscapes"),
        entries=entries,
        splits={name: members for name, members in splits.items() if members},
        annotation_files=files,
    )


def _ordered(names: Sequence[str]) -> list[str]:
    official = ("train", "val", "test", "train_extra")
    return [name for name in official if name in names] + sorted(set(names) - set(official))


def _add_split(root: Path, kind: str, split: str, entries: list[Entry], files: list[str]) -> list[int]:
    """Add a split's frames to `entries`; returns their indices."""
    first = len(entries)
    cities = sorted({*folders_in(root / "leftImg8bit" / split), *folders_in(root / kind / split)})
    for city in cities:
        frames = {
            name[: -len(_IMAGE)]
            for name in names_in(root / "leftImg8bit" / split / city, ".png")
            if name.endswith(_IMAGE)
        }
        suffixes_of: dict[str, list[str]] = {}
        for name in names_in(root / kind / split / city, ".png", ".json"):
            base, _, suffix = name.rpartition(f"_{kind}_")
            if base and suffix in _LABELS:
                suffixes_of.setdefault(base, []).append(suffix)
        for frame in sorted(frames | suffixes_of.keys()):
            base = f"{kind}/{split}/{city}/{frame}_{kind}_"
            label_files = [base + suffix for suffix in suffixes_of.get(frame, ())]
            files += label_files
            image = f"leftImg8bit/{split}/{city}/{frame}{_IMAGE}" if frame in frames else ""
            size = sum(file_size(root, file) for file in label_files)
            entries.append(Entry(f"{city}/{frame}", image, size, _Frame(base, tuple(suffixes_of.get(frame, ())))))
    return list(range(first, len(entries)))


def inspect(root: Path, findings: Findings) -> None:
    """Report keys that occur twice in one object of a polygon document."""
    for path in sorted(root.glob("gt*/*/*/*_polygons.json")):
        for key in json_text.repeated_keys(json_text.map_file(path)):
            findings.skip(json_text.key_twice(path, "$", key))


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One frame with its label map, objects and polygon document."""
    root, labels, frame = source.root, source.labels, entry.data
    table = labels.table_from_ids(256)
    residue: dict[str, Any] = {"base": frame.base}
    ids_file = _values(root, frame, "labelIds.png")
    numbers_file = _values(root, frame, "instanceIds.png")
    polygons = _polygons(root, frame, labels, entry.key, findings)
    size = _size(source, entry, ids_file, numbers_file, polygons)
    numbers = None if numbers_file is None else numbers_file.values.astype(np.uint16)
    if numbers_file is not None and numbers_file.mode != "I;16":
        findings.remark("instance file is not 16-bit", entry.key)
    for name, file in (("labelIds", ids_file), ("instanceIds", numbers_file)):
        if file is not None and file.mode != _MODES[name]:
            residue.setdefault("stored", {})[name] = {"mode": file.mode, **verbatim.palette_of(file)}
    ids = None if ids_file is None else ids_file.values
    if ids is None and numbers is not None:
        findings.remark("no labelIds file: label map taken from instanceIds", entry.key)
        ids = np.where(numbers >= _GROUP_LIMIT, numbers // _GROUP_LIMIT, numbers).astype(np.uint8)
        residue["absent"] = ["labelIds"]
    semantic = None
    if ids is not None:
        if ids.shape != size:
            raise _other_size(root / (frame.base + "labelIds.png"), entry, ids.shape, size)
        indices = table[np.minimum(ids, 255)]
        if (indices < 0).any() or ids.max(initial=0) > 255:
            raise _unknown(root / (frame.base + "labelIds.png"), entry, ids, indices < 0, labels)
        semantic = indices.astype(labels.dtype)
    instances = None
    if numbers is not None:
        if numbers.shape != size:
            raise _other_size(root / (frame.base + "instanceIds.png"), entry, numbers.shape, size)
        instances = _instances(root / (frame.base + "instanceIds.png"), numbers, labels, entry, findings)
        again = _instance_map(ids, instances)
        if not np.array_equal(again, numbers):
            residue["instance_map"] = verbatim.from_array(numbers)
            wrong = int((again != numbers).sum())
            findings.remark("instanceIds and labelIds disagree", f"{entry.key}: {wrong} pixels")
    if polygons is not None:
        residue["polygons"] = polygons
        if ids is None:
            findings.remark("polygons without label files: kept, not drawn", entry.key)
    for name, derive in (("labelTrainIds", _train_ids), ("color", _colors)):
        stored = _values(root, frame, f"{name}.png")
        if stored is not None:
            derived = None if ids is None else derive(ids, labels)
            is_derived = derived is not None and stored.palette is None and np.array_equal(stored.values, derived)
            residue[name] = (
                True if is_derived else {**verbatim.palette_of(stored), **verbatim.from_array(stored.values)}
            )
            if name == "labelTrainIds" and not is_derived:
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


def label_map(source: Source, entry: Entry) -> npt.NDArray[np.uint8] | None:
    """A frame's label map, equal to that of `load`; None where the labelIds file alone does not give it."""
    stored = _values(source.root, entry.data, "labelIds.png")
    if stored is None or stored.values.dtype != np.uint8 or source.labels.dtype != np.uint8:
        return None
    table = source.labels.table_from_ids(256)
    unknown = list(set(stored.values.tobytes().translate(None, bytes(np.flatnonzero(table >= 0).tolist()))))
    if unknown:
        wrong = np.isin(stored.values, unknown)
        path = source.root / (entry.data.base + "labelIds.png")
        raise _unknown(path, entry, stored.values, wrong, source.labels)
    return look_up(np.where(table < 0, np.arange(256), table).astype(np.uint8), stored.values)


def instance_ids(source: Source, entry: Entry) -> npt.NDArray[np.uint16] | None:
    """A frame's instanceIds: label id · 1000 + n for objects, label ids elsewhere; None where there are none."""
    stored = _values(source.root, entry.data, "instanceIds.png")
    if stored is None:
        return None
    numbers = stored.values.astype(np.uint16, copy=False)
    for value in np.unique(numbers.ravel()[constant_runs(numbers)[0]]).tolist():
        label = value // _GROUP_LIMIT if value >= _GROUP_LIMIT else value
        if label not in source.labels.index_of_id:
            path = source.root / (entry.data.base + "instanceIds.png")
            raise _unknown(path, entry, numbers, numbers == value, source.labels)
    return numbers


def _values(root: Path, frame: _Frame, suffix: str) -> png.LabelImage | None:
    if suffix not in frame.suffixes:
        return None
    file = frame.base + suffix
    try:
        stored = png.read_labels(read_bytes(root, file, "the dataset"))
    except SegdataError as error:
        raise error.located(file=root / file) from error
    if suffix in ("labelIds.png", "instanceIds.png") and stored.mode not in ("L", "I;16", "P"):
        raise InvalidImage(
            "label file is not grey",
            file=root / file,
            why=f"PNG mode {stored.mode}; ids are stored as grey values",
            fix="use the original labelIds and instanceIds files; colours are ambiguous",
        )
    return stored


def _size(
    source: Source,
    entry: Entry,
    ids: png.LabelImage | None,
    numbers: png.LabelImage | None,
    polygons: Mapping[str, Any] | None,
) -> tuple[int, int]:
    """Height and width from the image's header, else from the label files."""
    root = source.root
    if entry.file:
        try:
            header = images.probe(image_bytes(source, entry))
        except SegdataError as error:
            raise error.located(file=root / entry.file, key=entry.key) from error
        size = (header.height, header.width)
    elif ids is not None or numbers is not None:
        shape = (ids or numbers).values.shape  # type: ignore[union-attr]
        size = (shape[0], shape[1])
    elif polygons is not None:
        size = (polygons["imgHeight"], polygons["imgWidth"])
    else:
        raise NotThere("nothing tells the size of this image", key=entry.key, file=root)
    if polygons is not None and (polygons["imgHeight"], polygons["imgWidth"]) != size:
        raise _other_size(
            root / (entry.data.base + "polygons.json"),
            entry,
            (polygons["imgHeight"], polygons["imgWidth"]),
            size,
        )
    return size


def _other_size(path: Path, entry: Entry, stored: Sequence[int], size: Sequence[int]) -> InvalidAnnotation:
    return InvalidAnnotation(
        "labels are of another size than the image",
        file=path,
        key=entry.key,
        why=f"labels {stored[1]} × {stored[0]}, image {size[1]} × {size[0]} (width × height)",
        fix="restore the original file",
    )


def _unknown(
    path: Path, entry: Entry, ids: npt.NDArray[Any], wrong: npt.NDArray[np.bool_], labels: LabelSpace
) -> InvalidAnnotation:
    row, column = np.argwhere(wrong)[0].tolist()
    return InvalidAnnotation(
        "label file holds an id that the label space does not have",
        file=path,
        key=entry.key,
        place=f"pixel row {row}, column {column}",
        why=f"id {int(ids[row, column])}; {labels.name!r} has ids up to {max(labels.index_of_id, default=0)}"
        + ("; 255 occurs in trainId files" if int(ids[row, column]) == 255 else ""),
        fix="give the labelIds files, not trainIds",
    )


def _instances(
    path: Path, numbers: npt.NDArray[Any], labels: LabelSpace, entry: Entry, findings: Findings
) -> Instances:
    """One instance for each value ≥ 1000, one crowd for each plain id of a thing category; in order of the values."""
    values = []
    categories = []
    for value in np.unique(numbers).tolist():
        label = value // _GROUP_LIMIT if value >= _GROUP_LIMIT else value
        index = labels.index_of_id.get(label)
        if index is None:
            raise _unknown(path, entry, numbers, numbers == value, labels)
        if value >= _GROUP_LIMIT or labels[index].isthing:
            values.append(value)
            categories.append(index)
            if value >= _GROUP_LIMIT and not labels[index].isthing:
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


_TRAIN_VIEW = "cityscapes-19"


def _train_ids(ids: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[np.uint8] | None:
    """(H, W) labelIds → trainIds, 255 for ignored categories; None in another label space."""
    if labels.name != "cityscapes":
        return None
    view = manifest.view(labels, _TRAIN_VIEW)
    table = np.full(256, 255, np.uint8)
    for index, to in enumerate(view.table):
        if to is not None and labels[index].id >= 0:
            table[labels[index].id] = to
    train_ids: npt.NDArray[np.uint8] = table[ids]
    return train_ids


def _colors(ids: npt.NDArray[Any], labels: LabelSpace) -> npt.NDArray[np.uint8]:
    """labelIds in the categories' colours, (H, W, 4) uint8 RGBA, opaque."""
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    for category in labels.categories:
        if category.color is not None and 0 <= category.id < 256:
            table[category.id, :3] = category.color
    colors: npt.NDArray[np.uint8] = table[ids]
    return colors


def _polygons(root: Path, frame: _Frame, labels: LabelSpace, key: str, findings: Findings) -> dict[str, Any] | None:
    """The polygon document, checked and kept whole."""
    if "polygons.json" not in frame.suffixes:
        if frame.suffixes and frame.base.startswith(("gtFine", "gtCoarse")):
            findings.remark("no polygon document", key)
        return None
    path = root / (frame.base + "polygons.json")
    data = json_text.map_file(path)
    document: dict[str, Any] = json_text.decode(data, dict[str, Any], path)
    missing = [name for name in ("imgHeight", "imgWidth", "objects") if name not in document]
    sizes = [document.get(name) for name in ("imgHeight", "imgWidth")]
    if missing or not isinstance(document["objects"], list) or not all(type(value) is int for value in sizes):
        raise InvalidAnnotation(
            "polygon document is not valid",
            file=path,
            key=key,
            why=f"it has no {', '.join(missing) or 'list of objects with a size in whole numbers'}",
        )
    for number, item in enumerate(document["objects"]):
        where = f"$.objects[{number}]"
        label = item.get("label") if isinstance(item, dict) else None
        if not isinstance(label, str) or not _is_known(label, labels):
            raise InvalidAnnotation(
                "a polygon has a label that the label space does not have",
                file=path,
                key=key,
                place=where,
                why=f"label {label!r}",
                fix="correct the label, or name another label space with --labels",
            )
        points = item.get("polygon")
        if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 and all(type(v) in (int, float) for v in point)
            for point in points
        ):
            raise InvalidAnnotation(
                "a polygon is not a list of points",
                file=path,
                key=key,
                place=where,
                why=f"found {points!r}"[:200],
            )
        if not points:
            findings.remark("empty polygon: kept in the document", f"{key}: {where}")
        if item.get("deleted"):
            findings.remark("deleted polygon: kept in the document", f"{key}: {where}")
    return document


def _is_known(label: str, labels: LabelSpace) -> bool:
    return label in labels.index_of_name or (label.endswith("group") and label[: -len("group")] in labels.index_of_name)


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
        encoded = sample.encoded
        if encoded is not None:
            write_file(root, sample.file, encoded)
        residue = sample.extra.get("cityscapes", {})
        base = residue["base"]
        ids = None if sample.semantic is None else to_id[sample.semantic].astype(np.uint8)
        if ids is not None and "labelIds" not in residue.get("absent", ()):
            write_file(root, base + "labelIds.png", _stored("labelIds", ids, residue))
        if sample.has_instances:
            stored = residue.get("instance_map")
            numbers = _instance_map(ids, sample.instances) if stored is None else verbatim.to_array(stored)
            write_file(root, base + "instanceIds.png", _stored("instanceIds", numbers, residue))
        if "polygons" in residue:
            write_file(root, base + "polygons.json", json_text.encode(residue["polygons"]))
        for name, derive in (("labelTrainIds", _train_ids), ("color", _colors)):
            stored_map = residue.get(name)
            if stored_map is not True:
                values = None if stored_map is None else verbatim.to_array(stored_map)
            else:
                values = None if ids is None else derive(ids, labels)
            if values is not None:
                palette = stored_map if isinstance(stored_map, dict) else {}
                write_file(root, f"{base}{name}.png", verbatim.to_png(values, palette))
    return {"samples": count}


def _stored(name: str, values: npt.NDArray[Any], residue: Mapping[str, Any]) -> bytes:
    """A PNG of ids, in the mode that it was read in."""
    storage = residue.get("stored", {}).get(name, {"mode": _MODES[name]})
    return verbatim.to_png(values.astype(np.uint16 if storage["mode"] == "I;16" else np.uint8), storage)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Nothing: every file belongs to one frame."""
