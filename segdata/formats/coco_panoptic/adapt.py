"""Samples of other formats → COCO panoptic: one document for every split, a PNG of segments for every image.

Objects become segments. Where they overlap, the one with the highest score is on top in predictions; in ground truth,
crowds lie below, and small objects above large ones. Where the label map covers more than the objects, each of its
categories becomes one more segment; that of a thing is a crowd, since it may be several objects (predictions have no
crowds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
from segdata.formats.coco.adapt import add_unlisted, categories_with_id
from segdata.formats.coco_panoptic.segments import LARGEST_ID
from segdata.formats.contract import RESIDUES, Header, Kept, Plan
from segdata.formats.shared.folder import stem
from segdata.formats.shared.palettes import PALETTE

_KEPT = {"crowd flags", "scores", "image ids"}


def plan(source: Header, keys: Sequence[str], findings: Findings) -> Plan:
    """Category ids stay; categories with a negative id are dropped. Keys lose their folders."""
    labels, table = categories_with_id(source.labels)
    count_category_fields(source.labels, labels, table, findings)
    count_documents(source, "coco-panoptic", findings)
    names = split_names(source.splits) if "/" in "".join(source.splits) else {name: name for name in source.splits}
    for name, new in names.items():
        remark_split(name, new, findings)
    splits = {names[name]: list(members) for name, members in source.splits.items()}
    add_unlisted(splits, keys, findings)
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
    instances = sample.instances
    has_ids = _are_segment_ids(instances.id)
    count_columns(sample, findings, kept={*_KEPT, "object ids"} if has_ids else _KEPT)
    has_scores = bool((~np.isnan(instances.score)).any())
    if has_scores:
        findings.remark("scores: they settle overlaps, panoptic documents do not hold them", sample.key)
    objects = instances.take((plan.table[instances.category] >= 0) & instances.has_mask)
    objects = objects.with_category(plan.table[objects.category])
    by_score = np.argsort(np.nan_to_num(objects.score, nan=-np.inf), kind="stable")
    layer, visible = layered(objects.masks, objects.iscrowd, by_score if has_scores else None)
    count_overlaps(sample, objects.masks, visible, findings)
    shown = objects.take(visible > 0)
    ids = shown.id if has_ids else np.arange(1, len(shown) + 1)
    parts = [_Columns(shown.category, shown.iscrowd, ids, Masks.from_id_map(layer, np.flatnonzero(visible) + 1))]
    if sample.semantic is not None:
        semantic = plan.relabelled(sample.semantic)
        on_top = np.append(objects.category, plan.void)[layer.astype(np.int64) - 1]
        differs = (layer > 0) & (semantic != on_top) & (semantic != plan.void)
        findings.drop("label map pixels under objects of other categories", sample.key, int(differs.sum()))
        rest = _segments(np.where(layer > 0, plan.void, semantic), plan.header.labels, ids, is_truth=not has_scores)
        if len(rest.category):
            findings.remark("label map outside of objects: one segment per category", sample.key, len(rest.category))
        parts.append(rest)
    masks = Masks.concatenate([part.masks for part in parts], sample.height, sample.width)
    segments = Instances.build(
        np.concatenate([part.category for part in parts]),
        masks,
        iscrowd=np.concatenate([part.iscrowd for part in parts]),
        id=np.concatenate([part.id for part in parts]),
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


class _Columns(NamedTuple):
    """Segments that do not overlap: (N,) int64, bool and int64, and their masks."""

    category: npt.NDArray[np.int64]
    iscrowd: npt.NDArray[np.bool_]
    id: npt.NDArray[np.int64]
    masks: Masks


def _are_segment_ids(ids: npt.NDArray[np.int64]) -> bool:
    """Whether ids are distinct, and fit into the three bytes of a PNG."""
    return len(np.unique(ids)) == len(ids) and bool(((ids >= 1) & (ids <= LARGEST_ID)).all())


def _segments(
    semantic: npt.NDArray[Any], labels: LabelSpace, taken: npt.NDArray[np.int64], *, is_truth: bool
) -> _Columns:
    """One segment for every category of a label map; in ground truth, things are crowds.

    Args:
        taken: segment ids that are in use.
    """
    values = np.array([value for value in np.unique(semantic).tolist() if value != labels.void], np.int64)
    is_thing = np.array([labels[value].isthing is not False for value in values.tolist()], bool)
    free = np.setdiff1d(np.arange(1, len(taken) + len(values) + 1), taken)
    return _Columns(
        values, is_thing & is_truth, free[: len(values)].astype(np.int64), Masks.from_id_map(semantic, values)
    )
