"""Matterport's model in the loop of `segdata train`: the same losses and updates, Keras weights, other classes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segdata
from segdata.core import png
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.demo.synthetic import objects
from segdata.models import matterport
from segdata.models.matterport.config import LOSSES
from segdata.models.matterport.training.architecture import MODEL
from segdata.models.weights import Weights
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.step import TrainStep
from tests.helpers.command import Here

TINY: dict[str, Any] = {
    "backbone": "resnet50",
    "top_down_pyramid_size": 16,
    "fpn_classif_fc_layers_size": 32,
    "image_min_dim": 128,
    "image_max_dim": 128,
    "train_rois_per_image": 24,
    "layers": "heads",
}
LABELS = LabelSpace("two", (Category("a", 1), Category("b", 2)))


def sample(height: int = 96, *, crowd: bool = False) -> Sample:
    """A noisy photo of two bright rectangles."""
    image = np.random.default_rng(0).integers(0, 60, (height, 128, 3), dtype=np.uint8)
    masks = np.zeros((2, height, 128), np.uint8)
    masks[0, 10:60, 15:70] = masks[1, 40:90, 75:120] = 1
    image[masks[0] > 0], image[masks[1] > 0] = (250, 120, 30), (30, 120, 250)
    instances = Instances.build([0, 1], Masks.from_dense(masks), iscrowd=[crowd, crowd])
    return Sample("a", height, 128, encoded=png.encode_png(image), instances=instances)


def network_of(config: TrainConfig) -> Any:
    return MODEL.build(config.model, LABELS, seed=3)


def test_an_update_is_that_of_the_original_training() -> None:
    """The five losses, the L2 penalty and every weight after it, from the same random numbers."""
    config = TrainConfig.from_dict({"model": "matterport", **TINY})
    network = network_of(config)
    settings = {name: value for name, value in TINY.items() if name not in ("backbone", "layers")}
    model = matterport.Model(copy.deepcopy(network), matterport.Config(**settings), "resnet50", LABELS)
    training = matterport.Training(model, "heads", seed=7)
    expected = training.step([matterport.Example.of(sample())])
    learner = TrainStep(MODEL, network, config, World(0, 1, torch.device("cpu")))
    learner.choose("heads")
    item = MODEL.transform(config.model, LABELS, None)(sample(), np.random.default_rng(7))
    means = dict(
        zip(MODEL.loss_names(config.model), learner.update([[item]], config.run.learning_rate).tolist(), strict=True)
    )
    for name in LOSSES:
        assert means[name] == pytest.approx(expected[name], rel=1e-5) and means[name] > 0
    assert means["weight_penalty"] * 0.0001 == pytest.approx(expected["penalty"], rel=1e-5)
    before, mine, theirs = (one.state_dict() for one in (network_of(config), network, model.network))
    changed = {name for name, value in mine.items() if not torch.equal(value, before[name])}
    assert changed == {name for name, value in theirs.items() if not torch.equal(value, before[name])}
    assert changed and all(MODEL.stage_of(name) is None for name in changed)
    assert all(torch.allclose(mine[name], theirs[name], rtol=0, atol=1e-7) for name in changed)
    gradients, wanted = (
        {
            name: step.state[parameter]["momentum_buffer"]
            for name, parameter in one.named_parameters()
            if name in changed
        }
        for one, step in ((network, learner.optimizer), (model.network, training.optimizer))
    )
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, wanted[name], rtol=0, atol=1e-5 * float(wanted[name].abs().max())), name


def test_losses_of_several_processes_and_sizes_add_up() -> None:
    """Images of two sizes are two sums; one without an object counts nothing, and every weight has a gradient of it."""
    config = TrainConfig.from_dict({"model": "matterport", **TINY, "image_resize_mode": "pad64"})
    network, transform = network_of(config).eval(), MODEL.transform(config.model, LABELS, None)
    wide, tall, crowds = (
        transform(one, np.random.default_rng(1)) for one in (sample(), sample(192), sample(crowd=True))
    )
    assert wide.frame.image.shape == (128, 192, 3) and tall.frame.image.shape == (192, 128, 3)

    def losses(*chosen: Any) -> Any:
        device, memory_format = torch.device("cpu"), config.run.autocast.memory_format
        batch = MODEL.to_batch(chosen, config.model, device, memory_format=memory_format)
        return MODEL.losses(network, batch, config.model, None)

    one, two, all_three, nothing = losses(wide), losses(tall), losses(wide, crowds, tall), losses(crowds)
    assert torch.allclose(all_three.sums[:5], one.sums[:5] + two.sums[:5])
    assert torch.equal(all_three.counts[:5], one.counts[:5] + two.counts[:5])
    assert all_three.counts[:5].all() and torch.equal(all_three.sums[5], one.sums[5])
    assert not nothing.sums[:5].any() and not nothing.counts[:5].any()
    nothing.sums[:5].sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in network.parameters())


def test_rows_of_the_heads_go_by_the_names_of_classes() -> None:
    config = TrainConfig.from_dict({"model": "matterport", **TINY})
    network, other = network_of(config), MODEL.build(config.model, LABELS, seed=4)
    known = LabelSpace("three", (Category("c", 1), Category("b", 2)))
    (remark,) = MODEL.put(Weights("x.h5", other.state_dict(), labels=known), network, LABELS)
    assert remark.startswith("the heads know 2 classes, here are 2: 1 of the same name are taken over")
    mine, theirs, fresh = (one.state_dict() for one in (network, other, network_of(config)))
    for name, each in (("box_predictor.cls_score.weight", 1), ("box_predictor.bbox_pred.weight", 4)):
        assert torch.equal(mine[name][:each], theirs[name][:each])  # the background
        assert torch.equal(mine[name][2 * each :], theirs[name][2 * each :])
        assert torch.equal(mine[name][each : 2 * each], fresh[name][each : 2 * each])
    assert torch.equal(mine["backbone.layer4.0.conv1.weight"], theirs["backbone.layer4.0.conv1.weight"])


def test_keras_weights_are_trained_predict_and_are_judged(tmp_path: Path, here: Here) -> None:
    """`segdata train --weights x.h5` chooses the model, and its backbone and widths, by the file."""
    config = TrainConfig.from_dict({"model": "matterport", **TINY})
    model = matterport.Model(network_of(config), matterport.Config(), "resnet50", LABELS)
    matterport.save(model, tmp_path / "x.h5")
    folder = tmp_path / "pack"
    segdata.convert(objects.draw(tmp_path / "raw", train=2, val=1, height=96, width=128), folder)
    other = here("train", folder, "-o", tmp_path / "other", "--weights", tmp_path / "x.h5", "--set=backbone=resnet101")
    assert other.code == 4 and "backbone=resnet50, top_down_pyramid_size=16" in other.err
    options = {"image_min_dim": 128, "IMAGE_MAX_DIM": 128, "layers": "heads", "epochs": 1, "steps_per_epoch": 1}
    words = [f"--set={name}={json.dumps(value)}" for name, value in options.items()]
    run = tmp_path / "run"
    outcome = here("train", folder, "-o", run, "--weights", tmp_path / "x.h5", "--json", *words)
    assert outcome.code == 0, outcome.err
    remarks = " | ".join(outcome.document["remarks"])
    classes = len(segdata.open(folder).labels)
    assert f"the heads know 2 classes, here are {classes}: 0 of the same name" in remarks
    assert "rpn_anchor_scales" in remarks
    written = TrainConfig.from_toml(run / "config.toml")
    assert written.name == "matterport" and written.run.gradient_clip_norm == 5.0
    assert (written.model.backbone, written.model.top_down_pyramid_size) == ("resnet50", 16)
    assert (run / "report.html").is_file() and "AP" in outcome.document["metrics"]
    again = here("train", folder, "-o", run, "--resume", "--json")
    assert again.document["was_done"] and again.document["steps"] == 1
    done = here("predict", run, folder, "--split", "val2017", "-o", tmp_path / "found", "--json")
    assert done.code == 0, done.err
    judged = here("evaluate", tmp_path / "found", folder, "--split", "val2017", "--metric", "coco-segm", "--json")
    assert judged.code == 0, judged.err
    refused = here("predict", run, folder, "-o", tmp_path / "flipped", "--flip", "--json")
    assert refused.code == 2 and "flip" in refused.document["error"]["message"]
