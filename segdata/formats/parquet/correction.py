"""A row of a Parquet table that a person corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import ORPHANS, count_unsaid, with_residue
from segdata.formats.parquet import rows, tables
from segdata.formats.parquet.columns import FLAGS, Columns
from segdata.formats.shapes import seams


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The row with its objects; what the table has no column for is dropped."""
    before, after = correction.before, correction.after
    about = next(item for item in correction.documents if item.get("format") == "parquet")
    columns = Columns(**about["columns"])
    count_unsaid(
        correction,
        findings,
        kept={name for name in ("iscrowd", *FLAGS) if columns.fields.get(name)},
        has_map=bool(columns.semantic),
    )
    if not columns.objects:
        findings.drop(ORPHANS, after.key, len(after.instances))
    elif not columns.fields.get("segmentation"):
        findings.drop("masks of objects, which the table has no column for", after.key, int(correction.redrawn.sum()))
    instances = _outlined(correction, about, columns, findings)
    after = after.with_annotations(
        instances=instances if after.has_instances else None, semantic=after.semantic, extra=after.extra
    )
    residue = dict(after.extra.get("parquet", {}))
    row = dict(residue.get("row", {}))
    if correction.has_other_objects and columns.objects in row:
        numbers = rows.Numbers.of(correction.labels, by_position=about["by_position"])
        items = list(columns.records(rows.objects(columns, after, numbers)))
        old = columns.records(row[columns.objects]) if row[columns.objects] else []
        for index, place in enumerate(correction.rows.tolist()):
            if not correction.changed[index]:
                items[index] = old[int(before.instances.order[place])]
        residue["row"] = {**row, columns.objects: columns.cell(items)}
    return with_residue(correction, "parquet", residue, instances)


def _outlined(correction: Correction, about: Mapping[str, Any], columns: Columns, findings: Findings) -> Instances:
    """The objects, new masks as outlines where the table's column holds outlines alone."""
    instances, name = correction.after.instances, columns.fields.get("segmentation")
    if not name or not columns.objects or tables.holds_run_lengths(about, columns.objects, name):
        return instances
    rings = [[ring.reshape(-1) for ring in instances.polygons[index]] for index in range(len(instances))]
    for index in correction.redrawn.nonzero()[0].tolist():
        outline = seams.border(instances.masks, index)
        drawn = Masks.from_polygons([[outline.reshape(-1).tolist()]], instances.masks.height, instances.masks.width)
        is_exact = drawn == instances.masks[index : index + 1]
        findings.drop("masks of objects that their outline does not give back", correction.after.key, int(not is_exact))
        rings[index] = [outline.reshape(-1)]
    return replace(instances, polygons=Polygons.of(rings))
