"""Wide ResNet-38 (Wu et al. 2016) as a trunk: pre-activation blocks, output stride 8."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_MODULES = (
    (3, (128, 128), 1, 1, 0.0),
    (3, (256, 256), 1, 1, 0.0),
    (6, (512, 512), 2, 1, 0.0),
    (3, (512, 1024), 1, 2, 0.0),
    (1, (512, 1024, 2048), 1, 4, 0.3),
    (1, (1024, 2048, 4096), 1, 4, 0.5),
)
"""Blocks, channels of each convolution, stride, dilation and dropout of the modules from the second on."""


class WideResNet38(nn.Module):
    """The trunk without its classifier.

    Args:
        width: fraction of channels behind the first convolution.

    Attributes:
        channels: of the features that `forward` gives.
    """

    def __init__(self, *, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        self.mod1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.channels = [64]
        for number, (count, planes, stride, dilation, dropout) in enumerate(_MODULES, 2):
            widths = [round(channels * width) for channels in planes]
            blocks = []
            inputs = self.channels[-1]
            for block in range(count):
                blocks.append(_Block(inputs, widths, stride if block == 0 else 1, dilation, dropout))
                inputs = widths[-1]
            self.add_module(f"mod{number}", nn.Sequential(*blocks))
            self.channels.append(inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of the seven modules: strides 1, 2, 4, and 8 four times."""
        features = [self.mod1(images)]
        for number in range(2, 8):
            x = features[-1]
            if number in (2, 3):
                x = functional.max_pool2d(x, 3, 2, 1)
            features.append(self.get_submodule(f"mod{number}")(x))
        return features


class _Block(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions, or of 1×1, 3×3 and 1×1."""

    def __init__(self, inputs: int, widths: list[int], stride: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        layers: list[nn.Module] = []
        before = inputs
        for number, outputs in enumerate(widths):
            kernel = 3 if len(widths) == 2 or number == 1 else 1
            if number:
                layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
            if dropout and number == len(widths) - 1:
                layers.append(nn.Dropout(dropout))
            padding = dilation if kernel == 3 else 0
            layers.append(
                nn.Conv2d(
                    before,
                    outputs,
                    kernel,
                    stride=stride if number == 0 else 1,
                    padding=padding,
                    dilation=dilation if kernel == 3 else 1,
                    bias=False,
                )
            )
            before = outputs
        self.convs = nn.Sequential(*layers)
        self.proj_conv = nn.Conv2d(inputs, before, 1, stride, bias=False) if inputs != before or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.bn1(x)
        shortcut = x if self.proj_conv is None else self.proj_conv(active)
        return shortcut + self.convs(active)  # type: ignore[no-any-return]
