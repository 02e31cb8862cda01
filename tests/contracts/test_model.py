"""The contract of models, for every line of the table and for the toy architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import segdata
from segdata.demo.synthetic import objects
from segdata.models import registry
from segdata.pack.read import Pack
from tests.contracts import model_contract, toy_model

SEMANTIC = {"from_objects": True, "crop": [64, 64], "norm": "group", "class_weights": "median", "learning_rate": 0.01}
SETTINGS: dict[str, dict[str, Any]] = {
    "maskrcnn": {
        "backbone": "resnet18",
        "fpn_channels": 16,
        "box_head_size": 16,
        "mask_head_channels": 16,
        "norm": "group",
        "min_size": [64],
        "max_size": 96,
        "anchor_sizes": [8.0, 16.0, 32.0, 64.0, 128.0],
        "rois_per_image": 16,
        "post_nms_rois_training": 50,
        "post_nms_rois": 20,
    },
    "unet": {**SEMANTIC, "width": 8, "loss": ["ce", "dice:0:1"]},
    "deeplabv3": {**SEMANTIC, "backbone": "mobilenet_v3_large", "loss": ["lovasz"], "class_weights": "none"},
    "lraspp": {**SEMANTIC, "head_rate": 10.0},
    "deeplabv3plus": {**SEMANTIC, "backbone": "resnet18", "backbone_width": 0.125, "head_channels": 8},
    "fastfcn": {**SEMANTIC, "backbone": "resnet18", "backbone_width": 0.125, "jpu_channels": 8},
    "gated_scnn": {**SEMANTIC, "backbone_width": 0.125, "head_channels": 8},
    "smp:unet": {**SEMANTIC, "backbone": "resnet18"},
    "matterport": {
        "backbone": "resnet50",
        "layers": "heads",
        "top_down_pyramid_size": 16,
        "fpn_classif_fc_layers_size": 16,
        "image_min_dim": 64,
        "image_max_dim": 128,
        "rpn_anchor_scales": [8.0, 16.0, 32.0, 64.0, 128.0],
        "train_rois_per_image": 16,
        "post_nms_rois_training": 50,
        "post_nms_rois_inference": 20,
    },
    "toy": {"size": 24, "learning_rate": 0.1},
}
"""The smallest network of every model; FCN's least one is too slow here, and has DeepLabV3's parts."""


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.MODELS, "toy", toy_model)
    yield


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("data")
    segdata.convert(objects.draw(folder / "raw", train=4, val=2, height=64, width=96), folder / "pack")
    return segdata.open(folder / "pack")


def test_every_model_has_small_settings_here() -> None:
    alike = {name for name in registry.MODELS if name.startswith("smp:")} - {"smp:unet"} | {"fcn"}
    assert set(SETTINGS) == set(registry.MODELS) - alike


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name: str, tmp_path: Path) -> None:
    model_contract.check_settings(name, tmp_path)


@pytest.mark.parametrize("name", SETTINGS)
def test_training_samples_follow_from_the_generator(name: str, pack: Pack) -> None:
    model_contract.check_transform(name, pack.split("train2017"), SETTINGS[name])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name == "matterport" else ()) for name in SETTINGS]
)
def test_a_resumed_training_comes_to_the_same_bits_and_predicts(name: str, pack: Pack, tmp_path: Path) -> None:
    train, val = pack.split("train2017"), pack.split("val2017")
    run = model_contract.check_training(name, train, val, SETTINGS[name], tmp_path)
    model_contract.check_prediction(name, run, val, tmp_path)


def test_weights_of_another_model_are_refused(pack: Pack, tmp_path: Path) -> None:
    train = pack.split("train2017")
    config = model_contract.config_of("toy", {"epochs": 1, "validate_epochs": 0})
    segdata.train(train, tmp_path / "toy", config, device="cpu")
    other = model_contract.config_of("maskrcnn", SETTINGS["maskrcnn"])
    with pytest.raises(segdata.errors.InvalidInput, match="the weights are of another model"):
        segdata.train(train, tmp_path / "other", other, weights=tmp_path / "toy", device="cpu")
    with pytest.raises(segdata.errors.NotThere, match="no model 'unknown'"):
        segdata.train(train, tmp_path / "unknown", {"model": "unknown"})


def test_paths_and_names_of_settings_are_enough(pack: Pack, tmp_path: Path) -> None:
    """Of a path, the split called train… is trained on, and the one called val… validated on."""
    settings = {"model": "toy", "size": 8, "steps_per_epoch": 1, "epochs": 1, "workers": 0}
    report = segdata.train(str(pack.path), str(tmp_path / "run"), settings, device="cpu")
    assert (report.images, report.steps) == (4, 1) and set(report.metrics) == {"accuracy"}
    predicted = segdata.predict(str(report.run), str(pack.path), str(tmp_path / "predicted"), split="val2017")
    assert predicted.samples == 2 and list(segdata.open(predicted.target).splits) == ["val2017"]
    limited = segdata.predict(report.run, pack, tmp_path / "limited", limit=3, batch_size=2)
    assert limited.samples == 3 and list(segdata.open(limited.target).keys) == list(pack.keys)[:3]


def test_misspelled_options_and_settings_are_errors(pack: Pack, tmp_path: Path) -> None:
    for settings, words in (
        ({"learning_rat": 1.0}, "learning_rate"),
        ({"model": "toy", "backbone": "resnet18"}, "segdata config toy lists all settings"),
        ({"model": "toy", "size": "large"}, "size must be a whole number"),
    ):
        with pytest.raises(segdata.errors.UsageError) as error:
            segdata.train(pack, tmp_path / "run", settings)
        assert words in str(error.value)
    with pytest.raises(TypeError, match="weigths"):
        segdata.train(pack, tmp_path / "run", weigths="run")  # type: ignore[call-arg]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [name for name in SETTINGS if "crop" in SETTINGS[name]])
def test_a_training_step_leaves_no_tensor_on_another_device(name: str, pack: Pack) -> None:
    """Under fake CUDA tensors, where mixed devices are an error; Mask R-CNN's shapes follow from values, which are not there."""
    model, config = registry.model(name), model_contract.config_of(name, SETTINGS[name])
    train, _, facts = model.usable(pack.split("train2017"), config.model)
    transform = model.transform(config.model, train.labels, facts)
    items = [transform(train[index], np.random.default_rng(index)) for index in range(2)]
    network = model.build(config.model, train.labels, seed=0)
    device = torch.device("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = model.to_batch(items, config.model, device, memory_format=torch.channels_last)
        losses = model.losses(network.to(device).train(), batch, config.model, facts)
        assert losses.sums.device.type == losses.counts.device.type == "cuda"
        with pytest.raises(RuntimeError, match="device"):
            model.losses(network, dataclasses.replace(batch, images=batch.images.cpu()), config.model, facts)
