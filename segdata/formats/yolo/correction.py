"""A sample of YOLO that a person corrected: outlines of new and redrawn objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from segdata.core.findings import Findings
from segdata.core.polygons import Polygons
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue
from segdata.formats.shapes import correcting
from segdata.formats.yolo import adapt, numbers, outlines


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The sample with an outline, or a box where its lines are boxes, of every object; YOLO has no flags."""
    before, after, instances = correction.before, correction.after, correction.after.instances
    residue = dict(after.extra.get("yolo", {}))
    if len(instances):
        residue.pop("missing", None)
    count_unsaid(correction, findings, has_map="mask" in residue)
    if correction.has_other_map and "mask" in residue:
        residue["mask"] = {name: value for name, value in residue["mask"].items() if name != "bytes"}
    are_boxes = bool(len(before.instances)) and not before.instances.has_mask.any()
    extra, bbox = list(instances.extra), instances.bbox.copy()
    rings = [[ring.reshape(-1) for ring in instances.polygons[index]] for index in range(len(instances))]
    for index in correction.changed.nonzero()[0].tolist():
        if not correction.redrawn[index]:
            kept = correction.residue("yolo", index)
            extra[index] = {**extra[index], **({"yolo": kept} if kept else {})}
        elif are_boxes:
            findings.drop("masks of objects, whose lines are boxes", after.key)
        else:
            alone = correcting.adapted_alone(adapt, correction, index, findings)
            rings[index] = [ring.reshape(-1) for ring in alone.instances.polygons[0]] if len(alone.instances) else []
            bbox[index] = np.nan
            extra[index] = {**extra[index], "yolo": {"text": _text(correction, index, rings[index])}}
    return with_residue(correction, "yolo", residue, replace(instances, polygons=Polygons.of(rings), bbox=bbox), extra)


def _text(correction: Correction, index: int, rings: Sequence[npt.NDArray[np.float64]]) -> str:
    """The line of an outline, with as many digits as the size of the image takes: other lines may have fewer."""
    after = correction.after
    orientation = after.extra.get("yolo", {}).get("orientation", 1)
    style = f"f{outlines.decimals(after.height, after.width)}"
    points = np.concatenate([np.zeros(0), *rings])
    shares = outlines.to_shares(points, orientation, after.height, after.width)
    (text,) = numbers.texts(shares, np.array([0, len(shares)]), style)
    return f"{correction.labels[int(after.instances.category[index])].id} {text}"
