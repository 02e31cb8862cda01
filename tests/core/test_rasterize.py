"""Polygons are drawn pixel for pixel as pycocotools draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segdata.core import polygons
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.rle import pointer_of

PLACES = st.one_of(
    st.floats(-80, 80),
    st.integers(-300, 300).map(lambda fifths: fifths / 5),  # on the raster of the walk
    st.integers(-300, 300).map(lambda tenths: tenths / 10),  # halfway between its points
    st.integers(-60, 60).map(lambda nth: nth / 5 + 1e-9),
    st.floats(-3000, 3000),
)
RINGS = st.integers(3, 9).flatmap(lambda corners: st.lists(PLACES, min_size=2 * corners, max_size=2 * corners))
IMAGES = st.tuples(
    st.integers(1, 60), st.integers(1, 60), st.lists(st.lists(RINGS, max_size=3), min_size=0, max_size=4)
)


def theirs(polygons: list[list[list[float]]], height: int, width: int) -> npt.NDArray[Any]:
    planes = [np.zeros((height, width), np.uint8)]
    for rings in polygons:
        drawn = coco_mask.frPyObjects(rings, height, width) if rings else []
        planes.append(coco_mask.decode(coco_mask.merge(drawn)) if drawn else planes[0])
    return np.stack(planes)[1:]


@settings(max_examples=400, deadline=None)
@given(IMAGES)
def test_one_image(image: tuple[int, int, list[list[list[float]]]]) -> None:
    height, width, polygons = image
    assert np.array_equal(Masks.from_polygons(polygons, height, width).dense(), theirs(polygons, height, width))


@settings(max_examples=100, deadline=None)
@given(st.lists(IMAGES, min_size=1, max_size=5), st.sampled_from([1, 7, 50, 1 << 20]))
def test_several_images_at_once_and_part_by_part(images: list[Any], at_once: int) -> None:
    drawn = Polygons.of([polygon for _, _, rings in images for polygon in rings])
    number = np.array([len(rings) for _, _, rings in images])
    sizes = np.array([(height, width) for height, width, _ in images])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polygons, "_BATCH", at_once)
        spans = polygons.rasterize(drawn, *sizes.repeat(number, axis=0).T)
    for masks, (height, width, rings) in zip(Masks.of_images(spans, sizes, pointer_of(number)), images, strict=True):
        assert np.array_equal(masks.dense(), theirs(rings, height, width))


def test_long_thin_edges_in_a_large_image() -> None:
    """Slopes whose products round: a million steps a walk."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = rng.integers(1000, 4000, 2).tolist()
        ring = (rng.uniform(-0.1, 1.1, (6, 2)) * (width, height)).ravel().tolist()
        mine = Masks.from_polygons([[ring]], height, width).rle()[0]["counts"]
        assert mine == coco_mask.frPyObjects([ring], height, width)[0]["counts"]
