"""Pictures of samples."""

from __future__ import annotations

import time

import numpy as np
import pytest

import segdata
from segdata.core.masks import Masks
from segdata.viz import overlay as draw


@pytest.mark.parametrize(("one", "other"), [("кошка", "мышка"), ("γάτα", "σαύα"), ("žaba", "ćaba"), ("äba", "öba")])
def test_names_in_other_letters_can_be_read(one: str, other: str) -> None:
    """Letters that a font lacks all look alike."""
    pytest.importorskip("matplotlib", reason="it brings a font with these letters")
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 15:30, 5:50] = True
    instances = segdata.Instances.build(np.zeros(1, np.int64), Masks.from_dense(mask))
    sample = segdata.Sample("a", 40, 60, instances=instances)
    pictures = []
    for name in (one, other):
        labels = segdata.LabelSpace("animals", (segdata.Category(name, 1, isthing=True, color=(200, 0, 0)),))
        pictures.append(draw.overlay(sample, labels, title=False))
    assert not np.array_equal(pictures[0], pictures[1])


def _drawn_naively(sample: segdata.Sample, labels: segdata.LabelSpace) -> np.ndarray:
    """The masks and outlines of a sample over dark grey, every object painted on the whole picture."""
    instances = sample.instances
    scale = max(1, min(16, round(480 / max(sample.height, sample.width))))
    canvas = np.full((sample.height * scale, sample.width * scale, 3), 60, np.float32)
    thickness = max(1, round(max(canvas.shape[:2]) / 700))
    rows, columns = np.indices(canvas.shape[:2])
    for index in np.lexsort((-instances.masks.areas, ~instances.iscrowd)):
        mask = np.kron(instances.masks[int(index)], np.ones((scale, scale), int)) != 0
        color = np.array(draw.color_of(labels, int(instances.category[index]), shift=int(index)), np.float32)
        hatched = (rows + columns) // (4 * thickness) % 3 == 0
        inside = mask & hatched if instances.iscrowd[index] else mask
        canvas[inside] = canvas[inside] * (1 - 0.45) + color * 0.45
        inner = mask
        for _ in range(thickness):
            padded = np.pad(inner, 1)
            inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        canvas[mask & ~inner] = color * 0.35 + 165
    return canvas.astype(np.uint8)


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (1100, 1600)])
def test_a_picture_is_that_of_objects_painted_on_the_whole_image(size: tuple[int, int]) -> None:
    """Overlapping objects, holes, parts far from each other, an empty mask, crowds, at the border, the whole image."""
    height, width = size
    rng = np.random.default_rng(0)
    masks = np.zeros((9, height, width), bool)
    for index in range(5):
        y, x = rng.integers(0, height - 8), rng.integers(0, width - 8)
        masks[index, y : y + rng.integers(1, height // 2), x : x + rng.integers(1, width // 2)] = True
    masks[1, height // 3 : height // 2, width // 3 : width // 2] = False
    masks[5, 0, 0] = masks[5, -1, -1] = True
    masks[6] = True
    masks[8] = rng.random((height, width)) < 0.5
    instances = segdata.Instances.build(
        np.arange(9) % 2, Masks.from_dense(masks), iscrowd=np.array([0, 1, 0, 0, 1, 0, 1, 0, 0], bool)
    )
    labels = segdata.LabelSpace("two", (segdata.Category("a", 1), segdata.Category("b", 2, color=(0, 200, 100))))
    sample = segdata.Sample("a", height, width, instances=instances)
    picture = draw.overlay(sample, labels, legend=False, title=False, names=False)
    assert np.array_equal(picture, _drawn_naively(sample, labels))


def test_many_objects_of_a_large_image_are_drawn_in_two_seconds() -> None:
    rng = np.random.default_rng(0)
    crops = [np.ones((90, 90), bool)] * 450
    corners = [(int(x), int(y)) for x, y in rng.integers(0, (3900, 2900), (450, 2))]
    instances = segdata.Instances.build(np.zeros(450, np.int64), Masks.from_crops(crops, corners, 3024, 4032))
    sample = segdata.Sample("a", 3024, 4032, instances=instances)
    labels = segdata.LabelSpace("pipes", (segdata.Category("pipe", 1),))
    begin = time.process_time()
    draw.overlay(sample, labels)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("far", [1e4, 1e18, 1e300])
def test_boxes_of_absurd_numbers_are_drawn_to_a_little_beyond_the_picture(far: float) -> None:
    """As large as that, the part of a box that can be seen is the same."""
    labels = segdata.LabelSpace("one", (segdata.Category("a", 1),))

    def drawn(box: list[float], *, has_mask: bool) -> np.ndarray:
        masks = Masks.from_dense(np.ones((1, 30, 40), bool)) if has_mask else Masks.empty(30, 40, 1)
        instances = segdata.Instances.build([0], masks, has_mask=[has_mask], bbox=[box], score=[0.5])
        return draw.overlay(segdata.Sample("a", 30, 40, instances=instances), labels)

    for has_mask in (True, False):
        assert np.array_equal(
            drawn([-far, 5, 2 * far, far], has_mask=has_mask), drawn([-999, 5, 9999, 999], has_mask=has_mask)
        )
    assert np.array_equal(drawn([30, 20, -10, -10], has_mask=True), drawn([20, 10, 10, 10], has_mask=True))


@pytest.mark.parametrize("size", [(8000, 4000), (1, 1 << 20), (1 << 20, 1)])
def test_large_images_are_drawn_with_every_second_third_pixel(size: tuple[int, int]) -> None:
    """An object of a single colour covers the same part of the picture as of the image."""
    height, width = size
    masks = Masks.from_crops([np.ones((-(-height // 2), width), bool)], [(0, 0)], height, width)
    instances = segdata.Instances.build([0], masks)
    labels = segdata.LabelSpace("one", (segdata.Category("a", 1, color=(200, 0, 0)),))
    sample = segdata.Sample("a", height, width, instances=instances, semantic=np.zeros(size, np.uint8))
    picture = draw.overlay(sample, labels, legend=False, title=False, names=False, semantic=False)
    assert picture.shape[0] * picture.shape[1] <= 1 << 24 and max(picture.shape) <= 1 << 14
    step = round(max(size) / max(picture.shape))
    assert picture.shape[:2] == (-(-height // step), -(-width // step))
    is_painted = (picture != 60).any(axis=2).mean()
    assert abs(is_painted - -(-height // 2) / height) < 0.01
    assert draw.overlay(sample, labels).size < 1 << 26


def test_very_many_large_masks_are_drawn_with_fewer_pixels() -> None:
    side, count = 1024, 150
    whole = Masks.from_crops([np.ones((side, side), bool)], [(0, 0)], side, side)
    masks = Masks.concatenate([whole] * count, side, side)
    labels = segdata.LabelSpace("one", (segdata.Category("a", 1),))
    sample = segdata.Sample("a", side, side, instances=segdata.Instances.build([0] * count, masks))
    begin = time.process_time()
    assert draw.overlay(sample, labels, legend=False, title=False, names=False).shape == (512, 512, 3)
    assert time.process_time() - begin < 15


def test_a_sheet_of_narrow_pictures_is_no_larger_than_one_of_square_ones() -> None:
    sheet = draw.contact_sheet([np.zeros((20_000, 1, 3), np.uint8), np.zeros((5, 8, 3), np.uint8)], width=100)
    assert sheet.shape == (4 * 100 + 20, 2 * 100 + 30, 3)
