"""Modules of FastFCN and Gated-SCNN against the outputs of the authors' code, and torchvision's networks against torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torchvision.models import segmentation  # noqa: E402

from segdata.models import build  # noqa: E402
from segdata.models.semantic import fastfcn, gated_scnn  # noqa: E402
from segdata.models.semantic.network import Network  # noqa: E402
from segdata.models.semantic.networks.torchvision_networks import torchvision_names  # noqa: E402

MODULES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "jpu": (lambda: fastfcn.JPU((32, 64, 128), 16), ("in/c2", "in/c3", "in/c4")),
    "encoding": (lambda: fastfcn.Encoding(8, 4), ("in",)),
    "encmodule": (lambda: fastfcn.EncModule(16, 4, 5), ("in",)),
    "gated_conv": (lambda: gated_scnn.Gate(8, 8), ("in/features", "in/gating")),
    "gscnn_aspp": (lambda: gated_scnn.ASPP(12, 6), ("in/x", "in/edge")),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_gives_what_the_authors_gives(name: str) -> None:
    file = Path(os.environ.get("SEGDATA_REFERENCE", "reference")) / "architectures/modules.npz"
    if not file.exists():
        pytest.skip(f"{file} is not there: set SEGDATA_REFERENCE")
    with np.load(file) as arrays:
        state = {
            key.removeprefix(f"{name}/state/"): torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(f"{name}/state/")
        }
        made, inputs = MODULES[name]
        module = made().eval()
        module.load_state_dict(state)
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(arrays[f"{name}/{key}"]) for key in inputs))
        if name == "encmodule":
            outputs, presence = outputs
            assert np.abs(presence.numpy() - arrays["encmodule/se"]).max() < 1e-5
        assert np.abs(outputs.numpy() - arrays[f"{name}/out"]).max() < 1e-5


def test_an_encoding_sums_residuals_by_hand() -> None:
    encoding = fastfcn.Encoding(1, 2)
    with torch.no_grad():
        encoding.codewords.copy_(torch.tensor([[0.0], [3.0]]))
        encoding.scale.copy_(torch.tensor([-1.0, -1.0]))
        given = encoding(torch.tensor([[[[1.0]]]]))[0, :, 0]
    # distances² 1 and 4: shares 1 / (1 + e⁻³) and the rest; residuals 1 and −2
    share = 1 / (1 + np.exp(-3))
    assert np.allclose(given, [share, -2 * (1 - share)], atol=1e-6)


def test_edges_of_an_image_are_where_grey_levels_change() -> None:
    level = 1 / 57.6
    images = torch.zeros(1, 3, 9, 12)
    images[:, 1, :, 6:] = 13.75 * level  # Sobel: 4 × 13.75 = 55 grey levels, half way from 10 to 100
    edges = gated_scnn.gradient_edges(images)
    assert edges.shape == (1, 1, 9, 12)
    assert torch.allclose(edges[..., 5:7], torch.tensor(0.5)) and edges.sum() == edges[..., 5:7].sum()
    assert gated_scnn.gradient_edges(images * 100).max() == 1
    assert gated_scnn.gradient_edges(images * 0.1).max() == 0


@pytest.mark.parametrize(
    ("name", "settings", "theirs"),
    [
        ("deeplabv3", {}, "deeplabv3_resnet50"),
        ("deeplabv3", {"backbone": "mobilenet_v3_large"}, "deeplabv3_mobilenet_v3_large"),
        ("lraspp", {}, "lraspp_mobilenet_v3_large"),
    ],
)
def test_weights_of_torchvision_give_the_logits_of_torchvision(
    name: str, settings: dict[str, Any], theirs: str
) -> None:
    torch.manual_seed(0)
    with_auxiliary = {} if name == "lraspp" else {"aux_loss": True}
    original = getattr(segmentation, theirs)(weights=None, weights_backbone=None, num_classes=21, **with_auxiliary)
    network = build(name, 21, **settings)
    assert isinstance(network, Network)
    network.load_state_dict(torchvision_names(original.state_dict()))
    images = torch.randn(2, 3, 33, 50)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), original.eval()(images)["out"])
        if name == "deeplabv3":
            torch.manual_seed(1)
            expected = original.train()(images)
            torch.manual_seed(1)
            outputs = network.train().outputs(images)
            assert torch.equal(outputs.logits, expected["out"]) and torch.equal(outputs.auxiliary, expected["aux"])
