"""A ResNet with a fraction of its channels: as large as arithmetic says, and recognised from its tensors alone."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")

from safetensors.torch import save_file  # noqa: E402

from segdata.models.maskrcnn import network, torchvision_weights, weights  # noqa: E402
from segdata.models.maskrcnn.config import Config  # noqa: E402

SMALL = {"norm": "group", "fpn_channels": 16, "box_head_size": 16, "mask_head_channels": 16}


@pytest.mark.parametrize(("backbone", "last"), [("resnet18", 512), ("resnet50", 2048)])
def test_the_stages_have_the_stated_fraction_of_channels(backbone: str, last: int) -> None:
    body = network.build(Config(backbone=backbone, backbone_width=0.25, **SMALL), 2).backbone.body  # type: ignore[arg-type]
    features = body(torch.zeros(1, 3, 64, 64))
    assert [features[name].shape[1] for name in "0123"] == [last // 32, last // 16, last // 8, last // 4]


def test_the_width_is_seen_in_the_tensors(tmp_path: Path) -> None:
    config = Config(backbone="resnet18", backbone_width=0.25, **SMALL)  # type: ignore[arg-type]
    state = network.build(config, 2).state_dict()
    assert torchvision_weights.config_of(state, "here") == config
    halves = {name: tensor.half() for name, tensor in state.items()}
    save_file(halves, tmp_path / "half.safetensors")
    model = network.build(config, 2, seed=1)
    assert weights.put(weights.read(tmp_path / "half.safetensors"), model) == []
    first = model.state_dict()["backbone.body.conv1.weight"]
    assert first.dtype == torch.float32
    assert torch.equal(first, halves["backbone.body.conv1.weight"].float())
