"""The smallest model, two updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import segdata
from segdata.core.labels import Category, LabelSpace

TINY = {
    "backbone": "resnet18",
    "fpn_channels": 16,
    "box_head_size": 16,
    "mask_head_channels": 16,
    "norm": "group",
    "min_size": [96],
    "max_size": 128,
    "anchor_sizes": [8.0, 16.0, 32.0, 64.0, 128.0],
    "rois_per_image": 32,
    "post_nms_rois_training": 100,
    "post_nms_rois": 50,
    "steps_per_epoch": 2,
    "epochs": 1,
    "warmup_steps": 0,
    "log_steps": 1,
    "validation_images": 2,
    "example_pictures": 1,
    "workers": 0,
}


SEMANTIC = {
    "width": 4,
    "norm": "group",
    "crop": [64, 64],
    **{name: TINY[name] for name in ("steps_per_epoch", "epochs", "warmup_steps", "log_steps", "validation_images")},
    "example_pictures": 1,
    "workers": 0,
}
"""The same for a U-Net."""


def options(**changes: Any) -> list[str]:
    return [f"--set={name}={json.dumps(value)}" for name, value in {**TINY, **changes}.items()]


def semantic_options() -> list[str]:
    return [f"--set={name}={json.dumps(value)}" for name, value in SEMANTIC.items()]


def arguments(pack: Path, run: Path, *more: object, **changes: Any) -> list[object]:
    return ["train", pack, "-o", run, "--threads", 1, "--json", *options(**changes), *more]


def semantic_run(run: Path, pack: Path) -> None:
    """A U-Net with drawn weights that labels everything as road, in int8 too, as if trained on a pack of four images."""
    import torch

    from segdata.models import checkpoint, registry
    from segdata.training.config import TrainConfig

    labels = LabelSpace("streets", (Category("road", 1), Category("car", 2)))
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(4))
    label_map = np.zeros((64, 96), np.uint8)
    samples = [segdata.Sample.build(f"{number}", image, semantic=label_map) for number, image in enumerate(images)]
    segdata.write(samples, pack, labels=labels)
    config = TrainConfig.of("unet").changed(**SEMANTIC)
    network = registry.model("unet").build(config.model, labels, seed=0)
    with torch.no_grad():
        network.last.bias.copy_(torch.tensor([1e3, 0]))
    document = {"step": 1, "config": config.as_dict(), "labels": labels.as_dict(), "data": ""}
    checkpoint.save(run / "best", checkpoint.checkpoint_tensors(network), document)


def described(step: int) -> dict[str, Any]:
    """What every checkpoint says of itself."""
    labels = LabelSpace("two", (Category("block", 1), Category("disc", 2)))
    return {"step": step, "config": {}, "labels": labels.as_dict(), "data": ""}
