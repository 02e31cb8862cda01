"""The layers of the Keras model, their modules here, and their weights in Keras's names and shapes.

Weights are views of the modules' memory: reading a file copies into them, writing copies out of them.

    kernel of a convolution        (h, w, in, out)
    kernel of a transposed one     (h, w, out, in)
    kernel of a dense layer        (in, out)
    gamma, beta, moving_mean, moving_variance of a batch normalisation, bias: (out,)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from segdata.errors import UsageError
from segdata.models.matterport.network import Network

STAGES = {
    "heads": r"(mrcnn|rpn|fpn)_.*",
    "5+": r"(res|bn)5.*|(mrcnn|rpn|fpn)_.*",
    "4+": r"(res|bn)[45].*|(mrcnn|rpn|fpn)_.*",
    "3+": r"(res|bn)[345].*|(mrcnn|rpn|fpn)_.*",
    "all": r".*",
}
"""Names for parts of the network, as patterns for whole layer names."""

LABELLED = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
"""The layers whose shapes depend on the number of classes: to exclude when other classes are to be trained."""


@dataclass(frozen=True)
class Layer:
    """One layer with weights.

    Attributes:
        name: as Keras has it.
        group: the group of the file that holds it: its own name, or the sub-model that it is part of.
        module: the module that holds the weights.
        pool_size: for the dense layer that is a convolution in the file: its kernel's side; 0 for all others.
    """

    name: str
    group: str
    module: nn.Module
    pool_size: int = 0

    def weights(self) -> dict[str, Tensor]:
        """Keras's names of this layer's weights, in its order, and views of them in its shapes."""
        module = self.module
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            values = (module.weight, module.bias, module.running_mean, module.running_var)
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            return {name: cast(Tensor, value).detach() for name, value in zip(names, values, strict=True)}
        weight = cast(Tensor, module.weight).detach()
        if self.pool_size:
            weight = weight.view(len(weight), -1, self.pool_size, self.pool_size)
        kernel = weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        return {"kernel": kernel, "bias": cast(Tensor, module.bias).detach()}

    @property
    def is_norm(self) -> bool:
        """Whether this is a batch normalisation."""
        return isinstance(self.module, nn.BatchNorm1d | nn.BatchNorm2d)


def layers_of(network: Network) -> list[Layer]:
    """All layers with weights, in Keras's order."""
    return list(_layers(network))


def _layers(network: Network) -> Iterator[Layer]:
    body = network.backbone
    for name, module in (("conv1", body.conv1), ("bn_conv1", body.bn1)):
        yield Layer(name, name, module)
    for stage in range(2, 6):
        for number, block in enumerate(getattr(body, f"layer{stage - 1}")):
            yield from _bottleneck(f"{stage}{chr(ord('a') + number)}", block)
    for level in (5, 4, 3, 2):
        name = f"fpn_c{level}p{level}"
        yield Layer(name, name, cast(nn.Module, network.fpn.inner_blocks[level - 2][0]))
    for level in (5, 2, 3, 4):
        name = f"fpn_p{level}"
        yield Layer(name, name, cast(nn.Module, network.fpn.layer_blocks[level - 2][0]))
    for name, module in (
        ("rpn_conv_shared", network.rpn.conv),
        ("rpn_class_raw", network.rpn.classes),
        ("rpn_bbox_pred", network.rpn.boxes),
    ):
        yield Layer(name, "rpn_model", module)
    head = network.box_head
    for name, dense, size in (
        ("mrcnn_class_conv1", head.first, head.size),
        ("mrcnn_class_bn1", head.first_norm, 0),
        ("mrcnn_class_conv2", head.second, 1),
        ("mrcnn_class_bn2", head.second_norm, 0),
        ("mrcnn_class_logits", network.box_predictor.cls_score, 0),
        ("mrcnn_bbox_fc", network.box_predictor.bbox_pred, 0),
    ):
        yield Layer(name, name, dense, size)
    for number in range(4):
        for kind, index in (("conv", 0), ("bn", 1)):
            name = f"mrcnn_mask_{kind}{number + 1}"
            yield Layer(name, name, network.mask_head[3 * number + index])
    yield Layer("mrcnn_mask_deconv", "mrcnn_mask_deconv", network.mask_predictor.conv5_mask)
    yield Layer("mrcnn_mask", "mrcnn_mask", network.mask_predictor.mask_fcn_logits)


def _bottleneck(block_name: str, block: nn.Module) -> Iterator[Layer]:
    """The layers of a block ("2a" …): three convolutions with their batch norms, and a shortcut with its own."""
    parts = [(f"branch2{letter}", f"conv{n}", f"bn{n}") for n, letter in enumerate("abc", 1)]
    for branch, convolution, norm in parts:
        yield Layer(f"res{block_name}_{branch}", f"res{block_name}_{branch}", getattr(block, convolution))
        yield Layer(f"bn{block_name}_{branch}", f"bn{block_name}_{branch}", getattr(block, norm))
    if block.downsample is not None:
        shortcut = cast(nn.Sequential, block.downsample)
        yield Layer(f"res{block_name}_branch1", f"res{block_name}_branch1", shortcut[0])
        yield Layer(f"bn{block_name}_branch1", f"bn{block_name}_branch1", shortcut[1])


def matching(layers: list[Layer], pattern: str) -> list[Layer]:
    """The layers of a part of the network ("heads", "5+", "4+", "3+", "all"), or whose whole names match a pattern.

    Raises:
        UsageError: no layer does, or the pattern is not a regular expression.
    """
    try:
        expression = re.compile(STAGES.get(pattern, pattern))
    except re.error as error:
        raise UsageError(f"{pattern!r} is no pattern for layers", why=str(error)) from error
    matches = [layer for layer in layers if expression.fullmatch(layer.name)]
    if not matches:
        raise UsageError(
            f"no layer is named like {pattern!r}",
            why=f"layers are {', '.join(layer.name for layer in layers[:4])} … {layers[-1].name}",
            fix=f"use {', '.join(STAGES)}, or a regular expression for whole names",
        )
    return matches


def initialise(layer: Layer) -> None:
    """Initial weights as in Keras: Glorot uniform kernels, zero biases, identity batch norms."""
    for kind, value in layer.weights().items():
        if kind == "kernel":
            nn.init.xavier_uniform_(cast(Tensor, layer.module.weight).detach())
        elif kind in ("gamma", "moving_variance"):
            value.fill_(1.0)
        else:
            value.zero_()
