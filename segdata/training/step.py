"""A network that learns: with its optimiser, and what an update of its weights is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList

from segdata.models.maskrcnn import losses, weights
from segdata.models.maskrcnn import network as maskrcnn
from segdata.models.maskrcnn.augment import Item
from segdata.models.maskrcnn.config import Config
from segdata.models.maskrcnn.detect import memory_format, precision
from segdata.models.maskrcnn.inputs import placed
from segdata.training import schedule
from segdata.training.distributed import World


class _Forward(nn.Module):
    """The losses as a module's forward, so that gradients can be shared between processes."""

    def __init__(self, network: MaskRCNN, config: Config) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def forward(self, images: Tensor, sizes: list[tuple[int, int]], items: Sequence[Item]) -> losses.Losses:
        return losses.losses(self.network, ImageList(images, sizes), items, self.config)


class Learner:
    """The network, its optimiser, and the scaler of its losses.

    Args:
        network: with the weights to begin with; it is moved to the world's device.
    """

    def __init__(self, network: MaskRCNN, config: Config, world: World) -> None:
        self.network = network.to(world.device, memory_format=memory_format(config))
        self.config = config
        self.optimizer = schedule.optimizer(config, network)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        self._world = world
        self._weight = torch.tensor([getattr(config, name) for name in losses.NAMES], device=world.device)
        self._forward: nn.Module = _Forward(network, config)

    def choose(self, layers: str) -> None:
        """Train these layers from now on; see `maskrcnn.choose_layers`."""
        maskrcnn.choose_layers(self.network, layers)
        self._forward = _Forward(self.network, self.config)
        if self._world.size > 1:
            gpus = [self._world.device.index] if self._world.device.type == "cuda" else None
            self._forward = DistributedDataParallel(self._forward, device_ids=gpus)
        self.train_mode()

    def train_mode(self) -> None:
        """Ready for updates; between them, the network may have been made to detect."""
        maskrcnn.train_mode(self.network, frozen=self.config.norm == "frozen")

    def update(self, batches: Iterable[Sequence[Item]], rate: float) -> Tensor:
        """One update of the weights, from `config.accumulate` batches.

        Returns:
            (5,) float64, the means of the losses in the order of `losses.NAMES`, on the device: nobody waits for them.
        """
        config, world = self.config, self._world
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(len(losses.NAMES), dtype=torch.float64, device=world.device)
        for number, items in enumerate(batches, 1):
            is_last = number == config.accumulate
            alone = (
                self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) and not is_last else None
            )
            with alone or contextlib.nullcontext():
                with torch.autocast(world.device.type, precision(config), enabled=config.precision != "fp32"):
                    images = placed(
                        [item.pixels for item in items],
                        [item.view for item in items],
                        config,
                        world.device,
                        memory_format=memory_format(config),
                    )
                    found = self._forward(images.tensors, images.image_sizes, items)
                means = found.sums / world.sum(found.counts).clamp(min=1)
                # processes' gradients are averaged, and these are shares of one sum
                self._scaler.scale((means * self._weight).sum() * (world.size / config.accumulate)).backward()
            sums += world.sum(means.detach().clone()) / config.accumulate
        if config.gradient_clip_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return sums

    def tensors(self) -> dict[str, Tensor]:
        """Weights, and the optimiser's sums, under the names that checkpoints have."""
        tensors = weights.as_tensors(self.network)
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        return tensors

    def document(self) -> dict[str, Any]:
        """What else there is to keep; JSON."""
        return {"eps": weights.frozen_eps(self.network), "scaler": self._scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any], source: str) -> None:
        """Go on from what `tensors` and `document` gave."""
        prefix = "model."
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        weights.put(weights.Weights(source, own, eps=document["eps"]), self.network)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                state.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(document["scaler"])
