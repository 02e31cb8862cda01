"""ResNets (He et al. 2016) as trunks: features of every stage, dilated stages, the deep stem, fewer channels.

Names of weights are those of torchvision's ResNets.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

_BLOCKS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """The trunk of a ResNet, without its classifier.

    Args:
        name: resnet18, resnet34, resnet50 or resnet101.
        width: fraction of channels in the stages.
        output_stride: 32, or 16 or 8 by dilation in place of the last strides.
        deep_stem: three 3×3 convolutions in place of the 7×7 one.

    Attributes:
        channels: of the features of the stem and the four stages.
    """

    def __init__(
        self, name: str, *, in_channels: int = 3, width: float = 1.0, output_stride: int = 32, deep_stem: bool = False
    ) -> None:
        super().__init__()
        block, counts = _BLOCKS[name]
        stem = 128 if deep_stem else 64
        self.conv1: nn.Module = (
            _deep_stem(in_channels) if deep_stem else nn.Conv2d(in_channels, stem, 7, 2, 3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = stem
        self.channels = [stem]
        for number, count in enumerate(counts):
            planes = round(64 * width) * 2**number
            stage = _stage(block, inputs, planes, count, stride=1 if number == 0 else 2)
            self.add_module(f"layer{number + 1}", stage)
            inputs = planes * block.expansion
            self.channels.append(inputs)
        _dilate(self, output_stride)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """The features of the stem (stride 2) and of the four stages (strides 4 … `output_stride`)."""
        x = self.relu(self.bn1(self.conv1(images)))
        features = [x]
        x = self.maxpool(x)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return features


def _deep_stem(in_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, stride in ((in_channels, 2), (64, 1)):
        layers += [nn.Conv2d(inputs, 64, 3, stride, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(64, 128, 3, 1, 1, bias=False))


def _stage(block: type[BasicBlock | Bottleneck], inputs: int, planes: int, count: int, *, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, planes, stride, downsample), *(block(outputs, planes) for _ in range(count - 1)))


def _dilate(trunk: nn.Module, output_stride: int) -> None:
    """Replace the strides of the last stages by dilation. As in torchvision, the first block of a stage still has the
    dilation of the stage before."""
    dilation = 1
    for name in {32: (), 16: ("layer4",), 8: ("layer3", "layer4")}[output_stride]:
        for number, block in enumerate(trunk.get_submodule(name).children()):
            here = dilation if number == 0 else dilation * 2
            for convolution in block.modules():
                if isinstance(convolution, nn.Conv2d):
                    convolution.stride = (1, 1)
                    if convolution.kernel_size == (3, 3):
                        convolution.dilation = convolution.padding = (here, here)
        dilation *= 2
