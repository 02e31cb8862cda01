"""DeepLabV3 against torchvision: the same weights and images → the same logits; a training step → the same losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.segmentation import deeplabv3_resnet50

import segdata
from segdata.core.labels import Category, LabelSpace
from segdata.core.sample import Sample
from segdata.models import registry
from segdata.models.semantic.networks.torchvision_networks import torchvision_names
from segdata.training.config import TrainConfig
from segdata.training.distributed import World
from segdata.training.step import TrainStep

CLASSES, VOID, SIZE = 5, 255, (49, 65)
LABELS = LabelSpace("own", tuple(Category(id=number, name=f"class {number}") for number in range(CLASSES)))
RATE = 0.01
CLOSE = 1e-5

CONFIG = TrainConfig.from_dict(
    {
        "model": "deeplabv3",
        "loss": ["ce"],
        "aux_loss": 0.5,
        "crop": SIZE,
        "scale_jitter": [1.0, 1.0],
        "flip": 0.0,
        "color_jitter": 0.0,
        "rare": 0.0,
        "max_one_class": 1.0,
        "batch_size": 2,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.0,
        "precision": "fp32",
        "channels_last": False,
        "average": 0.0,
        "gradient_clip_norm": 0.0,
    }
)
"""Torchvision's reference training, but that no image is scaled or flipped and no weight decays: its script lets norms and
biases decay, too, and gives the auxiliary head ten times the learning rate."""


def scene(rng: np.random.Generator) -> Sample:
    """Coarse colours, patches of classes, and a border that does not count."""
    coarse = torch.from_numpy(rng.random((1, 3, 7, 9)))
    smooth = functional.interpolate(coarse, SIZE, mode="bilinear")[0].permute(1, 2, 0)
    classes = rng.integers(0, CLASSES, (7, 9)).repeat(7, 0).repeat(8, 1)[:, : SIZE[1]].astype(np.uint8)
    classes[:3] = VOID
    key = f"{rng.integers(1 << 30)}"
    return Sample.build(key, (smooth.numpy() * 255).astype(np.uint8), semantic=classes, labels=LABELS)


@pytest.fixture
def theirs() -> Any:
    """Torchvision's network with random weights."""
    torch.manual_seed(0)
    return deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True)


def theirs_batch(pack: segdata.Pack) -> tuple[Tensor, Tensor]:
    """Images and label maps as torchvision's presets for segmentation make them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = [(torch.from_numpy(sample.image).permute(2, 0, 1) / 255 - mean) / std for sample in pack]
    maps: list[npt.NDArray[np.uint8]] = [sample.semantic for sample in pack if sample.semantic is not None]
    return torch.stack(images), torch.stack([torch.from_numpy(one.astype(np.int64)) for one in maps])


def theirs_step(network: Any, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """One step as in torchvision's references/segmentation/train.py; the losses of both heads."""
    images, maps = batch
    outputs = network(images)
    losses = {name: functional.cross_entropy(logits, maps, ignore_index=VOID) for name, logits in outputs.items()}
    optimizer.zero_grad()
    (losses["out"] + 0.5 * losses["aux"]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return losses["out"].item(), losses["aux"].item()


def test_steps_of_training_are_those_of_torchvisions_reference(theirs: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    segdata.write([scene(rng) for _ in range(2)], tmp_path / "pack", labels=LABELS)
    pack = segdata.open(tmp_path / "pack")
    model, settings = registry.model("deeplabv3"), CONFIG.model
    facts = model.usable(pack, settings).facts
    network = model.build(settings, pack.labels, seed=0)
    network.load_state_dict(torchvision_names(theirs.state_dict()))
    images, maps = theirs_batch(pack)
    with torch.no_grad():
        logits, expected = network.eval()(images), theirs.eval()(images)["out"]
    assert expected.std() > 0.01 and (logits - expected).abs().max() <= CLOSE

    learner = TrainStep(model, network, CONFIG, World(0, 1, torch.device("cpu")), facts)
    learner.choose("all")
    transform = model.transform(settings, pack.labels, facts)
    samples = [transform(sample, np.random.default_rng(0)) for sample in pack]
    optimizer = torch.optim.SGD(theirs.train().parameters(), lr=RATE, momentum=0.9)
    before = theirs.classifier[-1].weight.detach().clone()
    history = []
    for step in range(3):
        torch.manual_seed(step)  # of dropout
        main, auxiliary = theirs_step(theirs, optimizer, (images, maps))
        ours = learner.update([samples], RATE, seed=step).tolist()
        assert ours == pytest.approx([main, auxiliary], abs=CLOSE)
        history.append(main)
    assert (theirs.classifier[-1].weight - before).abs().max() > 100 * CLOSE and abs(history[0] - history[-1]) > 0.01
