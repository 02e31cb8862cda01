"""What a network for semantic segmentation is: `Network`, and its `Outputs`."""

from __future__ import annotations

import abc
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from segdata.models.semantic.config import SemanticConfig


class Outputs(NamedTuple):
    """What a network gives for a batch, all at the size of its images.

    Attributes:
        logits: (N, C, H, W).
        auxiliary: (N, C, H, W) logits of an auxiliary head, in training alone; None where there is none.
        presence: (N, C) logits of whether a class is in the image at all, in training alone; None likewise.
        edges: (N, 1, H, W) logits of whether a pixel lies on the edge between two classes, also outside training; None where
            there are none.
    """

    logits: Tensor
    auxiliary: Tensor | None = None
    presence: Tensor | None = None
    edges: Tensor | None = None


class Network(nn.Module, abc.ABC):
    """A network for semantic segmentation: (N, 3, H, W) float images, already normalised → (N, C, H, W) logits.

    Images of any size are padded with zeros at the right and the bottom to a multiple of `stride`, and the outputs are cut
    to the images' size again. The parameters of a pretrained trunk begin with `encoder.`; all others are the head's.

    Attributes:
        stride: what height and width of the images within `outputs_of_padded` are multiples of.
        least: how much their height and width are at least.
        settings: that it was built with.
    """

    settings: SemanticConfig
    stride: int = 32
    least: int = 32

    @abc.abstractmethod
    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """The outputs for images whose sides are multiples of `stride`."""

    def outputs(self, images: Tensor) -> Outputs:
        """The outputs for images of any size."""
        height, width = images.shape[-2:]
        bottom, right = (max(self.least - size, -size % self.stride) for size in (height, width))
        padded = functional.pad(images, (0, right, 0, bottom)) if right or bottom else images
        logits, *others = self.outputs_of_padded(padded)
        cut = [
            output[..., :height, :width] if output is not None and output.dim() == 4 else output for output in others
        ]
        return Outputs(logits[..., :height, :width], *cut)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) logits."""
        return self.outputs(images).logits


def stage_of(parameter: str) -> int | None:
    """The stage of the trunk that a parameter belongs to by its name: 1 (stem) … 5; None for the head's.

    `encoder.layer1` … `encoder.layer4` are the stages 2 … 5 of a ResNet; other trunks have no stages, and count as 5.
    """
    parts = parameter.split(".")
    if parts[0] != "encoder":
        return None
    if len(parts) > 2 and parts[1].startswith("layer") and parts[1][5:].isdigit():
        return min(int(parts[1][5:]) + 1, 5)
    return 1 if parts[1] in ("conv1", "bn1") else 5
