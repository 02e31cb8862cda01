"""What proposes masks: GrabCut on a drawn scene and on real photos, shapes by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")

from segdata.correction.tools import shapes
from segdata.correction.tools.grabcut import grabcut
from segdata.errors import UsageError
from tests.correction.oracle import by_function, drawn_scene, oracle_ious, real_objects
from tests.helpers.samples import SAMPLES, needs_samples


def iou(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum())


@pytest.mark.parametrize("size", [(480, 640), (1024, 2048)])
def test_a_box_and_two_scribbles_on_a_drawn_scene(size: tuple[int, int]) -> None:
    for contrast in (60, 25, 12):
        image, mask, box, foreground, background = drawn_scene(size, contrast, seed=contrast)
        proposed = grabcut(image, box, foreground, background)
        assert iou(proposed, mask) >= 0.95
        assert np.array_equal(proposed, grabcut(image, box, foreground, background))


@pytest.mark.full
@needs_samples
def test_five_strokes_on_the_largest_error_of_real_objects() -> None:
    objects = real_objects(SAMPLES / "coco")[::4]
    assert len(objects) > 20
    ious = oracle_ious(objects, 5, by_function)
    assert ious[:, 5].mean() >= 0.83 and ious[:, 5].mean() > ious[:, 0].mean() + 0.2


def test_strokes_decide_what_colours_do_not() -> None:
    image = np.full((60, 80, 3), 120, np.uint8)
    image[20:40, 20:60] = (200, 40, 40)
    both = grabcut(image, (15, 15, 65, 45))
    strokes = [[(25, 21), (25, 39)]], [[(50, 21), (50, 39)]]
    left = grabcut(image, (15, 15, 65, 45), *strokes, width=9, previous=both)
    assert both[21:39, 21:59].all() and left[25:36, 23:27].all() and not left[22:39, 48:52].any()
    outside = grabcut(image, (15, 15, 30, 45), foreground=[[(55, 30)]])
    assert outside[30, 55]


def test_what_grabcut_cannot_do_is_no_crash() -> None:
    plain = np.full((20, 30, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    for image in (plain, noise, noise[:1, :1], noise[:1], noise[:, :1]):
        height, width = image.shape[:2]
        for box in ((0, 0, width, height), (0, 0, 1, 1), (-50, -50, 500, 500), (0.2, 0.2, 0.4, 0.4)):
            every: list[list[list[tuple[float, float]]]] = [[], [[(0, 0)]], [[(0, 0), (width, height)]], [[]]]
            for strokes in every:
                for previous in (None, np.zeros((height, width), bool), np.ones((height, width), bool)):
                    mask = grabcut(image, box, strokes, strokes, previous=previous)
                    assert mask.shape == (height, width) and mask.dtype == bool
    for box in ((5, 5, 5, 5), (40, 0, 50, 10), (0, 0, float("nan"), 5), (0, 0, float("inf"), 5)):
        with pytest.raises(UsageError):
            grabcut(plain, box)
    with pytest.raises(UsageError):
        grabcut(plain, (0, 0, 5, 5), [[(float("inf"), 0)]])


# ---------------------------------------------------------------------- shapes


def drawn(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


def test_holes_are_filled_and_bays_are_not() -> None:
    mask = drawn("......", ".####.", ".#..#.", ".####.", "..#.#.", "..#.#.")
    expected = drawn("......", ".####.", ".####.", ".####.", "..#.#.", "..#.#.")
    assert np.array_equal(shapes.filled(mask), expected)
    corner = drawn(".##", "#.#", "##.")  # the hole's way out is over a corner only
    assert np.array_equal(shapes.filled(corner), drawn(".##", "###", "##."))


def test_the_largest_part() -> None:
    mask = drawn("##...#", "##..#.", "...#..", "#.....")
    assert np.array_equal(shapes.largest(mask), drawn("##....", "##....", "......", "......"))
    assert np.array_equal(shapes.largest(drawn("#.#")), drawn("#.."))
    assert not shapes.largest(np.zeros((4, 4), bool)).any()


def test_grown_and_shrunk_by_a_disc() -> None:
    point = np.zeros((9, 9), bool)
    point[4, 4] = True
    y, x = np.mgrid[:9, :9]
    for radius in (1, 2, 2.5, 3):
        disc = (y - 4) ** 2 + (x - 4) ** 2 <= radius**2
        assert np.array_equal(shapes.grown(point, radius), disc)
        assert np.array_equal(shapes.grown(~point, -radius), ~disc)
    assert np.array_equal(shapes.grown(point, 0), point)
    assert shapes.grown(np.ones((5, 5), bool), -3).all()
    with pytest.raises(UsageError):
        shapes.grown(point, 1e9)


def test_polygons_are_drawn_as_pycocotools_draws_them() -> None:
    from pycocotools import mask as coco_mask

    rings = [[3.2, 4.1, 25.7, 6.0, 12.4, 22.9], [20.0, 18.0, 28.0, 18.0, 28.0, 26.0, 20.0, 26.0]]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, 30, 32))) != 0
    assert np.array_equal(shapes.polygon(rings, 30, 32), expected)
    for wrong in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 1, 2, float("nan")], [0, 0, 1e300, 1, 2, 2]):
        with pytest.raises(UsageError):
            shapes.polygon([wrong], 30, 32)


def test_the_scene_is_a_scene(tmp_path: Path) -> None:
    """The drawn object is what Pillow fills, not what GrabCut finds."""
    _, mask, box, _, _ = drawn_scene((480, 640), 25, seed=1)
    image = Image.new("1", (640, 480))
    ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=1)
    assert (mask & ~np.asarray(image, bool)).sum() == 0 and 0.3 < mask.sum() / np.asarray(image, bool).sum() < 1
