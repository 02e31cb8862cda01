"""Arrays as bytes for the page: masks as they lie in the pack, label maps, sample numbers. docs/view.md draws them.

All numbers are little-endian. Nothing is decoded here: the browser paints the run lengths.
"""

from __future__ import annotations

import gzip

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import IntArray
from segdata.core.sample import Instances, Sample
from segdata.pack import layout

MAGIC = b"SGM1"
HAS_SCORES, IS_ANNOTATED, HAS_SEMANTIC = 1, 2, 4
"""Bits of the header."""


def numbers(indices: npt.NDArray[np.integer]) -> bytes:
    """Sample numbers, (N,), as u4."""
    return indices.astype("<u4").tobytes()


def masks(sample: Sample) -> bytes:
    """The N objects of a sample, masks as run lengths: header, columns of N, run lengths, flags."""
    instances = sample.instances
    masks = instances.masks
    bits = (
        HAS_SCORES * bool((~np.isnan(instances.score)).any())
        | IS_ANNOTATED * sample.has_instances
        | HAS_SEMANTIC * sample.has_semantic
    )
    header = np.array([len(instances), len(masks.runs), sample.height, sample.width, bits], "<u4")
    frame = masks.boxes_xywh
    has_none = np.isnan(instances.bbox).all(axis=1) & instances.has_mask
    bbox = np.where(has_none[:, None], frame, instances.bbox)
    area = instances.area
    if (lacks := np.isnan(area) & instances.has_mask).any():
        area = np.where(lacks, masks.areas, area)
    columns = [
        (bbox, "<f8"),
        (area, "<f8"),
        (instances.score, "<f8"),
        (instances.id, "<i8"),
        (frame, "<i4"),
        (masks.pointer, "<u4"),
        (instances.category, "<u2"),
        (masks.runs, "<u2"),
        (flags(instances), "u1"),
    ]
    return b"".join([MAGIC, header.tobytes(), *(np.ascontiguousarray(values, kind).data for values, kind in columns)])


def flags(instances: Instances) -> npt.NDArray[np.uint8]:
    """(N,) uint8, the flags of objects as a pack has them."""
    bits: IntArray = (
        layout.IS_CROWD * instances.iscrowd.astype(np.int64)
        | layout.IS_DIFFICULT * instances.difficult
        | layout.IS_TRUNCATED * instances.truncated
        | layout.IS_OCCLUDED * instances.occluded
        | layout.HAS_MASK * instances.has_mask
    )
    return bits.astype(np.uint8)


def label_map(semantic: npt.NDArray[np.integer]) -> tuple[bytes, str]:
    """A label map row by row, compressed, and the text `height,width,bytes of a value`."""
    size = semantic.dtype.itemsize
    values = np.ascontiguousarray(semantic, semantic.dtype.newbyteorder("<"))
    return gzip.compress(values.tobytes(), 1), f"{semantic.shape[0]},{semantic.shape[1]},{size}"
