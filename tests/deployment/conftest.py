"""Runs of small networks with drawn weights; nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

import numpy as np
import torch
from PIL import Image
from torch import nn

from segdata.core.labels import Category, LabelSpace
from segdata.models import checkpoint, registry
from segdata.training.config import TrainConfig

LABELS = LabelSpace(
    "four",
    (
        Category("sky", 3, color=(10, 20, 30)),
        Category("Void", 0, ignore=True),
        Category("road", 7, color=(1, 2, 3)),
        Category("car", 9),
    ),
)
"""The second category is ignored, so outputs of the network and categories are numbered otherwise."""


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def made(name: str, change: Callable[[nn.Module], None] | None = None, **settings: Any) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "run"
        config = TrainConfig.of(name).changed(**settings)
        network = registry.model(name).build(config.model, LABELS, seed=3)
        with torch.random.fork_rng():
            torch.manual_seed(4)
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
                    module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        if change is not None:
            with torch.no_grad():
                change(network)
        document = {"step": 5, "config": config.as_dict(), "labels": LABELS.as_dict(), "data": "abc-1"}
        checkpoint.save(folder / "best", checkpoint.checkpoint_tensors(network), document)
        environment = {"command": "segdata train pack -o run --weights torchvision:imagenet"}
        (folder / "environment.json").write_text(json.dumps(environment))
        return folder

    return made


@pytest.fixture(scope="session")
def unet(make_run: Callable[..., Path]) -> Path:
    return make_run("unet", width=4)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of different sizes, none a multiple of the network's stride."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, size in enumerate(((50, 70), (64, 90), (33, 47))):
        coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), np.uint8)
        Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder
