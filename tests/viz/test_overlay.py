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
