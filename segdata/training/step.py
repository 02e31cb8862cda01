"""One update of a network's weights: forward, losses over all ranks, backward, optimiser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segdata.models import weights
from segdata.models.contract import AnyModel, Losses
from segdata.models.weights import Weights
from segdata.training import schedule
from segdata.training.config import TrainConfig
from segdata.training.distributed import World


class _Forward(nn.Module):
    """The losses as the forward of a module, as DistributedDataParallel needs it."""

    def __init__(self, model: AnyModel, network: nn.Module, settings: Any) -> None:
        super().__init__()
        self.network = network
        self._model, self._settings = model, settings

    def forward(self, batch: Any) -> Losses:
        return self._model.losses(self.network, batch, self._settings)


class TrainStep:
    """A network in training, its optimiser, and the gradient scaler.

    Args:
        network: with its initial weights; it is moved to the world's device.
    """

    def __init__(self, model: AnyModel, network: nn.Module, config: TrainConfig, world: World) -> None:
        self.model, self.config = model, config
        self._autocast = config.run.autocast
        self.network = network.to(world.device, memory_format=self._autocast.memory_format)  # type: ignore[call-overload]
        self.optimizer = schedule.optimizer(config.run, network)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.run.precision == "fp16")
        self._world = world
        self._weight = torch.tensor(model.loss_weights(config.model), device=world.device)
        self._forward: nn.Module = _Forward(model, network, config.model)

    def choose(self, layers: str) -> None:
        """Train these layers from now on; see `schedule.choose_layers`."""
        schedule.choose_layers(self.network, layers, self.model.stage_of)
        self._forward = _Forward(self.model, self.network, self.config.model)
        if self._world.size > 1:
            gpus = [self._world.device.index] if self._world.device.type == "cuda" else None
            self._forward = DistributedDataParallel(self._forward, device_ids=gpus)
        self.train_mode()

    def train_mode(self) -> None:
        """Ready for updates; between them, the network may have been in evaluation mode."""
        schedule.train_mode(self.network, frozen=self.model.has_frozen_norms(self.config.model))

    def update(self, batches: Iterable[Sequence[Any]], rate: float) -> Tensor:
        """One update of the weights, from `accumulate` batches of training samples.

        Returns:
            (P,) float64 means of the losses over all ranks, in the order of the model's names, on the device: there is
            no GPU→CPU synchronisation.
        """
        run, world = self.config.run, self._world
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(len(self._weight), dtype=torch.float64, device=world.device)
        for number, samples in enumerate(batches, 1):
            is_last = number == run.accumulate
            alone = (
                self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) and not is_last else None
            )
            with alone or contextlib.nullcontext():
                with self._autocast.on(world.device):
                    batch = self.model.to_batch(
                        samples, self.config.model, world.device, memory_format=self._autocast.memory_format
                    )
                    losses: Losses = self._forward(batch)
                means = losses.sums / world.sum(losses.counts).clamp(min=1)
                # DDP averages the gradients of ranks, and these losses are shares of one sum
                self._scaler.scale((means * self._weight).sum() * (world.size / run.accumulate)).backward()  # type: ignore[no-untyped-call]
            sums += world.sum(means.detach().clone()) / run.accumulate
        if run.gradient_clip_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), run.gradient_clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return sums

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's state, under the names that checkpoints have."""
        tensors = weights.checkpoint_tensors(self.network)
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        return tensors

    def document(self) -> dict[str, Any]:
        """What else a checkpoint holds of them; JSON."""
        return {**self.model.state(self.network), "scaler": self._scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any], source: str) -> None:
        """Go on from what `tensors` and `document` gave."""
        self.model.put(Weights(source, weights.network_tensors(tensors), state=document), self.network)
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                states.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(document["scaler"])
