"""Samples of other formats → COCO panoptic: one document a split, a PNG of segments for every image.

Objects become segments; where they overlap, the best scored is on top in predictions, else crowds lie below and small
objects above large ones. What the label map adds becomes one segment for every category: of stuff as it is, of things as
a crowd, since nobody told the objects apart (predictions have no crowds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import (
    count_category_fields,
    count_columns,
    count_documents,
    count_fields,
    count_overlaps,
    count_unmapped,
    distinct_keys,
    layered,
    remark_split,
    split_names,
)
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shared.folder import stem
from segdata.formats.shared.palettes import PALETTE

_KEPT = {"crowd flags", "scores", "image ids"}
_LARGEST = (1 << 24) - 1
_UNLISTED = "unlisted"


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Category ids stay; a category with a negative id has no place. Keys lose their folders."""
    kept = [index for index, category in enumerate(source.labels.categories) if category.id >= 0]
    labels = LabelSpace(source.labels.name, tuple(source.labels[index] for index in kept))
    table = np.full(len(source.labels) + 1, -1, np.int64)
    table[kept] = np.arange(len(kept))
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "coco-panoptic", findings)
    names = split_names(source.splits) if "/" in "".join(source.splits) else {name: name for name in source.splits}
    for name, new in names.items():
        remark_split(name, new, findings)
    splits = {names[name]: list(members) for name, members in source.splits.items()}
    unlisted = sorted(set(range(len(keys))).difference(*splits.values()))
    if unlisted:
        splits[_UNLISTED] = unlisted
        findings.remark(f"samples of no split: in the document {_UNLISTED!r}", keys[unlisted[0]], len(unlisted))
    categories = [_category(index, category) for index, category in enumerate(labels.categories)]
    documents = [
        {
            "format": "coco-panoptic",
            "file": f"annotations/panoptic_{name}.json",
            "split": name,
            "header": {"info": {}, "licenses": [], "categories": categories},
        }
        for name in splits
    ]
    return Plan(source.labels, Header(labels, splits, documents), distinct_keys(keys, findings, flat=True), table)


def _category(index: int, category: Category) -> dict[str, Any]:
    color = category.color or tuple(PALETTE[3 * (index % 255 + 1) : 3 * (index % 255 + 2)])
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.supercategory or category.name,
        "isthing": int(category.isthing is not False),
        "color": list(color),
    }


def adapt(plan: Plan, index: int, sample: Sample, findings: Findings) -> Sample:
    """The sample with segments that do not overlap."""
    count_unmapped(plan, sample, findings)
    extra = {key: value for key, value in sample.extra.items() if key not in (*RESIDUES, "captions")}
    count_fields(sample, findings, Kept("coco-panoptic", image_fields=extra))
    given = sample.instances
    ids = given.id
    fits = bool(len(np.unique(ids)) == len(ids) and (not len(ids) or (ids.min() >= 1 and ids.max() <= _LARGEST)))
    count_columns(sample, findings, kept={*_KEPT, "object ids"} if fits else _KEPT)
    has_scores = bool((~np.isnan(given.score)).any())
    if has_scores:
        findings.remark("scores: they settle overlaps, panoptic documents do not hold them", sample.key)
    chosen = given.take((plan.table[given.category] >= 0) & given.has_mask)
    chosen = chosen.with_category(plan.table[chosen.category])
    by_score = np.argsort(np.nan_to_num(chosen.score, nan=-np.inf), kind="stable")
    layer, visible = layered(chosen.masks, chosen.iscrowd, by_score if has_scores else None)
    count_overlaps(sample, chosen.masks, visible, findings)
    parts = [Masks.from_id_map(layer, np.flatnonzero(visible) + 1)]
    shown = chosen.take(visible > 0)
    category, crowd = [shown.category], [shown.iscrowd]
    numbers = [shown.id if fits else np.arange(1, len(shown) + 1)]
    if sample.semantic is not None:
        rest = plan.relabelled(sample.semantic)
        covered = layer > 0
        own = np.append(chosen.category, plan.void)[layer.astype(np.int64) - 1]
        differs = covered & (rest != own) & (rest != plan.void)
        findings.drop("label map pixels under objects of other categories", sample.key, int(differs.sum()))
        rest = np.where(covered, plan.void, rest)
        values = np.array([value for value in np.unique(rest).tolist() if value != plan.void], np.int64)
        if len(values):
            findings.remark("label map outside of objects: one segment per category", sample.key, len(values))
        parts.append(Masks.from_id_map(rest, values))
        category.append(values)
        things = np.array([plan.header.labels[value].isthing is not False for value in values.tolist()], bool)
        crowd.append(things & (not has_scores))
        numbers.append(_free(numbers[0], len(values)))
    masks = Masks.concatenate(parts, sample.height, sample.width)
    segments = Instances.build(
        np.concatenate(category),
        masks,
        iscrowd=np.concatenate(crowd),
        id=np.concatenate(numbers),
        bbox=masks.boxes_xywh,
        area=masks.areas,
    )
    ending = sample.file[len(stem(sample.file)) :] or ".jpg"
    return Sample(
        plan.keys[index],
        sample.height,
        sample.width,
        file=f"images/{plan.keys[index]}{ending}",
        id=sample.id if sample.id >= 0 else index + 1,
        encoded=lambda: sample.encoded,
        instances=segments if sample.has_instances or sample.semantic is not None else None,
        extra=extra,
    )


def _free(taken: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The first `count` numbers from 1 on that are not taken."""
    return np.setdiff1d(np.arange(1, len(taken) + count + 1), taken)[:count].astype(np.int64)
