"""COCO results: a JSON list of detections, boxes or masks or both.

    [{"image_id": 42, "category_id": 18, "bbox": [x, y, width, height], "score": 0.236}, …]
    [{"image_id": 42, "category_id": 18, "segmentation": {"size": [h, w], "counts": "…"}, "score": 0.236}, …]

The size of a detection, which decides whether it is small, medium or large, is that of its box where the file has boxes
and else that of its mask: so the COCO API takes it (`loadRes`), also where there are both.

Written are the category and image ids of the source. An image without an id gets its position among the samples,
counted from 1, whichever command writes the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Holding, Predictions
from segdata.core.rle import check_strings
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, number_of
from segdata.formats.adapting import count_unmapped
from segdata.formats.coco.adapt import categories_with_id, unlisted
from segdata.formats.coco.results import loose
from segdata.formats.coco.results.loose import Loose, Rle
from segdata.formats.coco.rules import check_size, no_box
from segdata.formats.coco.segmentation import strings_of
from segdata.formats.contract import Header, Plan
from segdata.formats.shared import json_text
from segdata.formats.shared.category_numbers import by_number
from segdata.formats.shared.detections import LARGEST, Detections
from segdata.formats.shared.folder import write_file
from segdata.system.files import canonical_json, disk_errors, inside, write_whole
from segdata.system.reading import open_file, read_file

LAYOUT = "a JSON list of {image_id, category_id, score, bbox or segmentation} (COCO results)"

_AT_ONCE = 1 << 12
_SHOWN = 5


class _Detection(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    score: float
    bbox: list[float] | None = None
    segmentation: Rle | list[list[float]] | None = None


def detect(path: Path) -> bool:
    """Whether the file is a JSON list, or an object with a list of detections."""
    if not path.is_file() or path.suffix != ".json":
        return False
    with open_file(path) as file:
        first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return first == b"[" or (first == b"{" and loose.list_in(path) is not None)


def read(path: Path, truth: GroundTruth, findings: Findings) -> Predictions:
    """Detections for the images of the ground truth.

    Raises:
        InvalidAnnotation: records that are no detections (numbers that are none, masks of another size, no score), or
            image or category ids that the ground truth does not have.
    """
    records, images, category = _detections(path, truth, findings)
    has_boxes, has_masks = _require_same_fields(records, path)
    bbox = np.full((len(records), 4), np.nan)
    if has_boxes:
        bbox = np.array([record.bbox for record in records], np.float64)
        beyond = np.flatnonzero((np.abs(bbox) > LARGEST).any(axis=1))
        if len(beyond):
            raise no_box(bbox[beyond[0]].tolist()).located(file=path, place=f"$[{beyond[0]}].bbox")
    order = np.argsort(images, kind="stable")
    order = order[category[order] >= 0]
    detections = Detections(
        truth,
        pointer=np.searchsorted(images[order], np.arange(len(truth) + 1)),
        row=order,
        id=np.arange(len(order)),
        category=category[order],
        score=np.array([record.score for record in records], np.float64)[order],
        bbox=bbox[order],
        area=(bbox[:, 2] * bbox[:, 3])[order],
        strings=_strings(records, images, order, truth, path) if has_masks else None,
    )
    holds: set[Holding] = {"scores"}
    if not has_masks or not len(records) or not np.isnan(bbox).all():
        holds.add("boxes")
    if has_masks:
        holds.add("masks")
    covered: list[int] = np.unique(images).tolist()
    return Predictions(
        path,
        "coco-results",
        frozenset(holds),
        detections.sample,
        findings,
        detections.columns,
        find_covered=lambda: covered,
    )


def _detections(
    path: Path, truth: GroundTruth, findings: Findings
) -> tuple[Sequence[_Detection | Loose], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Records, (N,) int64 index of each one's image, and of its category, −1 where `--labels` leaves it out."""
    try:
        records: list[_Detection] = json_text.decode(json_text.map_file(path), list[_Detection], path)
    except InvalidAnnotation:
        others, images, category = loose.read(path, truth, findings)
        if category is None:
            category = _categories([cast(int, record.category_id) for record in others], truth, findings, path)
        return others, images, category
    images = _images(records, truth, path)
    return records, images, _categories([record.category_id for record in records], truth, findings, path)


def _images(records: Sequence[_Detection], truth: GroundTruth, path: Path) -> npt.NDArray[np.int64]:
    """(N,) int64, index of each detection's image in the ground truth."""
    index_of_id = truth.index_of_id
    images = np.array([index_of_id.get(record.image_id, -1) for record in records], np.int64)
    if not index_of_id and len(records):
        raise InvalidAnnotation(
            "this ground truth has no image numbers, by which the detections name their images",
            file=path,
            place="$[0].image_id",
            why=f"found {records[0].image_id}; the ground truth has {number_of(len(truth), 'image')}, named by their keys: "
            f"{', '.join(map(repr, truth.keys[:3]))}{' …' if len(truth) > 3 else ''}",
            fix=f'name images by their keys: {{"image_id": "{truth.keys[0] if len(truth) else "KEY"}", …}}',
        )
    _require_known("image", images, [record.image_id for record in records], sorted(index_of_id), path)
    return images


def _categories(numbers: Sequence[int], truth: GroundTruth, findings: Findings, path: Path) -> npt.NDArray[np.int64]:
    """(N,) int64, index of each detection's category, −1 where `--labels` leaves it out."""
    meaning = by_number(numbers, truth, findings, path)
    index_of_id = meaning.index_of_id
    category = np.array([index_of_id.get(number, -1) for number in numbers], np.int64)
    if meaning.mapping is None:
        _require_known("category", category, numbers, sorted(index_of_id), path)
    return category


def _require_same_fields(records: Sequence[_Detection | Loose], path: Path) -> tuple[bool, bool]:
    """Whether the detections have boxes, and whether they have masks; all must have the same."""
    has_boxes = bool(records and records[0].bbox)
    has_masks = bool(records and records[0].segmentation is not None)
    for number, record in enumerate(records):
        has_others = bool(record.bbox) != has_boxes or (record.segmentation is not None) != has_masks
        if has_others or not (has_boxes or has_masks):
            raise InvalidAnnotation(
                "a detection has other fields than the first one" if number else "a detection has neither box nor mask",
                file=path,
                place=f"$[{number}]",
                why=f"the first has {_fields(records[0])}, this one {_fields(record)}",
                fix="give every detection a bbox, a segmentation, or both",
            )
        if has_boxes and len(record.bbox or ()) != 4:
            raise no_box(record.bbox).located(file=path, place=f"$[{number}].bbox")
    return has_boxes, has_masks


def _fields(record: _Detection | Loose) -> str:
    return " and ".join(name for name in ("bbox", "segmentation") if getattr(record, name)) or "neither"


def _strings(
    records: Sequence[_Detection | Loose],
    images: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    truth: GroundTruth,
    path: Path,
) -> Callable[[int, slice], list[bytes]]:
    """`Detections.strings`; other masks than compressed strings are checked and encoded when asked for."""
    checked = _checked_masks(records, images, truth, path)
    masks = [checked[row] for row in order.tolist()]

    def strings(index: int, rows: slice) -> list[bytes]:
        chosen = masks[rows]
        if all(isinstance(mask, bytes) for mask in chosen):
            return chosen
        height, width = truth.sizes[index].tolist()
        segmentations = [
            {"size": [height, width], "counts": mask.decode()} if isinstance(mask, bytes) else mask for mask in chosen
        ]
        try:
            return strings_of(segmentations, height, width)
        except InvalidAnnotation as error:
            number = int(str(error.place).split()[-1])
            error.place = f"$[{order[rows.start + number]}].segmentation"
            raise error.located(file=path, key=truth.keys[index]) from error

    return strings


def _checked_masks(
    records: Sequence[_Detection | Loose], images: npt.NDArray[np.int64], truth: GroundTruth, path: Path
) -> list[Any]:
    """Masks in the order of the file: compressed strings as bytes, checked many at a time; others as `strings_of` takes.

    Raises:
        InvalidAnnotation: run lengths of another size than the image, or strings that are none.
    """
    sizes = truth.sizes[images]
    masks: list[Any] = []
    for number, record in enumerate(records):
        mask = record.segmentation
        if not isinstance(mask, Rle):
            masks.append(mask)
            continue
        try:
            check_size(mask.size, *sizes[number].tolist())
        except InvalidAnnotation as error:
            json_path = f"$[{number}].segmentation"
            raise error.located(file=path, key=truth.keys[images[number]], place=json_path) from None
        counts = mask.counts
        masks.append(counts.encode() if isinstance(counts, str) else {"size": mask.size, "counts": counts})
    compressed = [number for number, mask in enumerate(masks) if isinstance(mask, bytes)]
    pixels = sizes.prod(axis=1)
    for begin in range(0, len(compressed), _AT_ONCE):
        some = compressed[begin : begin + _AT_ONCE]
        try:
            check_strings([masks[number] for number in some], pixels[some])
        except InvalidAnnotation as error:
            number = some[int((error.place or "mask 0").split()[-1])]
            error.place = f"$[{number}].segmentation"
            raise error.located(file=path, key=truth.keys[images[number]]) from error
    return masks


def _require_known(
    what: str, indices: npt.NDArray[np.int64], numbers: Sequence[int], known: Sequence[int], path: Path
) -> None:
    """Refuse ids that the ground truth does not have (index −1), with what they may have been meant as."""
    unknown = np.flatnonzero(indices < 0)
    if not len(unknown):
        return
    values = list(dict.fromkeys(numbers[row] for row in unknown.tolist()))
    close = sorted(known, key=lambda number: abs(number - values[0]))[:3]
    why = (
        f"{what}_id {', '.join(map(str, values[:_SHOWN]))}{' …' if len(values) > _SHOWN else ''}; "
        f"the ground truth has {len(known)}"
        + (f", from {known[0]} to {known[-1]}; close to {values[0]} are {close}" if known else "")
    )
    highest, lowest = max(numbers), min(numbers)
    fix = f"give the ground truth that these predictions are about, or write its {what} ids"
    if what == "category":
        fix += "; or let --labels TABLE.toml give the ground truth's categories the numbers of the results (id = …)"
    if known and lowest >= 0 and highest <= len(known) < known[-1]:
        fix = (
            f"they look like positions ({lowest} … {highest}) instead of the ground truth's own numbers: "
            f"write the {what} ids"
            + (", or let --labels TABLE.toml give these numbers (id = …)" if what == "category" else "")
        )
    raise InvalidAnnotation(
        f"{len(unknown):,} of {number_of(len(indices), 'detection names', 'detections name')} {what} numbers that the ground truth does not have",
        file=path,
        place=f"$[{unknown[0]}].{what}_id",
        why=why,
        fix=fix,
    )


# ---------------------------------------------------------------------- adapt


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Categories with an id ≥ 0; one file for every split, and one for the samples of no split."""
    labels, table = categories_with_id(source.labels)
    splits = {name.replace("/", "_"): list(members) for name, members in source.splits.items()}
    rest = unlisted(splits, len(keys))
    if rest:
        splits["all" if not splits else "unlisted"] = rest
    return Plan(source.labels, Header(labels, splits, []), keys, table)


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample's objects that have a score, and a box or a mask; its id, or its position from 1 where it has none."""
    count_unmapped(plan, sample, findings)
    instances = sample.instances
    has_score = ~np.isnan(instances.score)
    has_region = instances.has_mask | ~np.isnan(instances.bbox[:, 0])
    findings.drop("objects without a score", sample.key, int((~has_score).sum()))
    findings.drop("objects without box and mask", sample.key, int((has_score & ~has_region).sum()))
    findings.drop("label maps", sample.key, int(sample.semantic is not None))
    if sample.id < 0:
        findings.remark("image without a number: its place, from 1", sample.key)
    detections = instances.take((plan.table[instances.category] >= 0) & has_score & has_region)
    return Sample(
        sample.key,
        sample.height,
        sample.width,
        id=sample.id if sample.id >= 0 else index + 1,
        instances=detections.with_category(plan.table[detections.category]),
    )


# ---------------------------------------------------------------------- write


_FIELDS = {"bbox": ("bbox",), "segm": ("segmentation",), "both": ("bbox", "segmentation")}
"""Kind of file → the fields of its records beside image, category and score."""


def write_document(samples: Sequence[Sample], labels: LabelSpace, path: Path) -> None:
    """Write the detections of all samples into one JSON file, with boxes and masks.

    Args:
        samples: with scores; what results cannot hold is left out, as `adapt` does.
        labels: the label space of the samples.
    """
    findings = Findings()
    whole = plan(Header(labels, {}, []), [sample.key for sample in samples], findings)
    adapted = (adapt(whole, index, sample, findings) for index, sample in enumerate(samples))
    records = [record for sample in adapted for record in _records(sample, whole.header.labels)]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, canonical_json(records))


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Collect records of boxes, of masks and of both; `finish` knows which of them say what the predictions hold."""
    members = {split: set(map(int, indices)) for split, indices in header.splits.items()}
    encoder = msgspec.json.Encoder()
    lines: dict[tuple[str, str], list[bytes]] = {(split, kind): [] for split in members for kind in _FIELDS}
    has_boxes = has_masks = has_mask_areas = False
    for index, sample in samples:
        splits = [split for split in members if index in members[split]]
        instances = sample.instances
        bbox = instances.bbox
        has_boxes |= not np.isnan(bbox).all()
        has_masks |= bool(instances.has_mask.any())
        has_mask_areas |= bool((instances.has_mask & (instances.area != bbox[:, 2] * bbox[:, 3])).any())
        for record in _records(sample, header.labels):
            for kind, fields in _FIELDS.items():
                names = ("image_id", "category_id", *fields, "score")
                text = encoder.encode({name: record[name] for name in names})
                for split in splits:
                    lines[split, kind].append(text)
    files: list[list[str]] = []
    for position, ((split, kind), texts) in enumerate(lines.items()):
        files.append([split, kind, f".parts/{number:05d}.{position}"])
        write_file(root, files[-1][2], b",\n".join(texts))
    return {"files": files, "has": [has_boxes, has_masks, has_mask_areas]}


def _records(sample: Sample, labels: LabelSpace) -> Iterator[dict[str, Any]]:
    """The detections of an adapted sample; the box of the mask where no box was predicted."""
    instances = sample.instances
    frames = instances.masks.boxes_xywh.astype(np.float64)
    bbox = np.where(np.isnan(instances.bbox), frames, instances.bbox)
    for category, score, box, rle in zip(
        instances.category.tolist(), instances.score.tolist(), bbox.tolist(), instances.masks.rle(), strict=True
    ):
        yield {
            "image_id": sample.id,
            "category_id": labels[category].id,
            "bbox": box,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            "score": score,
        }


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write each split's results: `…_bbox_results.json` or `…_segm_results.json`, or both where there are both.

    pycocotools takes the area of the box for that of the mask where a record has both, so APs, APm and APl of masks
    would change. Boxes and masks are in one file, `…_results.json`, only where every area is that of the box.
    """
    has_boxes, has_masks, has_mask_areas = (any(receipt["has"][column] for receipt in receipts) for column in range(3))
    kinds = ["bbox"] if not has_masks else ["segm"] if not has_boxes else ["both"]
    if kinds == ["both"] and has_mask_areas:
        kinds = ["bbox", "segm"]
    for split in header.splits:
        for kind in kinds:
            name = f"instances_{split}_{kind}_results.json".replace("_both", "")
            parts = [
                part
                for receipt in receipts
                for part_split, part_kind, part in receipt["files"]
                if (part_split, part_kind) == (split, kind)
            ]
            path = inside(root, name, "the split")
            with disk_errors(path), path.open("wb") as file:
                file.write(b"[")
                separator = b""
                for text in filter(None, (read_file(root / part) for part in parts)):
                    file.write(separator + text)
                    separator = b",\n"
                file.write(b"]\n")
