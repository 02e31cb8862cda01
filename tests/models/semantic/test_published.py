"""Weights that are published: which there are, under which names they come, and what is said where there is no network."""

from __future__ import annotations

import socket
import time
from importlib import util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchvision import models  # noqa: E402

from segdata.errors import NotThere, UsageError  # noqa: E402
from segdata.models import norms  # noqa: E402
from segdata.models.semantic import architectures  # noqa: E402
from segdata.models.semantic.networks import published  # noqa: E402


@pytest.mark.parametrize(
    ("network", "settings", "names"),
    [
        ("deeplabv3", {}, ("torchvision:coco-voc", "torchvision:imagenet")),
        ("lraspp", {}, ("torchvision:coco-voc", "torchvision:imagenet")),
        ("deeplabv3plus", {"backbone": "resnet18"}, ("torchvision:imagenet",)),
        ("gated_scnn", {}, ()),
        ("unet", {}, ()),
    ],
)
def test_each_network_names_its_weights(network: str, settings: dict[str, Any], names: tuple[str, ...]) -> None:
    chosen = architectures.ARCHITECTURES[network].settings().changed(**settings)
    assert published.names(chosen) == names
    with pytest.raises(UsageError, match="there are no weights 'torchvision:coco'"):
        published.published(network, chosen, "torchvision:coco")


def made(enum: Any, monkeypatch: pytest.MonkeyPatch, network: Any) -> None:
    """As if a file of torchvision's had been downloaded: its tensors are those of a network."""
    state = network.state_dict()
    monkeypatch.setattr(enum, "get_state_dict", lambda self, **options: state)


def test_torchvisions_segmentation_weights_fit_with_their_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    made(models.segmentation.LRASPP_MobileNet_V3_Large_Weights, monkeypatch, theirs)
    network = architectures.build("lraspp", 21)
    weights = published.published("lraspp", architectures.ARCHITECTURES["lraspp"].settings(), "torchvision:coco-voc")
    network.load_state_dict(weights.tensors)
    assert weights.categories is not None and weights.categories[:2] == ("__background__", "aeroplane")
    assert len(weights.categories) == 21


@pytest.mark.parametrize(
    ("network", "settings", "classifier"),
    [
        ("deeplabv3plus", {"backbone": "resnet18"}, "resnet18"),
        ("fastfcn", {"backbone": "resnet18", "stem": "plain"}, "resnet18"),
        ("lraspp", {}, "mobilenet_v3_large"),
    ],
)
def test_a_classifiers_weights_fit_the_encoder(
    network: str, settings: dict[str, Any], classifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(models.get_model_weights(classifier), monkeypatch, models.get_model(classifier, weights=None))
    ours = architectures.build(network, 4, **settings)
    chosen = architectures.ARCHITECTURES[network].settings().changed(**settings)
    tensors = published.published(network, chosen, "torchvision:imagenet").tensors
    missing, unexpected = ours.load_state_dict(tensors, strict=False)
    assert not unexpected and not any(name.startswith("encoder.") for name in missing)


@pytest.mark.parametrize(
    ("network", "settings", "text"),
    [("fastfcn", {}, "--set stem=plain"), ("deeplabv3plus", {"backbone_width": 0.5}, "backbone_width=1")],
)
def test_settings_that_change_the_backbone_are_refused(network: str, settings: dict[str, Any], text: str) -> None:
    chosen = architectures.ARCHITECTURES[network].settings().changed(**settings)
    with pytest.raises(UsageError, match=text):
        published.published(network, chosen, "torchvision:imagenet")


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_tiny"])
def test_a_server_that_does_not_answer_is_named_within_five_seconds(
    backbone: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    chosen = architectures.ARCHITECTURES["smp:unet"].settings().changed(backbone=backbone)
    assert published.names(chosen)[0] == "smp:imagenet"
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        began = time.monotonic()
        with pytest.raises(NotThere, match=backbone) as raised:
            published.published("smp:unet", chosen, "smp:imagenet")
        assert time.monotonic() - began < 5
        assert raised.value.file is not None and raised.value.file.startswith(endpoint)


def test_an_encoder_that_there_is_not_is_told_with_close_ones() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(UsageError) as raised:
        architectures.build("smp:unet", 2, backbone="resnet43")
    assert "resnet34" in str(raised.value)
    with pytest.raises(UsageError, match="cannot be built on the backbone"):
        architectures.build("smp:unet", 2, backbone="vit_tiny_patch16_224")


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        architectures.build("smp:unet", 2)
    assert "pip install 'segdata[smp]'" in str(raised.value)


@pytest.mark.parametrize("norm", ["frozen", "synchronised"])
def test_a_timm_encoder_with_activations_in_its_norms_keeps_them(norm: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    network = architectures.build("smp:unet", 2, backbone="test_efficientnet").eval()
    assert any(hasattr(module, "act") for module in network.get_submodule("encoder").modules())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        norms.replace(network, norm)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
        assert torch.allclose(network.eval()(images), expected, atol=1e-5)
