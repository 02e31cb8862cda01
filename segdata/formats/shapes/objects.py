"""Objects of any source as shapes of an annotation tool: polygons, masks or boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.findings import Findings
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.formats.shapes import drawing
from segdata.formats.shapes.drawing import Shape


@dataclass(frozen=True)
class Drawn:
    """An object as shapes.

    Attributes:
        index: of the object in its sample.
        parts: of the image as stored.
        box: x0 y0 x1 y1 of an object that is a box alone, whose one part is the rectangle.
    """

    index: int
    parts: list[Shape]
    box: list[float] | None = None


def drawn(sample: Sample, findings: Findings) -> Iterator[Drawn]:
    """Each object as polygons where they give its mask, else as its mask, else as its box; the others are counted."""
    instances, masks = sample.instances, sample.instances.masks
    redrawn = Masks.from_polygons(instances.polygons, sample.height, sample.width)
    boxes = instances.boxes
    for index in range(len(instances)):
        rings = [ring.reshape(-1) for ring in instances.polygons[index]]
        if rings and redrawn[index : index + 1] == masks[index : index + 1]:
            yield Drawn(index, [Shape(ring) for ring in rings])
        elif masks.areas[index]:
            findings.drop("polygons", sample.key, int(bool(rings)))
            yield Drawn(index, [drawing.shape_of(masks, index)])
        elif not np.isnan(instances.bbox[index]).any():
            x0, y0, x1, y1 = boxes[index].tolist()
            yield Drawn(index, [drawing.rectangle(x0, y0, x1, y1)], [x0, y0, x1, y1])
        else:
            findings.drop("objects with neither box nor pixels", sample.key)


def of_label_map(semantic: npt.NDArray[np.integer], *others: int | None) -> Instances:
    """One object for each category of a label map (H, W), but for the values `others`."""
    values = [value for value in np.unique(semantic).tolist() if value not in others]
    return Instances.build(values, Masks.from_id_map(semantic, values))


def taken(instances: Instances, items: Sequence[Drawn], table: IntArray) -> Instances:
    """The objects that were drawn, in the target's categories.

    Args:
        table: (C + 1,) category → that of the target.
    """
    chosen = instances.take(np.array([item.index for item in items], np.int64))
    return chosen.with_category(table[chosen.category])
