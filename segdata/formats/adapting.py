"""Shared by all adapters: unique names in the target, overlapping masks flattened, counts of what the target drops."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog import manifest
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.blocks import Block
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shared.folder import stem

_DATED = re.compile(r"(train|val|test|trainval|minival)20\d\d")


# ---------------------------------------------------------------------- names


def split_names(splits: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Split → its name as a folder or list: without year ("train2017" → "train"), without slashes; all distinct."""
    plain: dict[str, str] = {}
    for name in splits:
        dated = _DATED.fullmatch(name)
        wanted = dated[1] if dated else name.replace("/", "_")
        whole = name.replace("/", "_")
        plain[name] = wanted if wanted not in plain.values() else _free(whole, plain.values())
    return plain


def flat_splits(splits: Mapping[str, Sequence[int]], findings: Findings) -> dict[str, str]:
    """Split → its name without slashes, all distinct; changed names are remarked."""
    flat: dict[str, str] = {}
    for name in splits:
        flat[name] = _free(name.replace("/", "_"), flat.values())
        remark_split(name, flat[name], findings)
    return flat


def remark_split(name: str, new: str, findings: Findings) -> None:
    """Remark a split whose name changes."""
    if new != name:
        findings.remark("split has another name in the target", f"{name} → {new}")


def first_split(source: Header, keys: Sequence[str], rest: str, findings: Findings) -> dict[str, list[int]]:
    """Split → samples, each sample in the first split that it is in; those of none are in `rest`.

    For formats in which a split is a folder of images. What is lost of further splits is counted.
    """
    new_split = split_names(source.splits)
    home = [""] * len(keys)
    for split, members in source.splits.items():
        remark_split(split, new_split[split], findings)
        for index in map(int, members):
            if home[index]:
                findings.drop(f"place in the split {split!r}", keys[index])
            else:
                home[index] = new_split[split]
    if "" in home and any(home):
        findings.remark(f"samples of no split are in the split {rest!r}", source.labels.name, home.count(""))
    splits: dict[str, list[int]] = {}
    for index, split in enumerate(home):
        splits.setdefault(split or rest, []).append(index)
    return splits


def renamed_split(
    source: Header, keys: Sequence[str], rest: str, names: Mapping[str, str], findings: Findings
) -> dict[str, list[int]]:
    """As `first_split`, with other names of splits; several may have the same one."""
    splits: dict[str, list[int]] = {}
    for split, members in first_split(source, keys, rest, findings).items():
        splits.setdefault(names.get(split, split), []).extend(members)
    return splits


def folder_of(plan: Plan, index: int, rest: str) -> str:
    """The folder of a sample's only split, with a slash; "" where there is no other split than `rest`."""
    split = next(name for name, members in plan.positions.items() if index in members)
    return "" if list(plan.positions) == [rest] else f"{split}/"


def plain_names(names: Sequence[str], *, without: str = "") -> list[str]:
    """Category names for tables with one category a line: without line breaks, control characters, blanks at the ends.

    Args:
        without: further characters that the table gives a meaning.
    """
    plain: dict[str, None] = {}
    for name in names:
        visible = "".join(" " if character.isspace() else character for character in name)
        visible = "".join("_" if ord(character) < 32 or character in without else character for character in visible)
        plain[_free(" ".join(visible.split()) or "_", plain)] = None
    return list(plain)


def table_by_name(source: LabelSpace, target: LabelSpace) -> npt.NDArray[np.int64]:
    """(K + 1,) int64: source category → target category of that or a published equal name, −1 for others and void."""
    table = manifest.by_name(source, target).table
    return np.array([-1 if index is None else index for index in (*table, None)], np.int64)


def _free(wanted: str, taken: Collection[str]) -> str:
    """The name, with a number appended where it is taken."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def distinct_keys(keys: Sequence[str], findings: Findings, *, flat: bool) -> list[str]:
    """A key for every sample in the target, no two alike; changed keys are remarked.

    Args:
        flat: one file name without spaces or folders: the last part of the key where that is enough.
    """
    wanted = [_decodable(key) for key in keys]
    if flat:
        last = [re.sub(r"\s+", "_", key.rpartition("/")[2]) for key in wanted]
        wanted = last if len(set(last)) == len(last) else [re.sub(r"[\s/]+", "_", key) for key in wanted]
    taken: set[str] = set()
    names = []
    for key, base in zip(keys, wanted, strict=True):
        name = _free(base, taken)
        taken.add(name)
        names.append(name)
        if name != key:
            findings.remark("sample has another name in the target", f"{key} → {name}")
    return names


def _decodable(key: str) -> str:
    """A key with %-escapes for bytes of a file name that are no UTF-8, which JSON and XML cannot hold."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", key)


def image_file(folder: str, key: str, ending: str, sample: Sample, findings: Findings) -> str:
    """An image file's path in the target; the file is copied unchanged, so its type may not be that of the ending."""
    suffix = sample.file[len(stem(sample.file)) :].lower().replace(".jpeg", ".jpg")
    if suffix and suffix != ending:
        findings.remark(f"{suffix} file copied unchanged under the layout's ending {ending}", sample.key)
    return f"{folder}/{key}{ending}"


# ---------------------------------------------------------------------- masks


def layered(
    masks: Masks, iscrowd: npt.NDArray[np.bool_], order: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Flatten overlapping masks into one map: by default crowds lie below, and small objects above large ones.

    Returns:
        (H, W) unsigned, the number (from 1) of the object on top of each pixel, 0 where there is none; and (N,) int64,
        the pixels of each object that stay visible.
    """
    if order is None:
        order = np.lexsort((-masks.areas, ~iscrowd))
    layer = np.zeros((masks.height, masks.width), np.min_scalar_type(len(masks)))
    masks.paint(np.arange(1, len(masks) + 1), layer, order)
    frames = [layer[y : y + height, x : x + width] for x, y, width, height in masks.boxes_xywh.tolist()]
    visible = [np.count_nonzero(frame == number) for number, frame in enumerate(frames, 1)]
    return layer, np.array(visible, np.int64)


def count_overlaps(
    sample: Sample, masks: Masks, visible: npt.NDArray[np.int64], findings: Findings, *, gone: str = "objects"
) -> None:
    """Count objects that others cover in a flattened map, with the IoU of the visible part and the whole.

    Args:
        gone: what goes with the last pixel: the objects, or the "masks of objects" that stay as boxes.
    """
    is_gone = (visible == 0) & (masks.areas > 0)
    findings.drop(f"{gone} wholly hidden by others in a map of numbers", sample.key, int(is_gone.sum()))
    for index in np.nonzero((visible < masks.areas) & ~is_gone)[0].tolist():
        share = float(visible[index] / masks.areas[index])
        findings.drop("objects partly hidden by others in a map of numbers", sample.key, iou=share)


def count_flags(sample: Sample, findings: Findings, *, kept: Collection[str] = ()) -> None:
    """Count flags of objects that the target drops.

    Args:
        kept: names of columns that it does not drop.
    """
    for name, kind in (("iscrowd", "crowd"), ("difficult",) * 2, ("truncated",) * 2, ("occluded",) * 2):
        if name not in kept:
            findings.drop(f"{kind} flags", sample.key, int(getattr(sample.instances, name).sum()))


def count_hidden(sample: Sample, findings: Findings, *, gone: str = "objects") -> None:
    """Count objects that others cover where a map of numbers has them all, small ones over large ones."""
    masks = sample.instances.masks
    _, visible = layered(masks, np.zeros(len(masks), bool))
    count_overlaps(sample, masks, visible, findings, gone=gone)


def count_other_classes(sample: Sample, void: Collection[int], findings: Findings) -> None:
    """Count objects of which the label map gives most pixels to another category.

    Args:
        void: values of the label map that say nothing of an object.
    """
    instances, semantic = sample.instances, sample.semantic
    assert semantic is not None
    frames = zip(instances.masks.crops(), instances.masks.boxes_xywh.tolist(), instances.category.tolist(), strict=True)
    others = 0
    for crop, (x, y, width, height), category in frames:
        under = np.bincount(semantic[y : y + height, x : x + width][crop != 0], minlength=max(void) + 1)
        under[list(void)] = 0
        others += bool(under.any()) and int(under.argmax()) != category
    findings.drop("objects whose pixels the label map gives to another category", sample.key, others)


def painted(instances: Instances, background: int) -> npt.NDArray[Any]:
    """(H, W) label map painted from instances: their categories over `background`."""
    return instances.masks.semantic(instances.category, background=background, iscrowd=instances.iscrowd)


# ---------------------------------------------------------------------- what is dropped


def count_category_fields(
    source: LabelSpace, target: LabelSpace, table: npt.NDArray[np.int64], findings: Findings
) -> None:
    """Count changed names, ids, colours, supercategories; remark categories without counterpart."""
    for category, index in zip(source.categories, table[:-1].tolist(), strict=True):
        if index < 0:
            findings.remark("category without counterpart in the target", category.name)
            continue
        for what in ("name", "id", "color", "supercategory"):
            mine, theirs = getattr(category, what), getattr(target[index], what)
            if mine is not None and mine != theirs and not (what == "supercategory" and mine == category.name):
                findings.drop(f"category {what}", f"{category.name}: {mine} → {theirs}")


def count_fields(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count, by name, fields of a sample and its objects that the target drops, and what it drops of residues."""
    for name, value in sample.extra.items():
        if name == "captions" and name not in kept.image_fields:
            findings.drop("captions", sample.key, len(value))
        elif name not in RESIDUES and name not in kept.image_fields:
            findings.drop(f"image field {name!r}", sample.key)
    for extra in sample.instances.extra:
        for name in extra:
            if name not in RESIDUES and name not in kept.object_fields:
                findings.drop(f"object field {name!r}", sample.key)
    names = set(sample.extra).union(*sample.instances.extra)
    for name, residue in RESIDUES.items():
        if name in names:
            residue.count_dropped(sample, findings, kept)


def object_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What of an object's residues other formats can hold as further fields: name → value."""
    return {name: value for residue in RESIDUES.values() for name, value in residue.object_fields(extra).items()}


def count_columns(sample: Sample, findings: Findings, *, kept: Collection[str] = ()) -> None:
    """Count values of instance columns that the target drops.

    Args:
        kept: the kinds that it does not drop.
    """
    count_columns_of(Block.of([sample]), findings, kept=kept)


def count_columns_of(block: Block, findings: Findings, *, kept: Collection[str] = ()) -> None:
    """As `count_columns`, of many samples."""
    objects = block.objects
    dropped: dict[str, Callable[[], npt.NDArray[np.bool_]]] = {
        "crowd flags": lambda: objects.iscrowd,
        "difficult flags": lambda: objects.difficult,
        "truncated flags": lambda: objects.truncated,
        "occluded flags": lambda: objects.occluded,
        "scores": lambda: ~np.isnan(objects.score),
        "polygons": lambda: np.diff(objects.polygons.pointer) > 0,
        "areas as annotated": lambda: ~np.isnan(objects.area) & (objects.area != objects.masks.areas),
        "boxes as annotated": lambda: _is_other_box(objects),
        "objects without mask": lambda: ~objects.has_mask,
        "objects with empty masks": lambda: objects.has_mask & (objects.masks.areas == 0),
        "object ids": lambda: np.array([_has_object_ids(sample) for sample in block.samples], bool)[block.image],
    }
    for kind, which in dropped.items():
        if kind not in kept:
            block.drop(findings, kind, which())
    for sample in block.samples:
        if sample.id >= 0 and "image ids" not in kept:
            findings.drop("image ids", sample.key)


def _has_object_ids(sample: Sample) -> bool:
    return sample.id >= 0 or any(RESIDUES[name].has_object_ids for name in sample.extra if name in RESIDUES)


def _is_other_box(instances: Instances) -> npt.NDArray[np.bool_]:
    """(N,) whether a box was annotated, and is not that of the mask."""
    is_other: npt.NDArray[np.bool_] = (np.nan_to_num(instances.bbox) != instances.masks.boxes_xywh).any(1)
    return is_other & ~np.isnan(instances.bbox[:, 0])


def count_unmapped(plan: Plan, sample: Sample, findings: Findings) -> None:
    """Count objects and pixels of categories that the target does not have."""
    gone = np.nonzero(plan.table[:-1] < 0)[0]
    if not len(gone):
        return
    names = [category.name for category in plan.source.categories]
    objects = np.bincount(sample.instances.category, minlength=len(names))
    for index in gone.tolist():
        findings.drop(f"objects of category {names[index]!r}", sample.key, int(objects[index]))
    if sample.semantic is not None:
        pixels = np.bincount(sample.semantic.ravel(), minlength=plan.source.void + 1)
        for index in gone.tolist():
            findings.drop(f"pixels of category {names[index]!r}", sample.key, int(pixels[index]))


def count_label_map(plan: Plan, sample: Sample, findings: Findings) -> None:
    """Count the pixels of a label map that its objects alone would not give back."""
    if sample.semantic is None:
        return
    background = plan.source.background
    differs = sample.semantic != painted(sample.instances, plan.source.void if background is None else background)
    is_void = sample.semantic == plan.source.void
    findings.drop("void pixels", sample.key, int((differs & is_void).sum()))
    findings.drop("label map pixels that no object explains", sample.key, int((differs & ~is_void).sum()))


def count_documents(source: Header, target: str, findings: Findings) -> None:
    """Count files and header fields of the dataset's documents that the target drops."""
    for document in source.documents:
        for residue in RESIDUES.values():
            residue.count_dropped_document(document, findings)
        if document.get("format") == target:
            continue
        for name, value in document.get("header", {}).items():
            if value and name not in ("categories", "images", "annotations"):
                findings.drop(f"document field {name!r}", document["file"])
