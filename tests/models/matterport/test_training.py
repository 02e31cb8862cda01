"""Training further: gradients reach the chosen layers and no others, and the loss falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from segdata.core import png
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.errors import UsageError
from segdata.models import matterport
from segdata.models.matterport.config import Config
from segdata.models.matterport.layers import initialise, matching
from segdata.models.matterport.model import Model
from segdata.models.matterport.network import Network
from segdata.models.matterport.training import Example, Training
from tests.helpers.keras_weights import made, needs_matterport, photo

LABELS = LabelSpace("two", (Category("a", 1), Category("b", 2)))


def small(**settings: object) -> Model:
    """A model with fresh weights and narrow heads for frames of 128 × 128."""
    config = Config(
        top_down_pyramid_size=16, fpn_classif_fc_layers_size=32, image_min_dim=128, image_max_dim=128, images_per_gpu=2
    ).changed(train_rois_per_image=24, **settings)
    model = Model(Network("resnet50", 3, config), config, "resnet50", LABELS)
    torch.manual_seed(0)
    for layer in model.layers:
        initialise(layer)
    return model


def truth() -> Example:
    """A noisy photo of two bright rectangles."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
    masks = np.zeros((96, 128, 2), bool)
    masks[10:60, 15:70, 0] = masks[40:90, 75:120, 1] = True
    image[masks[..., 0]] = (250, 120, 30)
    image[masks[..., 1]] = (30, 120, 250)
    return Example(image, np.array([1, 2]), masks)


@pytest.mark.parametrize(
    "layers", ["heads", "all", *(pytest.param(name, marks=pytest.mark.full) for name in ("5+", r"mrcnn_mask.*"))]
)
def test_only_the_chosen_layers_learn(layers: str) -> None:
    model = small()
    before = {layer.name: {k: v.clone() for k, v in layer.weights().items()} for layer in model.layers}
    values = Training(model, layers).step([truth()])
    assert values["loss"] == pytest.approx(sum(value for name, value in values.items() if name != "loss"), rel=1e-5)
    chosen = {layer.name for layer in matching(model.layers, layers)}
    changed = {
        layer.name
        for layer in model.layers
        if any(not torch.equal(value, before[layer.name][kind]) for kind, value in layer.weights().items())
    }
    assert changed == chosen
    for layer in model.layers:
        if layer.is_norm:
            for kind in ("moving_mean", "moving_variance"):
                assert torch.equal(layer.weights()[kind], before[layer.name][kind]), "frozen statistics moved"


def test_the_boxes_loss_reaches_the_proposals_and_no_other_does_as_in_the_original() -> None:
    model = small(post_nms_rois_training=4000, rpn_nms_threshold=1.0)
    example = truth()
    torch.nn.init.zeros_(model.network.rpn.boxes.weight)  # every anchor is a proposal, so some lie on the objects
    losses = Training(model).losses([example])
    reached = set()
    for name in ("mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"):
        (gradient,) = torch.autograd.grad(
            losses[name], [model.network.rpn.boxes.weight], retain_graph=True, allow_unused=True
        )
        if gradient is not None and gradient.any():
            reached.add(name)
    assert reached == {"mrcnn_bbox_loss"}


def test_statistics_follow_the_batches_when_asked() -> None:
    model = small(train_bn=True)
    Training(model, "5+").step([truth()])
    moved = {layer.name for layer in model.layers if layer.is_norm and layer.weights()["moving_mean"].abs().sum() > 0}
    assert moved == {layer.name for layer in matching(model.layers, "5+") if layer.is_norm}


def test_stages_are_those_of_the_original() -> None:
    with torch.device("meta"):
        layers = Model(Network("resnet50", 3, Config()), Config(), "resnet50", LABELS).layers
    names = {stage: {layer.name for layer in matching(layers, stage)} for stage in ("heads", "5+", "4+", "3+", "all")}
    assert {name.split("_")[0] for name in names["heads"]} == {"mrcnn", "rpn", "fpn"}
    for smaller, larger, stage in (("heads", "5+", "5"), ("5+", "4+", "4"), ("4+", "3+", "3")):
        added = names[larger] - names[smaller]
        assert added and all(name[:3] in ("res", "bn" + stage) or name[:2] == "bn" for name in added)
        assert {name.removeprefix("res").removeprefix("bn")[0] for name in added} == {stage}
    assert {name[:4] for name in names["all"] - names["3+"]} == {"conv", "bn_c", "res2", "bn2a", "bn2b", "bn2c"}


def test_a_crowd_teaches_nothing_and_a_photo_without_objects_is_left_out() -> None:
    model = small()
    example = truth()
    with pytest.raises(UsageError, match="none of these images"):
        Training(model).step([Example(example.image, np.array([-1, -2]), example.masks)])
    one = Training(model).losses([example])
    two = Training(model).losses([example, Example(example.image, np.zeros(0, int), example.masks[..., :0])])
    assert {name: value.item() for name, value in one.items()} == {name: value.item() for name, value in two.items()}


def test_a_sample_is_a_truth() -> None:
    expected = truth()
    instances = Instances.build(
        [0, 1, 0],
        Masks.concatenate([Masks.from_dense(np.moveaxis(expected.masks, -1, 0)), Masks.empty(96, 128, 1)], 96, 128),
        has_mask=[True, True, False],
        iscrowd=[False, True, False],
    )
    sample = Sample("a", 96, 128, encoded=png.encode_png(expected.image), instances=instances)
    example = Example.of(sample)
    assert example.class_ids.tolist() == [1, -2]
    assert np.array_equal(example.masks, expected.masks) and np.array_equal(example.image, expected.image)


@pytest.mark.full
@needs_matterport
def test_the_loss_falls_on_one_photo(tmp_path: Path) -> None:
    model = matterport.load(made(tmp_path, "resnet50"), image_min_dim=256, image_max_dim=256, train_rois_per_image=48)
    image = photo("3132016470_c27baa00e8_z.jpg")
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    masks = np.stack(((y - 240) ** 2 + (x - 320) ** 2 < 120**2, (abs(y - 120) < 80) & (abs(x - 100) < 70)), axis=-1)
    training = Training(model, "4+")
    values = [training.step([Example(image, np.array([3, 7]), masks)]) for _ in range(12)]
    assert np.mean([value["loss"] for value in values[-3:]]) < 0.5 * np.mean([value["loss"] for value in values[:2]])
    for name in ("mrcnn_class_loss", "mrcnn_bbox_loss", "rpn_bbox_loss"):
        assert values[-1][name] < values[0][name], name
