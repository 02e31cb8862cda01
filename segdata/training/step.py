"""One update of a network's weights: learning rate, forward, losses over all ranks and their means, backward, optimiser."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from msgspec import Meta, Struct, structs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segdata.errors import DamagedData, InvalidInput
from segdata.models import checkpoint
from segdata.models.contract import AnyModel, Losses
from segdata.models.weights import Weights
from segdata.system import json_documents
from segdata.training.config import RunConfig, TrainConfig
from segdata.training.distributed import World


class Stage(NamedTuple):
    """A part of the training: layers, first update, the one after the last, and factor of the learning rate."""

    layers: str
    begin: int
    end: int
    factor: float


def stages(config: RunConfig, steps_per_epoch: int) -> list[Stage]:
    """The stages in order, in updates."""
    plan = []
    begin = 0
    for layers, epochs, factor in config.plan:
        plan.append(Stage(layers, begin, begin + epochs * steps_per_epoch, factor))
        begin = plan[-1].end
    return plan


def stage_at(plan: Sequence[Stage], step: int) -> Stage:
    """The stage of update `step`, counted from 0."""
    return next((stage for stage in plan if step < stage.end), plan[-1])


def learning_rate(config: RunConfig, step: int, total: int) -> float:
    """The learning rate at update `step` of `total`, before the factor of its stage.

    Linear warm-up (Goyal et al. 2017), then divided by 10 at each milestone, cosine annealing (Loshchilov and Hutter
    2017), or constant.
    """
    rate = config.learning_rate
    warmup = min(config.warmup_steps, total // 4)
    if step < warmup:
        rate *= config.warmup_factor + (1 - config.warmup_factor) * step / warmup
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))
    if config.schedule == "step":
        return float(rate * 0.1 ** sum(step >= share * total for share in config.milestones))
    return rate


def optimizer(config: RunConfig, network: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters, in the network's order; no weight decay of norms and biases."""
    plain: set[int] = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)):
                plain.add(id(parameter))
    decayed = [parameter for parameter in network.parameters() if id(parameter) not in plain]
    rest = [parameter for parameter in network.parameters() if id(parameter) in plain]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def choose_layers(network: nn.Module, layers: str, stage_of: Callable[[str], int | None]) -> list[str]:
    """Train only these layers; returns the names of their parameters.

    Args:
        layers: "all", "heads" (everything but the ResNet), or "5+", "4+", "3+": the ResNet's stages from there on, too
            (its first stage is the stem, so stage 3 is torchvision's `layer2`).
        stage_of: see `contract.Model.stage_of`.
    """
    first = {"all": 0, "heads": 6}[layers] if layers in ("all", "heads") else int(layers[0])
    trained = []
    for name, parameter in network.named_parameters():
        stage = stage_of(name)
        is_trained = stage is None or stage >= first
        parameter.requires_grad_(is_trained)
        if is_trained:
            trained.append(name)
    return trained


def train_mode(network: nn.Module, *, frozen: bool) -> None:
    """Training mode, but batch norms whose weights are not trained keep their statistics; all of them when `frozen`."""
    network.train()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and (frozen or not module.weight.requires_grad):
            module.eval()


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
        self.optimizer = optimizer(config.run, network)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.run.precision == "fp16")
        self._world = world
        self._weight = torch.tensor(model.loss_weights(config.model), device=world.device)
        self._forward: nn.Module = _Forward(model, network, config.model)

    def choose(self, layers: str) -> None:
        """Train these layers from now on; see `choose_layers`."""
        choose_layers(self.network, layers, self.model.stage_of)
        self._forward = _Forward(self.model, self.network, self.config.model)
        if self._world.size > 1:
            gpus = [self._world.device.index] if self._world.device.type == "cuda" else None
            self._forward = DistributedDataParallel(self._forward, device_ids=gpus)
        self.train_mode()

    def train_mode(self) -> None:
        """Ready for updates; between them, the network may have been in evaluation mode."""
        train_mode(self.network, frozen=self.model.has_frozen_norms(self.config.model))

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
        tensors = checkpoint.checkpoint_tensors(self.network)
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        return tensors

    def document(self) -> dict[str, Any]:
        """What else a checkpoint holds of them; JSON."""
        return {**self.model.state(self.network), "scaler": self._scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any], source: str) -> None:
        """Go on from what `tensors` and `document` gave.

        Raises:
            DamagedData: the optimiser's tensors are not those of this network, or the scaler's state is none.
        """
        self.model.put(Weights(source, checkpoint.network_tensors(tensors), state=document), self.network)
        states: dict[int, dict[str, Tensor]] = {}
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for name, value in tensors.items():
            if not name.startswith("optimizer."):
                continue
            match = re.fullmatch(r"optimizer\.(\d{1,6})\.(\w+)", name)
            number = int(match[1]) if match else len(parameters)
            if (
                match is None
                or number >= len(parameters)
                or value.shape != (() if match[2] == "step" else parameters[number].shape)
            ):
                raise _not_resumable(source, name, f"its shape is {list(value.shape)}")
            states.setdefault(number, {})[match[2]] = value
        kinds = _STATES[self.config.run.optimizer]
        for number, state in states.items():
            if state.keys() != kinds:
                raise _not_resumable(source, f"optimizer.{number}", f"it has {', '.join(sorted(state))}")
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        if self._scaler.is_enabled():
            scaler = json_documents.shape_of(document.get("scaler"), _Scaler, _DESCRIPTION, source)
            self._scaler.load_state_dict(structs.asdict(scaler))


_DESCRIPTION = "the checkpoint's description"
_STATES = {"sgd": {"momentum_buffer"}, "adamw": {"step", "exp_avg", "exp_avg_sq"}}
"""Optimiser → the tensors that it keeps for a parameter."""


class _Scaler(Struct):
    """The state of PyTorch's gradient scaler."""

    scale: Annotated[float, Meta(gt=0, le=1e38)]
    growth_factor: Annotated[float, Meta(gt=1, le=1e6)]
    backoff_factor: Annotated[float, Meta(gt=0, lt=1)]
    growth_interval: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    _growth_tracker: Annotated[int, Meta(ge=0, le=2**31 - 1)]


def _not_resumable(source: str, name: str, why: str) -> DamagedData:
    return DamagedData(
        "the checkpoint's state of the optimiser is not that of this training",
        file=source,
        place=name,
        why=why,
        fix="--weights RUN begins a new run with these weights",
    )


class LossMeter:
    """Sums of losses over some updates.

    Args:
        names: of the losses, P of them.
        weights: of the losses in their sum.
        state: what `state` returned, to go on from there; as many sums as names.
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
