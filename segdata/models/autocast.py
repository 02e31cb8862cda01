"""The arithmetic of a network: autocast dtype (AMP) and memory format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Autocast:
    """How a network calculates.

    Attributes:
        precision: "fp32" (no autocast), "bf16" or "fp16".
        channels_last: whether images and weights are (N, H, W, C) in memory.
    """

    precision: str = "fp32"
    channels_last: bool = False

    @property
    def memory_format(self) -> Any:
        """For `Tensor.to` and `contiguous`."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def on(self, device: torch.device) -> torch.autocast:
        """The context in which the network is called."""
        return torch.autocast(device.type, _DTYPES[self.precision], enabled=self.precision != "fp32")


FULL = Autocast()
"""Full precision."""
