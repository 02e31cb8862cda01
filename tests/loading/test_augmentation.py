"""Augmentation takes image, masks, boxes, labels and crowds along, and says which objects survived."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.core.masks import Masks
from segdata.errors import UsageError

HEIGHT, WIDTH = 40, 60


def sample() -> segdata.Sample:
    """Four objects: left, right (a crowd), right with a box alone, and one of a single pixel at the right border."""
    masks = np.zeros((4, HEIGHT, WIDTH), np.uint8)
    masks[0, 5:15, 2:12] = 1
    masks[1, 10:30, 40:55] = 1
    masks[3, 39, 59] = 1
    bbox = np.array([[2, 5, 10, 10], [40, 10, 15, 20], [45, 2, 10, 6], [59, 39, 1, 1]], np.float64)
    instances = segdata.Instances.build(
        np.array([1, 0, 2, 1]),
        Masks.from_dense(masks),
        bbox=bbox,
        has_mask=np.array([True, True, False, True]),
        iscrowd=np.array([False, True, False, False]),
    )
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[masks.any(0) > 0] = 200
    whole = segdata.Sample.build("a", image, size=None, labels=["a", "b", "c"])
    semantic = np.where(masks[0] > 0, 1, 255).astype(np.uint8)
    return whole.with_annotations(instances=instances, semantic=semantic, extra={})


LABELS = segdata.LabelSpace.of(["a", "b", "c"])


def test_albumentations_crop_keeps_what_is_inside_and_its_columns() -> None:
    albumentations = pytest.importorskip("albumentations")
    from segdata.loading.albumentations import Albumentations

    augment = Albumentations([albumentations.Crop(30, 0, 60, 40), albumentations.HorizontalFlip(p=1)])
    done = augment(sample(), np.random.default_rng(0))
    assert done.image.shape == (40, 30, 3) and done.masks.shape == (3, 40, 30)
    assert done.index.tolist() == [1, 2, 3] and done.category.tolist() == [0, 2, 1]
    assert done.iscrowd.tolist() == [True, False, False] and done.has_mask.tolist() == [True, False, True]
    assert done.boxes.round(4).tolist() == [[5, 10, 20, 30], [5, 2, 15, 8], [0, 39, 1, 40]]
    assert done.masks.reshape(3, -1).sum(1).tolist() == [300, 0, 1]
    assert (done.image[done.masks.any(0) > 0] == 200).all()
    assert done.semantic is not None and (done.semantic == 255).all()


def test_albumentations_in_threads_draws_from_the_seed_alone() -> None:
    albumentations = pytest.importorskip("albumentations")
    from segdata.loading.albumentations import Albumentations

    class Twelve:
        labels = LABELS

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> segdata.Sample:
            return sample()

    def boxes(workers: int) -> list[Any]:
        steps = [albumentations.RandomCrop(30, 40), albumentations.HorizontalFlip()]
        loader = segdata.Loader(Twelve(), 3, seed=5, workers=workers, transform=Albumentations(steps))
        return [item.boxes.tolist() for batch in loader for item in batch.items or ()]

    assert boxes(0) == boxes(3) and len({str(one) for one in boxes(0)}) > 3


def test_torchvision_crop_keeps_what_is_inside_and_its_columns() -> None:
    pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    from segdata.torch import Augment, Dataset

    class One:
        labels = LABELS

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> segdata.Sample:
            return sample()

    def crop(image: Any, target: Any) -> Any:
        return v2.functional.crop(image, 0, 30, 40, 30), {
            name: v2.functional.crop(value, 0, 30, 40, 30) if name in ("boxes", "masks") else value
            for name, value in target.items()
        }

    flip = v2.RandomHorizontalFlip(1.0)
    data = Dataset(One(), transform=Augment(lambda *item: flip(*crop(*item))), crowds=True, without_masks=True)
    image, target = data[0]
    assert tuple(image.shape) == (3, 40, 30) and tuple(target["masks"].shape) == (3, 40, 30)
    assert target["index"].tolist() == [1, 2, 3] and target["labels"].tolist() == [1, 3, 2]
    assert target["iscrowd"].tolist() == [1, 0, 0]
    assert target["boxes"].tolist() == [[5, 10, 20, 30], [5, 2, 15, 8], [0, 39, 1, 40]]
    assert target["area"].tolist() == [300, 0, 1]  # an object without mask has no area of its own
    assert type(target["boxes"]).__name__ == "BoundingBoxes" and target["boxes"].canvas_size == (40, 30)


def test_objects_without_masks_are_counted_when_masks_are_asked_for(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    segdata.write({"train": [sample()], "val": []}, tmp_path / "pack", labels=LABELS)
    pack = segdata.open(tmp_path / "pack")
    assert pack.count_without_mask() == (1, 4, 1) and pack.split("val").count_without_mask() == (0, 0, 0)
    with caplog.at_level(logging.WARNING):
        segdata.Loader(pack, 1, masks="dense")
    assert "1 of 4 objects, in 1 images, have no mask: their dense masks are empty" in caplog.text
    pytest.importorskip("torchvision")
    from segdata.torch import Dataset

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Dataset(pack, without_masks=True)
        assert not caplog.text
        Dataset(pack)
    assert "1 of 4 objects, in 1 images, have no mask: they are left out; without_masks=True" in caplog.text


def test_options_without_effect_are_refused() -> None:
    data: Any = [sample()]

    class One(list[segdata.Sample]):
        labels = LABELS

    for options in ({"masks": "dense"}, {"images": False}, {"semantic": False}, {"reuse": True}):
        with pytest.raises(UsageError, match="has no effect with a transform"):
            segdata.Loader(One(data), 1, transform=lambda *_: 0, **options)
    pytest.importorskip("torchvision")
    from segdata.torch import Dataset

    for options in ({"crowds": True}, {"without_masks": True}, {"difficult": False}):
        for target in ("semantic", "panoptic"):
            with pytest.raises(UsageError, match=f"has no effect on the target '{target}'"):
                Dataset(One(data), target, **options)  # type: ignore[arg-type]


def test_a_batch_moves_its_items_as_lightning_asks() -> None:
    torch = pytest.importorskip("torch")

    class One(list[segdata.Sample]):
        labels = LABELS

    loader = segdata.Loader(
        One([sample()]), 1, transform=lambda one, _: (torch.zeros(2), {"boxes": [torch.ones(1)], "key": one.key})
    )
    (batch,) = loader
    try:
        from lightning.fabric.utilities.apply_func import (  # type: ignore[import-not-found, unused-ignore]
            move_data_to_device as move,
        )
    except ImportError:
        move = batch.__class__.to
    moved = move(batch, torch.device("meta"))
    (item,) = moved.items
    assert type(moved) is segdata.Batch and moved.keys == ("a",)
    assert item[0].device.type == item[1]["boxes"][0].device.type == "meta" and item[1]["key"] == "a"
    assert batch.items is not None and batch.items[0][0].device.type == "cpu"
