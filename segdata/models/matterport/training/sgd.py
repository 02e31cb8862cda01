"""Fine-tuning as in the original, step by step: its targets, losses, L2 penalty and SGD.

five losses + penalty → clipped gradients → weights
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segdata.errors import UsageError
from segdata.models.matterport import losses
from segdata.models.matterport.config import LOSSES
from segdata.models.matterport.layers import matching
from segdata.models.matterport.model import Model
from segdata.models.matterport.training.frames import Example, Frame, TrainSample
from segdata.models.matterport.training.objective import objective


class Training:
    """SGD on some layers of a model, which is changed in place, step by step.

    Args:
        model: to train.
        layers: which layers: "heads", "5+", "4+", "3+", "all", or a regular expression for whole names of Keras layers.
        learning_rate: instead of the model's setting.
        active: (K,) whether each class occurs in the data set; by default all do.
        seed: random seed of the sampling of targets.

    Raises:
        UsageError: no layer is named so.
    """

    def __init__(
        self,
        model: Model,
        layers: str = "heads",
        *,
        learning_rate: float | None = None,
        active: Sequence[bool] | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.layers = matching(model.layers, layers)
        self.active = torch.ones(model.num_classes) if active is None else torch.as_tensor(active, dtype=torch.float32)
        self.rng = np.random.default_rng(seed)
        self.weights = [weight for layer in self.layers for weight in layer.module.parameters()]
        self._penalised = [weight for layer in self.layers if not layer.is_norm for weight in layer.module.parameters()]
        config = model.config
        self.optimizer = torch.optim.SGD(
            self.weights,
            lr=config.learning_rate if learning_rate is None else learning_rate,
            momentum=config.learning_momentum,
        )

    def step(self, batch: Sequence[Example]) -> dict[str, float]:
        """One update of the weights.

        Returns:
            `loss`, the weighted sum of the five losses and the penalty, before the update, and each of them.

        Raises:
            UsageError: images of different sizes after resizing, or none with an object.
        """
        self._set_modes()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.losses(batch)
        weights = self.model.config.loss_weights
        penalty = losses.weight_penalty(self._penalised, self.model.config.weight_decay)
        total = torch.stack([weights.get(name, 1.0) * parts[name] for name in LOSSES]).sum() + penalty
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, self.model.config.gradient_clip_norm)
        self.optimizer.step()
        self.model.network.eval()
        values = {"loss": total, **parts, "penalty": penalty}
        return {name: float(value.detach()) for name, value in values.items()}

    def losses(self, batch: Sequence[Example]) -> dict[str, Tensor]:
        """The five losses of a batch, with gradients; targets are sampled anew each time."""
        model, config = self.model, self.model.config
        framed = [Frame.of(example, config, self.rng) for example in batch]
        framed = [frame for frame in framed if frame.has_object]
        if not framed:
            raise UsageError("none of these images shows an object", fix="leave images without objects out")
        shape = framed[0].image.shape
        if any(frame.image.shape != shape for frame in framed):
            raise UsageError(
                "the images of a step must have one size after resizing",
                why=", ".join(sorted({f"{frame.image.shape[1]} × {frame.image.shape[0]}" for frame in framed})),
                fix="train with image_resize_mode='square'",
            )
        samples = [TrainSample.of(frame, config, self.rng) for frame in framed]
        images = model.tensor([frame.image for frame in framed])
        return objective(model, images, samples, self.active, [self.rng] * len(samples)).means

    def _set_modes(self) -> None:
        """Train only the chosen layers; batch norms are in training mode only if the settings say so."""
        self.model.network.eval().requires_grad_(False)
        for layer in self.layers:
            layer.module.requires_grad_(True)
            layer.module.train(self.model.config.train_bn)
