"""albumentations for a sample's image, masks, boxes and label map; which objects survived stays known."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray, FloatArray, IntArray
from segdata.core.sample import Sample
from segdata.errors import UsageError


@dataclass(frozen=True, eq=False)
class Augmented:
    """A sample after augmentation; the columns have a row for each of the N objects that survived.

    Attributes:
        key: of the sample.
        image: (H, W, 3) uint8 RGB.
        masks: (N, H, W) uint8 0/1; empty for objects that have a box alone.
        boxes: (N, 4) float64 x0 y0 x1 y1, x1 and y1 exclusive: of the mask where there is one.
        category: (N,) int64 indices into the label space.
        iscrowd, has_mask: (N,) bool.
        index: (N,) int64, which of the sample's instances each one is.
        semantic: (H, W) map of category indices; None where the sample has none.
    """

    key: str
    image: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    boxes: FloatArray
    category: IntArray
    iscrowd: BoolArray
    has_mask: BoolArray
    index: IntArray
    semantic: npt.NDArray[Any] | None


class Albumentations:
    """The `transform` of a `Loader` that runs albumentations; the same seed gives the same result in any thread.

    An object survives while its mask has `min_pixels`, or its box an area where it has no mask. Steps that pad the label
    map take their value from `fill_mask`: give the label space's void there.

    >>> steps = [albumentations.HorizontalFlip(), albumentations.RandomCrop(256, 256)]                 # doctest: +SKIP
    >>> loader = segdata.Loader(pack, 4, transform=Albumentations(steps))                              # doctest: +SKIP

    Args:
        steps: of the pipeline, as `albumentations.Compose` takes them; one without seed and `bbox_params` of its own.
        min_pixels: fewest pixels of a mask that keeps its object.

    Raises:
        UsageError: albumentations is not installed.
    """

    def __init__(self, steps: Sequence[Any], *, min_pixels: int = 1) -> None:
        try:
            import albumentations  # type: ignore[import-untyped, unused-ignore]
        except ImportError as error:
            raise UsageError("albumentations is not installed", fix="pip install albumentations") from error
        boxes = albumentations.BboxParams(format="pascal_voc", label_fields=["index"], filter_invalid_bboxes=True)
        self._pipeline = albumentations.Compose(list(steps), bbox_params=boxes)
        self._of_thread = threading.local()
        self._min_pixels = min_pixels

    def __getstate__(self) -> dict[str, Any]:
        return {"_pipeline": self._pipeline, "_min_pixels": self._min_pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _of_thread=threading.local())

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Augmented:
        """The augmented sample; random numbers come from `rng` alone."""
        instances = sample.instances
        alone = np.flatnonzero(~instances.has_mask)
        given: dict[str, Any] = {"image": sample.image, "bboxes": instances.boxes[alone], "index": alone}
        masked = np.flatnonzero(instances.has_mask)
        if len(masked):
            given["masks"] = instances.masks[masked].dense()
        if sample.semantic is not None:
            given["mask"] = sample.semantic
        pipeline = self._pipeline_here()
        pipeline.set_random_seed(int(rng.integers(2**31)))
        done = pipeline(**given)
        height, width = done["image"].shape[:2]
        masks = np.zeros((len(instances), height, width), np.uint8)
        if len(masked):
            masks[masked] = np.asarray(done["masks"])
        boxes = np.full((len(instances), 4), np.nan)
        boxes[np.asarray(done["index"], np.int64)] = np.asarray(done["bboxes"], np.float64).reshape(-1, 4)
        survives = ~np.isnan(boxes[:, 0])
        pixels = masks.sum((1, 2), dtype=np.int64)
        survives[masked] = pixels[masked] >= max(self._min_pixels, 1)
        for number in masked[survives[masked]].tolist():
            rows, columns = np.flatnonzero(masks[number].any(1)), np.flatnonzero(masks[number].any(0))
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        index = np.flatnonzero(survives)
        return Augmented(
            key=sample.key,
            image=done["image"],
            masks=masks[index],
            boxes=boxes[index],
            category=instances.category[index].astype(np.int64),
            iscrowd=instances.iscrowd[index],
            has_mask=instances.has_mask[index],
            index=index,
            semantic=done.get("mask"),
        )

    def _pipeline_here(self) -> Any:
        """The thread's own copy: a pipeline draws from a generator that it holds."""
        if not hasattr(self._of_thread, "pipeline"):
            self._of_thread.pipeline = copy.deepcopy(self._pipeline)
        return self._of_thread.pipeline
