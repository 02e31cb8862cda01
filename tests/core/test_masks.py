"""Masks: every form gives the same pixels, judged by pycocotools, NumPy and (when installed) torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from segdata.core.masks import Masks
from segdata.core.rle import LONGEST_RUN, decode_counts
from segdata.errors import InvalidAnnotation

dense_masks = st.tuples(st.integers(0, 4), st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def awkward(height: int = 12, width: int = 17) -> dict[str, np.ndarray]:
    """The masks that every form must survive."""
    blank = np.zeros((height, width), np.uint8)
    masks = {name: blank.copy() for name in ("empty", "pixel", "full", "hole", "border", "two parts", "corner touch")}
    masks["pixel"][5, 3] = 1
    masks["full"][:] = 1
    masks["hole"][2:9, 3:12] = 1
    masks["hole"][4:6, 5:8] = 0
    masks["border"][:, -1] = masks["border"][-1, :] = 1
    masks["two parts"][1:3, 1:3] = masks["two parts"][8:11, 10:15] = 1
    masks["corner touch"][3, 3] = masks["corner touch"][4, 4] = 1
    return masks


@given(dense_masks)
def test_dense_run_lengths_and_coco_rle_are_the_same_pixels(dense: np.ndarray) -> None:
    masks = Masks.from_dense(dense)
    height, width = dense.shape[1:]
    expected = [coco.encode(np.asfortranarray(mask)) for mask in dense]
    assert np.array_equal(masks.dense(), dense)
    assert [rle["counts"] for rle in masks.rle()] == [rle["counts"] for rle in expected]
    assert Masks.from_rle(expected, height, width) == masks
    assert Masks.from_counts(*masks.counts(), height, width) == masks
    assert np.array_equal(masks.areas, dense.sum((1, 2)))
    assert [crop.sum() for crop in masks.crops()] == masks.areas.tolist()


@given(dense_masks)
def test_boxes_are_tight(dense: np.ndarray) -> None:
    for (x0, y0, x1, y1), mask in zip(Masks.from_dense(dense).boxes.tolist(), dense, strict=True):
        rows, columns = np.nonzero(mask)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        assert (x0, y0, x1, y1) == expected


@given(sizes.flatmap(lambda s: hnp.arrays(np.uint16, s, elements=st.sampled_from([0, 1, 7, 255, 26003]))))
def test_id_maps_and_masks_are_the_same_pixels(ids: np.ndarray) -> None:
    values = [26003, 1, 255, 9]
    masks = Masks.from_id_map(ids, values)
    assert np.array_equal(masks.dense(), np.stack([ids == value for value in values]))
    canvas = np.where(np.isin(ids, values), 0, ids).astype(np.uint16)
    assert np.array_equal(masks.paint(values, canvas), ids)


@given(sizes, st.data())
def test_polygons_are_rasterised_as_pycocotools_does(size: tuple[int, int], data: st.DataObject) -> None:
    height, width = size
    coordinate = st.floats(-5, 45).map(lambda v: round(v, 2))
    ring = st.lists(coordinate, min_size=6, max_size=16).map(lambda v: v[: len(v) // 2 * 2])
    polygons = data.draw(st.lists(st.lists(ring, max_size=3), max_size=3))
    masks = Masks.from_polygons(polygons, height, width)
    for mask, rings in zip(masks.dense(), polygons, strict=True):
        expected = (
            coco.decode(coco.merge(coco.frPyObjects(rings, height, width))) if rings else np.zeros(size, np.uint8)
        )
        assert np.array_equal(mask, expected)


def test_a_polygon_far_outside_is_clipped_before_it_is_drawn() -> None:
    far = [[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]
    away = [[1e8, 1e8, 2e8, 1e8, 2e8, 2e8]]
    masks = Masks.from_polygons([far, away], 20, 30)
    assert masks.areas.tolist() == [600, 0]


@pytest.mark.parametrize("name", awkward())
def test_awkward_masks_survive_every_form(name: str) -> None:
    dense = awkward()[name][None]
    masks = Masks.from_dense(dense)
    assert np.array_equal(masks.dense(), dense)
    assert np.array_equal(Masks.from_rle(masks.rle(), *dense.shape[1:]).dense(), dense)
    assert np.array_equal(filled(masks, 0), dense[0])


def filled(masks: Masks, index: int) -> np.ndarray:
    """Even-odd filling of the outlines at pixel centres, by counting edges to the right."""
    inside = np.zeros((masks.height, masks.width), bool)
    for ring in masks.outlines(index):
        for (x, y0), (other, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == other) != (y0 == y1), "edges are horizontal or vertical"
            if x == other:
                inside[min(y0, y1) : max(y0, y1), :x] ^= True
    return inside.astype(np.uint8)


@given(dense_masks)
def test_outlines_enclose_the_mask(dense: np.ndarray) -> None:
    masks = Masks.from_dense(dense)
    for index, mask in enumerate(dense):
        assert np.array_equal(filled(masks, index), mask)


def test_outlines_turn_clockwise_and_holes_the_other_way() -> None:
    rings = Masks.from_dense(awkward()["hole"][None]).outlines(0)
    areas = [0.5 * float(np.sum(r[:, 0] * np.roll(r[:, 1], -1) - np.roll(r[:, 0], -1) * r[:, 1])) for r in rings]
    assert sorted(areas) == [-6.0, 63.0]


def test_long_runs_are_split() -> None:
    dense = np.ones((1, 400, 500), np.uint8)
    dense[0, 399, 499] = 0
    masks = Masks.from_dense(dense)
    assert masks.runs.max() == LONGEST_RUN
    assert masks.runs.astype(int).sum() == 200_000
    assert np.array_equal(masks.dense(), dense)
    assert masks.rle()[0]["counts"] == coco.encode(np.asfortranarray(dense[0]))["counts"]


def test_dense_into_a_buffer_overwrites_only_what_it_needs() -> None:
    masks = Masks.from_dense(np.stack(list(awkward().values())))
    buffer = np.full((9, 12, 17), 7, np.uint8)
    out = masks.dense(buffer)
    assert np.shares_memory(out, buffer)
    assert np.array_equal(out, masks.dense())
    assert (buffer[len(masks) :] == 7).all()
    with pytest.raises(ValueError, match="out must hold"):
        masks.dense(np.zeros((9, 12, 16), np.uint8))


def test_choosing_masks() -> None:
    dense = np.stack(list(awkward().values()))
    masks = Masks.from_dense(dense)
    assert np.array_equal(masks[3], dense[3])
    assert np.array_equal(masks[-1], dense[-1])
    assert np.array_equal(masks[1:4].dense(), dense[1:4])
    assert np.array_equal(masks[[5, 0, 5]].dense(), dense[[5, 0, 5]])
    assert np.array_equal(masks[masks.areas > 1].dense(), dense[dense.sum((1, 2)) > 1])
    with pytest.raises(IndexError):
        masks[len(masks)]


def test_semantic_paints_crowds_first_then_large_to_small() -> None:
    dense = np.zeros((3, 4, 6), np.uint8)
    dense[0, 1:3, 1:3] = 1  # small
    dense[1, :, :4] = 1  # large
    dense[2] = 1  # crowd, over everything
    expected = np.full((4, 6), 9, np.uint8)
    expected[:, :4] = 5
    expected[1:3, 1:3] = 4
    masks = Masks.from_dense(dense)
    assert np.array_equal(masks.semantic([4, 5, 9], iscrowd=np.array([False, False, True])), expected)
    assert np.array_equal(masks[:2].semantic([4, 5], background=0), np.where(expected == 9, 0, expected))


@pytest.mark.parametrize(
    ("rle", "text"),
    [
        ({"size": [3, 4], "counts": [5, 6]}, "sum to 11; height 3 · width 4 = 12"),
        ({"size": [3, 4], "counts": [5, -1, 8]}, "negative"),
        ({"size": [4, 3], "counts": [12]}, "another size"),
        ({"size": [3, 4], "counts": "é"}, "outside its alphabet|alphabet"),
        ({"size": [3, 4], "counts": "Z"}, "ends inside a number"),
        ({"size": [3, 4], "counts": "o" * 13 + "0"}, "60 bits"),
    ],
)
def test_bad_run_lengths_are_refused(rle: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidAnnotation, match=text):
        Masks.from_rle([rle], 3, 4)


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_string_gives_counts_or_a_declared_error(strings: list[bytes]) -> None:
    try:
        counts, pointer = decode_counts(strings)
    except InvalidAnnotation:
        return
    assert pointer[-1] == len(counts) and len(pointer) == len(strings) + 1


def test_samples_at_boxes_follow_roi_align_by_hand() -> None:
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, 2:6, 2:6] = 1
    masks = Masks.from_dense(mask)
    # A box of one pixel a cell: one bilinear sample at the middle of each cell, at pixel index + 0.5.
    sampled = masks.at(np.array([[0, 0, 8, 8]]), 8)[0]
    lattice = np.zeros((9, 9))
    lattice[:8, :8] = mask[0]
    lattice[8] = lattice[7]
    lattice[:, 8] = lattice[:, 7]
    assert np.allclose(sampled, (lattice[:8, :8] + lattice[1:, :8] + lattice[:8, 1:] + lattice[1:, 1:]) / 4)
    assert np.allclose(masks.at(np.array([[3, 3, 5, 5]]), 2), 1)


@given(dense_masks, st.data())
def test_samples_at_boxes_equal_torchvision(dense: np.ndarray, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch", reason="torchvision is not installed; it is the judge here")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed; it is the judge here")
    count = len(dense)
    corners = data.draw(hnp.arrays(np.float32, (count, 4), elements=st.floats(-6, 30, width=32)))
    boxes = np.concatenate((np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])), 1)
    rois = torch.cat((torch.arange(count)[:, None].float(), torch.from_numpy(boxes)), 1)
    expected = ops.roi_align(torch.from_numpy(dense)[:, None].float(), rois, (7, 7), 1.0)[:, 0].numpy()
    assert np.allclose(Masks.from_dense(dense).at(boxes, 7), expected, atol=1e-5)
