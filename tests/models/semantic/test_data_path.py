"""From label maps to batches: pixels of the classes, crops, scaling of images and labels, paintings of objects."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import segdata
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.loading.crops import CropTransform
from segdata.models.semantic.augment import TrainSample, TrainTransform, colored, to_batch
from segdata.models.semantic.classes import ClassPixels, class_table, ignore_index, label_map, remarks
from segdata.models.semantic.config import SemanticConfig
from segdata.pack.read import Pack

NAMES = ("sky", "road", "ignored", "pole")
LABELS = LabelSpace(
    "own", tuple(Category(id=number, name=name, ignore=name == "ignored") for number, name in enumerate(NAMES))
)
IMAGE = np.full((4, 8, 3), 100, np.uint8)


def pack_of(folder: Path, *maps: npt.NDArray[Any]) -> Pack:
    samples = [
        Sample.build(f"{number}", np.full((*one.shape, 3), 90, np.uint8), semantic=one, labels=LABELS)
        for number, one in enumerate(maps)
    ]
    segdata.write(samples, folder / "pack", labels=LABELS)
    return segdata.open(folder / "pack")


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    first = np.zeros((4, 8), np.uint8)
    first[2:] = 1
    first[0, 0], first[0, 1] = 2, 255
    second = np.zeros((2, 8), np.uint8)
    second[0, :4] = 3
    return pack_of(tmp_path, first, second, np.full((3, 3), 255, np.uint8), np.full((2, 2), 2, np.uint8))


def test_pixels_are_counted_by_class(pack: Pack, tmp_path: Path) -> None:
    counted = ClassPixels.of(pack, from_objects=False, cache=tmp_path)
    assert counted.pixels.tolist() == [14 + 12, 16, 4]  # sky, road, pole; of 32 pixels two do not count
    assert counted.images.tolist() == [2, 1, 1]
    assert counted.shown.tolist() == [30 + 16, 30, 16]
    assert counted.blank.tolist() == [2, 3]
    again = ClassPixels.of(pack, from_objects=False, cache=tmp_path)
    assert all(getattr(again, name).tolist() == value.tolist() for name, value in vars(counted).items())
    file = tmp_path / "class-pixels.json"
    for damage in (b"{", file.read_bytes().replace(b"[26,", b"[-1,"), file.read_bytes().replace(b"[2,3]", b"[2,9]")):
        file.write_bytes(damage)
        assert ClassPixels.of(pack, from_objects=False, cache=tmp_path).pixels.tolist() == [26, 16, 4]


def test_weights_of_the_classes_follow_from_their_pixels(pack: Pack) -> None:
    counted = ClassPixels.of(pack, from_objects=False)

    def weights(rule: str) -> Any:
        return counted.weights(SemanticConfig(class_weights=rule), LABELS)

    shares = [26 / 46, 16 / 30, 4 / 16]  # of the pixels in images that have the class
    assert weights("median") == pytest.approx([16 / 30 / share for share in shares])
    assert weights("enet") == pytest.approx([1 / math.log(1.02 + pixels / 46) for pixels in (26, 16, 4)])
    assert weights("inverse") == pytest.approx([46 / (3 * pixels) for pixels in (26, 16, 4)])
    assert weights("none") is None and weights("1, 2, 0.5") == (1.0, 2.0, 0.5)
    with pytest.raises(segdata.errors.UsageError, match=r"2 numbers, the pack has 3 classes[\s\S]*sky, road, pole"):
        weights("1, 2")
    for wrong in ("often", "1, x", "-1, 2, 3", "nan, 1, 1"):
        with pytest.raises(segdata.errors.UsageError, match="class_weights cannot be"):
            SemanticConfig(class_weights=wrong)


def test_what_is_seen_and_what_is_not_is_told(pack: Pack) -> None:
    counted = ClassPixels.of(pack, from_objects=False)
    assert remarks(counted, ["sky", "road", "pole"], None) == ["pixels of the classes: sky 57 %, road 35 %, pole 8.7 %"]
    few = ClassPixels.of(pack.select(np.array([0])), from_objects=False)
    assert "no pixel of pole is in the training images" in remarks(few, ["sky", "road", "pole"], None)[1]


def test_ignored_categories_and_void_do_not_count() -> None:
    table = class_table(LABELS)
    assert table[[0, 1, 2, 3, 255]].tolist() == [0, 1, 255, 2, 255]
    many = LabelSpace("many", tuple(Category(id=number, name=f"c{number}") for number in range(300)))
    assert ignore_index(many) == 65_535 and class_table(many)[[0, 299, 300, 65_535]].tolist() == [
        0,
        299,
        65_535,
        65_535,
    ]


def test_smaller_objects_lie_on_larger_ones() -> None:
    dense = np.zeros((3, 4, 8), np.uint8)
    dense[0, 1:3, 1:3], dense[1, :, :6], dense[2, 0, 7] = 1, 1, 1
    sample = Sample.build("a", IMAGE, masks=dense, category=[3, 1, 0], labels=LABELS)
    assert label_map(sample, LABELS, from_objects=False) is None
    painted = label_map(sample, LABELS, from_objects=True)
    expected = np.full((4, 8), 255)
    expected[:, :6] = 1
    expected[1:3, 1:3] = 3
    expected[0, 7] = 0
    assert painted is not None and painted.tolist() == expected.tolist()
    grounded = LabelSpace(
        "own", tuple(Category(id=n, name=name) for n, name in enumerate(("background", "a", "b", "c")))
    )
    sample = Sample.build("a", IMAGE, masks=dense, category=[3, 1, 1], labels=grounded)
    painted = label_map(sample, grounded, from_objects=True)
    assert painted is not None and painted[0, 6] == 0


def scaled(labels: list[list[int]], crop: CropTransform) -> tuple[torch.Tensor, torch.Tensor]:
    classes = np.array(labels, np.uint8)
    pixels = np.repeat(classes[:, :, None] * 50, 3, axis=2)
    settings = SemanticConfig(crop=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    sample = TrainSample(pixels, classes, crop, (1.0, 1.0, 1.0), 255)
    batch = to_batch([sample], settings, torch.device("cpu"))
    return batch.images[0, 0] * 255 / 50, batch.classes[0]


def test_labels_are_those_of_the_nearest_pixel_and_lie_where_the_image_does() -> None:
    row = [[0, 1, 2, 3]] * 2
    image, labels = scaled(row, CropTransform((0, 0, 4, 2), 4, 8))
    assert labels[:4, :8].tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 4
    assert image[0, :8].tolist() == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])  # bilinear, by centres
    assert (labels[4:] == 255).all() and (labels[:, 8:] == 255).all() and image[4:].abs().max() == 0
    _, flipped = scaled(row, CropTransform((0, 0, 4, 2), 2, 4, is_flipped=True))
    assert flipped[:2, :4].tolist() == [[3, 2, 1, 0]] * 2
    _, smaller = scaled([[0, 1, 2, 3, 4, 5]], CropTransform((0, 0, 6, 1), 1, 2))
    assert smaller[0, :2].tolist() == [1, 4]  # centres 1.5 and 4.5


def test_colours() -> None:
    image = torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand(3, 2, 2)
    assert colored(image, (1.0, 1.0, 1.0)) is image
    assert torch.allclose(colored(image, (0.5, 1.0, 1.0)), image / 2)
    gray = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    assert torch.allclose(colored(image, (1.0, 1.0, 0.0)), torch.full_like(image, gray))
    assert torch.allclose(colored(image, (1.0, 0.0, 1.0)), torch.full_like(image, gray))


def crops(labels: npt.NDArray[np.uint8], counts: tuple[int, int, int], **settings: Any) -> list[TrainSample]:
    sample = Sample.build("a", np.zeros((*labels.shape, 3), np.uint8), semantic=labels, labels=LABELS)
    counted = ClassPixels(np.array(counts), np.ones(3, int), np.ones(3, int), np.zeros(0, int))
    changed = {"crop": (32, 32), "scale_jitter": (1.0, 1.0), "rare": 0.0, "max_one_class": 1.0, **settings}
    transform = TrainTransform(SemanticConfig(**changed), LABELS, counted)
    return [transform(sample, np.random.default_rng(seed)) for seed in range(60)]


def test_crops_lie_around_rare_classes() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[190, 10] = 3
    has_pole = [bool((crop.classes == 2).any()) for crop in crops(labels, (10**6, 0, 1), rare=1.0)]
    assert sum(has_pole) >= 57  # drawn by inverse frequency: a million to one
    assert sum(bool((crop.classes == 2).any()) for crop in crops(labels, (10**6, 0, 1))) < 20


def test_a_crop_has_a_pixel_that_counts_and_not_too_much_of_one_class() -> None:
    labels = np.full((300, 300), 255, np.uint8)
    labels[299, 299] = 1
    assert all((crop.classes == 1).any() for crop in crops(labels, (1, 1, 1)))
    labels[:] = 0
    labels[:, 150:] = 1

    def even(most: float) -> int:
        shares = [
            np.bincount(crop.classes.reshape(-1)).max() / crop.classes.size
            for crop in crops(labels, (1, 1, 1), max_one_class=most)
        ]
        return sum(share <= 0.75 for share in shares)

    assert even(0.75) > 15 > 5 > even(1.0)  # of 60; a crop lies so in one case of 17, and there are ten tries


def test_scales_are_log_uniform_and_crops_have_the_size_that_is_asked_for() -> None:
    labels = np.zeros((400, 400), np.uint8)
    made = crops(labels, (1, 1, 1), scale_jitter=(0.5, 2.0), crop=(64, 96))
    sizes = [(crop.transform.height, crop.transform.width) for crop in made]
    assert set(sizes) == {(64, 96)}
    factors = np.array([crop.transform.scale[0] for crop in made])
    assert 0.49 < factors.min() < 0.65 and 1.6 < factors.max() < 2.05 and 0.35 < (factors < 1).mean() < 0.65
    small = crops(np.zeros((20, 10), np.uint8), (1, 1, 1))
    assert {(crop.transform.height, crop.transform.width) for crop in small} == {(20, 10)}
