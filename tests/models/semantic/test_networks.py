"""Every network gives logits at the image's size, has as many parameters as is published, and any normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torchvision.models import resnet  # noqa: E402

from segdata.errors import NotThere, UsageError  # noqa: E402
from segdata.models import build  # noqa: E402
from segdata.models.semantic.network import Network, stage_of  # noqa: E402
from segdata.models.semantic.networks.resnet import ResNet  # noqa: E402
from segdata.models.semantic.networks.settings import SETTINGS, SMP_NETWORKS  # noqa: E402

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("unet", {"width": 8}),
    ("unet", {"width": 8, "bilinear": True}),
    ("unet", {"width": 8, "padded": False}),
    ("deeplabv3plus", {"backbone": "resnet18", "backbone_width": 0.25, "head_channels": 16, "auxiliary": True}),
    ("deeplabv3plus", {"backbone": "resnet50", "backbone_width": 0.125, "head_channels": 8, "output_stride": 8}),
    ("deeplabv3plus", {"backbone": "resnet18", "backbone_width": 0.25, "decoder": "separable"}),
    ("deeplabv3", {"backbone": "mobilenet_v3_large", "auxiliary": True}),
    ("deeplabv3", {"backbone": "mobilenet_v3_large", "auxiliary": False}),
    ("lraspp", {}),
    *(
        ("fastfcn", {"head": head, "backbone": backbone, "backbone_width": 0.25, "jpu_channels": 16})
        for head, backbone in (
            ("encnet", "resnet18"),
            ("encnet_lateral", "resnet50"),
            ("psp", "resnet18"),
            ("deeplab", "resnet18"),
            ("fcn", "resnet18"),
        )
    ),
    ("gated_scnn", {"backbone": "wideresnet38", "backbone_width": 0.125, "head_channels": 8}),
    ("gated_scnn", {"backbone": "resnet50", "backbone_width": 0.125, "head_channels": 8}),
    *((f"smp:{name}", {"backbone": "test_resnet"}) for name in SMP_NETWORKS),
]
"""Networks, narrow where they can be."""

HAS_AUXILIARY = {"deeplabv3", "fcn", "fastfcn"}
"""Networks that have an auxiliary head unless it is turned off."""

IDS = [f"{name}-{'-'.join(map(str, settings.values()))}" for name, settings in SMALL]

COUNTS = [
    # Ronneberger et al.: two 3×3 convolutions a level, 64 … 1024 channels, with biases; from in_channels × 64 × 9 on
    ("unet", 2, {"in_channels": 1, "norm": "none", "padded": False}, 31_030_658),
    ("unet", 19, {"norm": "none", "padded": False}, 31_032_915),
    ("unet", 19, {}, 31_038_803),
    ("unet", 2, {"in_channels": 1, "bilinear": True}, 17_261_890),
    # ResNet-101 without classifier 42,500,160, ASPP 15,535,104, 1×1 12,384, decoder 700,928 + 590,336 + 4,883
    ("deeplabv3plus", 19, {"backbone": "resnet101"}, 59_343_795),
    ("deeplabv3plus", 19, {"backbone": "resnet50", "output_stride": 8}, 40_351_667),
    # torchvision's pages of its weights, 21 classes
    ("deeplabv3", 21, {}, 42_004_074),
    ("deeplabv3", 21, {"backbone": "resnet101"}, 60_996_202),
    ("deeplabv3", 21, {"backbone": "mobilenet_v3_large"}, 11_029_328),
    ("fcn", 21, {}, 35_322_218),
    ("fcn", 21, {"backbone": "resnet101"}, 54_314_346),
    ("lraspp", 21, {}, 3_221_538),
    # the authors' code, less a classifier of 1000 classes that it never uses (2048 × 1000 + 1000)
    ("fastfcn", 19, {}, 49_392_449 - 2_049_000),
    ("fastfcn", 19, {"head": "psp", "backbone": "resnet101"}, 89_856_718 - 2_049_000),
    ("fastfcn", 19, {"head": "deeplab"}, 63_911_374 - 2_049_000),
    # trunk, shape stream, pyramid pooling, decoder, fusion of edges; less an unused convolution of 64 × 1 + 1
    ("gated_scnn", 19, {}, 105_062_720 + 107_948 + 30_412_032 + 1_695_488 + 2 - 65),
    # segmentation-models-pytorch 0.6
    ("smp:unet", 19, {"backbone": "resnet34"}, 24_438_979),
    ("smp:deeplabv3plus", 19, {"backbone": "resnet50"}, 26_682_211),
    ("smp:segformer", 19, {"backbone": "resnet50"}, 24_841_811),
]


def built(name: str, classes: int, **settings: Any) -> Network:
    if name.startswith("smp:"):
        pytest.importorskip("segmentation_models_pytorch")
    network = build(name, classes, **settings)
    assert isinstance(network, Network)
    return network


@pytest.mark.parametrize(("name", "classes", "settings", "count"), COUNTS)
def test_a_network_has_as_many_parameters_as_published(
    name: str, classes: int, settings: dict[str, Any], count: int
) -> None:
    with torch.device("meta"):
        network = built(name, classes, **settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize(("name", "settings"), SMALL, ids=IDS)
def test_logits_have_the_size_of_the_image(name: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = built(name, 5, **settings)
    for size in ((32, 32), (33, 65), (97, 130)):
        assert network.eval()(torch.randn(1, 3, *size)).shape == (1, 5, *size)
        outputs = network.train().outputs(torch.randn(2, 3, *size))
        assert outputs.logits.shape == (2, 5, *size)
        for output, channels in ((outputs.auxiliary, 5), (outputs.edges, 1)):
            assert output is None or output.shape == (2, channels, *size)
        assert outputs.presence is None or outputs.presence.shape == (2, 5)
    assert (outputs.auxiliary is not None) == settings.get("auxiliary", name in HAS_AUXILIARY)
    assert (outputs.presence is not None) == settings.get("head", "").startswith("encnet")
    assert (outputs.edges is not None) == (name == "gated_scnn")
    torch.stack([output.square().mean() for output in outputs if output is not None]).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
    assert network.eval().outputs(torch.randn(1, 3, 32, 32)).auxiliary is None


@pytest.mark.parametrize("name", [name for name in SETTINGS if not name.startswith("smp:")])
def test_logits_of_the_whole_network_have_the_size_of_the_image(name: str) -> None:
    with torch.device("meta"):
        network = built(name, 19, norm="group")
        assert network(torch.empty(1, 3, 97, 130)).shape == (1, 19, 97, 130)
        assert network.eval()(torch.empty(1, 3, 32, 33)).shape == (1, 19, 32, 33)


@pytest.mark.parametrize(("name", "settings"), SMALL, ids=IDS)
def test_a_seed_and_the_norm_decide_what_is_built(name: str, settings: dict[str, Any]) -> None:
    states = []
    for norm in ("batch", "batch", "frozen", "group"):
        torch.manual_seed(3)
        network = built(name, 5, norm=norm, **settings)
        states.append(network.state_dict())
        for module in network.modules():
            assert not isinstance(module, torch.nn.modules.batchnorm._BatchNorm) or norm == "batch"
            assert not isinstance(module, torch.nn.GroupNorm) or norm == "group" or name == "smp:fpn"
        assert network.eval()(torch.randn(1, 3, 64, 64)).isfinite().all()
    for other in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in other.items())
    assert states[2].keys() == {key for key in states[0] if not key.endswith("num_batches_tracked")}
    assert states[3].keys() == {key for key in states[2] if "running_" not in key}


def test_valid_convolutions_see_a_mirrored_border() -> None:
    torch.manual_seed(0)
    network = built("unet", 3, width=4, padded=False).eval()
    image = torch.randn(1, 3, 60, 92)
    # 16 × 8 − 60 = 68 and 16 × 10 − 60 = 100 are the smallest outputs that cover it; inputs are 184 larger
    bordered = np.pad(image.numpy(), ((0, 0), (0, 0), (92, 100), (92, 100)), mode="reflect")
    assert bordered.shape == (1, 3, 252, 284)
    with torch.no_grad():
        expected = network.outputs_of_padded(torch.from_numpy(bordered)).logits
        assert expected.shape == (1, 3, 68, 100)
        assert torch.equal(network(image), expected[..., :60, :92])


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_trunk_is_the_resnet_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    dilated = {} if name == "resnet18" else {"replace_stride_with_dilation": [False, True, True]}
    theirs = getattr(resnet, name)(weights=None, **dilated).eval()
    ours = ResNet(name, output_stride=8 if dilated else 32).eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for stage, features in enumerate(ours(images)[1:], 1):
            x = getattr(theirs, f"layer{stage}")(x)
            assert torch.equal(features, x)


def test_parameters_of_a_trunk_have_stages() -> None:
    network = built("deeplabv3plus", 2, backbone="resnet18", backbone_width=0.25)
    stages = {stage_of(name) for name, _ in network.named_parameters()}
    assert stages == {None, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("name", "classes", "settings", "error", "text"),
    [
        ("unett", 2, {}, NotThere, "did you mean 'unet'"),
        ("deeplabv3plus", 2, {"backbone": "resnet51"}, UsageError, "did you mean resnet50"),
        ("unet", 2, {"widht": 3}, UsageError, "width"),
        ("unet", 0, {}, UsageError, "1 … 65535"),
        ("maskrcnn", 2, {"in_channels": 1}, UsageError, "three channels"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, classes: int, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        build(name, classes, **settings)
    assert text in str(raised.value)


@pytest.mark.parametrize("name", ["deeplabv3", "lraspp", "deeplabv3plus", "fastfcn", "gated_scnn", "smp:fpn"])
def test_images_may_have_other_channels(name: str) -> None:
    with torch.device("meta"):
        assert built(name, 4, in_channels=5)(torch.empty(2, 5, 64, 64)).shape == (2, 4, 64, 64)
