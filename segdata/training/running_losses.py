"""The means of the losses between two log lines, and how fast it went; sums stay on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segdata.errors import InvalidInput


class LossMeter:
    """Sums of losses over some updates.

    Args:
        names: of the losses, P of them.
        weights: of the losses in their sum.
        state: what `state` returned, to go on from there.
    """

    def __init__(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        device: torch.device,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        state = state or {"sums": [0.0] * len(names), "updates": 0}
        self._names, self._weights = names, weights
        self._sums = torch.tensor(state["sums"], dtype=torch.float64).to(device)
        self._updates: int = state["updates"]
        self.images = 0
        self.seconds = self.waited = 0.0

    def add(self, means: Tensor) -> None:
        """Count an update whose losses were `means`, (P,)."""
        self._sums += means
        self._updates += 1

    def state(self) -> dict[str, Any]:
        """The sums as JSON holds them."""
        return {"sums": self._sums.tolist(), "updates": self._updates}

    def require_finite(self, step: int) -> None:
        """Raise when a loss of these updates was not a finite number.

        Raises:
            InvalidInput: naming the losses.
        """
        values = self._sums.tolist()
        if all(value - value == 0 for value in values):
            return
        raise InvalidInput(
            f"the loss is not finite any more at update {step}",
            why=", ".join(f"{name} {value:g}" for name, value in zip(self._names, values, strict=True)),
            state="the checkpoints before it are kept",
            fix="lower learning_rate, raise warmup_steps, or set gradient_clip_norm=5",
        )

    def values(self) -> dict[str, float | str]:
        """Mean losses, their weighted sum, and speed."""
        means = [value / max(self._updates, 1) for value in self._sums.tolist()]
        return {
            "train/loss": sum(weight * mean for weight, mean in zip(self._weights, means, strict=True)),
            **{f"train/{name}": mean for name, mean in zip(self._names, means, strict=True)},
            "system/images_per_second": self.images / self.seconds if self.seconds else 0.0,
            "system/waiting_for_data": self.waited / self.seconds if self.seconds else 0.0,
        }
