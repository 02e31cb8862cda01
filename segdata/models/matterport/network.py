"""The network: ResNet with FPN, RPN, box head and mask head, of torchvision's parts.

It differs from torchvision's Mask R-CNN as its weights require: every convolution has a bias beside the batch norm
(ε = 0.001), the stride of a stage is in its first 1 × 1 convolution, max pooling starts at the first pixel, the RPN has 512
channels and two logits per anchor, and RoIs are sampled by `crop_and_resize`. Tensors are (N, C, H, W); boxes as in
`boxes`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from segdata.models.matterport.config import ModelConfig

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
RPN_CHANNELS = 512
MASK_CHANNELS = 256

_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


class Network(nn.Module):
    """All layers with weights; the operations between them are in `crops` and `detection`.

    What the methods return is float32, under autocast, too.
    """

    def __init__(self, backbone: str, num_classes: int, config: ModelConfig) -> None:
        super().__init__()
        channels = config.top_down_pyramid_size
        self.backbone = _resnet(BLOCKS[backbone])
        self.fpn = FeaturePyramidNetwork([256, 512, 1024, 2048], channels, extra_blocks=LastLevelMaxPool())
        self.rpn = ProposalHead(channels, len(config.rpn_anchor_ratios), config.rpn_anchor_stride)
        self.box_head = BoxHead(channels, config.pool_size, config.fpn_classif_fc_layers_size)
        self.box_predictor = FastRCNNPredictor(config.fpn_classif_fc_layers_size, num_classes)
        self.mask_head = _mask_head(channels)
        self.mask_predictor = MaskRCNNPredictor(MASK_CHANNELS, MASK_CHANNELS, num_classes)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W), the mean subtracted → P2 … P6, each (N, C, H / stride, W / stride)."""
        body = self.backbone
        maps = body.maxpool(body.relu(body.bn1(body.conv1(images))))
        stages: OrderedDict[str, Tensor] = OrderedDict()
        for number in range(4):
            maps = getattr(body, f"layer{number + 1}")(maps)
            stages[str(number)] = maps
        return [level.float() for level in self.fpn(stages).values()]

    def proposals(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """P2 … P6 → logits (N, A, 2), background first, and box deltas (N, A, 4) of all anchors in their order."""
        logits, deltas = zip(*(self.rpn(maps) for maps in pyramid), strict=True)
        return torch.cat(logits, dim=1).float(), torch.cat(deltas, dim=1).float()

    def classes(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """RoIs (R, C, 7, 7) → class logits (R, K) and box deltas for every class (R, K, 4)."""
        logits, deltas = self.box_predictor(self.box_head(regions))
        return logits.float(), deltas.float().reshape(len(regions), -1, 4)

    def masks(self, regions: Tensor) -> Tensor:
        """RoIs (R, C, 14, 14) → mask logits for every class (R, K, 28, 28)."""
        maps: Tensor = self.mask_predictor(self.mask_head(regions)).float()
        return maps


def unfilled(backbone: str, num_classes: int, config: ModelConfig) -> Network:
    """A network on the CPU whose weights are to be read or initialised: memory is taken, nothing is in it."""
    with torch.device("meta"):
        network = Network(backbone, num_classes, config)
    network.to_empty(device="cpu")
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):  # no file has them
            buffer.zero_()
    return network


def _resnet(blocks: Sequence[int]) -> ResNet:
    """torchvision's ResNet without its classifier, with Matterport's strides, pooling and biases."""
    body = ResNet(Bottleneck, list(blocks), num_classes=1, norm_layer=_norm)
    body.fc = nn.Identity()
    body.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    for module in body.modules():
        if isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    return body


def _mask_head(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(4):
        layers += [
            nn.Conv2d(channels if number == 0 else MASK_CHANNELS, MASK_CHANNELS, 3, padding=1),
            _norm(MASK_CHANNELS),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class ProposalHead(nn.Module):
    """The RPN: object or background, and box deltas, at every level."""

    def __init__(self, channels: int, anchors: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, RPN_CHANNELS, 3, stride=stride)
        self.classes = nn.Conv2d(RPN_CHANNELS, 2 * anchors, 1)
        self.boxes = nn.Conv2d(RPN_CHANNELS, 4 * anchors, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """One level (N, C, h, w) → (N, h · w · anchors, 2) and (N, h · w · anchors, 4)."""
        shared = functional.relu(self.conv(_same(maps, 3, self.conv.stride[0])))
        return _by_anchor(self.classes(shared), 2), _by_anchor(self.boxes(shared), 4)


def _same(maps: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding "same": zeros on both sides, an odd one at the end."""
    height, width = (
        max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (maps.shape[-2], maps.shape[-1])
    )
    return functional.pad(maps, (width // 2, width - width // 2, height // 2, height - height // 2))


def _by_anchor(maps: Tensor, values: int) -> Tensor:
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, values)


class BoxHead(nn.Module):
    """Two dense layers over an RoI; the first is the weights file's convolution as large as the RoI."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.first = nn.Linear(channels * size * size, width)
        self.first_norm = nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
        self.second = nn.Linear(width, width)
        self.second_norm = nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)

    def forward(self, regions: Tensor) -> Tensor:
        """RoIs (R, C, 7, 7) → (R, width)."""
        shared = functional.relu(self.first_norm(self.first(regions.flatten(1))))
        shared = functional.relu(self.second_norm(self.second(shared)))
        return shared
