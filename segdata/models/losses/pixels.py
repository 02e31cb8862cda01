"""Logits and labels as all losses see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from segdata.errors import InvalidInput, UsageError

IGNORED = -1
"""Label of ignored pixels here, whatever it was in the target."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of a batch.

    Attributes:
        logits: (N, C, H, W) float32 or float64; C = 1 for background and foreground.
        labels: (N, H, W) int64, `IGNORED` where ignored.
        valid: (N, H, W) bool, where not.
    """

    logits: Tensor
    labels: Tensor
    valid: Tensor

    @property
    def is_binary(self) -> bool:
        """Whether one logit tells foreground from background."""
        return self.logits.shape[1] == 1

    @property
    def classes(self) -> int:
        """Number of classes; 2 where one logit tells them apart."""
        return max(self.logits.shape[1], 2)

    @cached_property
    def true_class(self) -> Tensor:
        """(N, 1, H, W) int64, the class of each pixel; 0 where ignored."""
        return self.labels.clamp(min=0)[:, None]

    @property
    def count(self) -> Tensor:
        """() pixels that are not ignored, in the dtype of the logits."""
        return self.valid.count_nonzero().to(self.logits.dtype)

    @property
    def is_any(self) -> Tensor:
        """() 1 where a pixel is not ignored, else 0, in the dtype of the logits."""
        return self.valid.any().to(self.logits.dtype)

    def probabilities(self) -> Tensor:
        """(N, C, H, W), by softmax; by sigmoid for one logit."""
        return self.logits.sigmoid() if self.is_binary else self.logits.softmax(1)

    def cross_entropy(self) -> Tensor:
        """(N, H, W) negative logarithm of the probability of the true class, 0 where ignored."""
        if self.is_binary:
            logits = self.logits[:, 0]
            losses = functional.softplus(torch.where(self.labels == 1, -logits, logits))
            return torch.where(self.valid, losses, 0.0)
        return functional.cross_entropy(self.logits, self.labels, ignore_index=IGNORED, reduction="none")

    def masks(self) -> Tensor:
        """(N, C, H, W) bool, the pixels of each class; of the foreground for one logit."""
        first = 1 if self.is_binary else 0
        classes = torch.arange(first, self.classes, device=self.labels.device)
        return self.labels[:, None] == classes[:, None, None]

    def by_class(self, values: Tensor) -> Tensor:
        """(N, classes) sums of (N, H, W) values by the class of their pixel, without ignored pixels.

        They are added in double precision: one after the other, single precision would stop at 2^24.
        """
        sums = torch.zeros(len(values), self.classes, dtype=torch.float64, device=values.device)
        values = torch.where(self.valid, values, 0.0).double()
        return sums.scatter_add(1, self.true_class.flatten(1), values.flatten(1)).to(self.logits.dtype)

    def as_two_classes(self) -> Pixels:
        """The same with logits of both classes where there is one."""
        if not self.is_binary:
            return self
        return replace(self, logits=torch.cat((torch.zeros_like(self.logits), self.logits), 1))


def pixels(logits: Tensor, target: Tensor, ignore_index: int) -> Pixels:
    """What a loss calculates with; numbers of 16 bits become float32.

    Args:
        logits: (N, C, H, W) of any floating dtype.
        target: (N, H, W) of any integer dtype.

    Raises:
        UsageError: the shapes do not belong together, or the target is not of integers.
        InvalidInput: a label that is neither a class nor ignored (on a CPU; a GPU does not wait for this).
    """
    if logits.dim() != 4 or target.shape != logits[:, 0].shape:
        raise UsageError(
            "logits and labels do not belong together",
            why=f"logits are {tuple(logits.shape)} and labels {tuple(target.shape)}; "
            "expected (N, C, H, W) and (N, H, W)",
        )
    if target.is_floating_point():
        raise UsageError("labels are not whole numbers", why=f"got {target.dtype}", fix="labels.long()")
    target = target.long()
    valid = target != ignore_index
    labels = torch.where(valid, target, IGNORED)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    logits = logits.to(dtype, memory_format=torch.contiguous_format)  # channels last is slower here
    checked = Pixels(logits, labels, valid)
    if labels.device.type == "cpu" and labels.numel():
        low, high = labels.aminmax()
        if high >= checked.classes or (low < 0 and ((labels < 0) & valid).any()):
            value = int(high) if high >= checked.classes else int(target[valid].min())
            raise InvalidInput(
                f"a label is {value}, and the logits have the classes 0 … {checked.classes - 1}",
                why=f"the label of ignored pixels is {ignore_index}",
                fix="give ignore_index, or logits of all classes",
            )
    return checked
