"""One update of a network's weights: learning rate, forward, losses over all ranks and their means, backward, optimiser."""

from __future__ import annotations

import contextlib
import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from msgspec import Meta, Struct, structs
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from segdata.errors import DamagedData, InvalidInput
from segdata.models import checkpoint, norms
from segdata.models.contract import AnyModel, Losses
from segdata.models.weights import Weights
from segdata.system import documents
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
    2017), polynomial decay (Liu et al. 2015), or constant.
    """
    rate = config.learning_rate
    warmup = min(config.warmup_steps, total // 4)
    if step < warmup:
        rate *= config.warmup_factor + (1 - config.warmup_factor) * step / warmup
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))
    if config.schedule == "poly":
        return float(rate * (1 - step / max(total, 1)) ** _POLY_POWER)
    if config.schedule == "step":
        return float(rate * 0.1 ** sum(step >= share * total for share in config.milestones))
    return rate


def optimizer(
    config: RunConfig, network: nn.Module, stage_of: Callable[[str], int | None] = lambda name: None
) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters, in the network's order; no weight decay of norms and biases.

    Args:
        stage_of: see `contract.Model.stage_of`; the others have the factor `head_rate` of the learning rate.
    """
    plain: set[int] = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, (_BatchNorm, nn.GroupNorm)):
                plain.add(id(parameter))
    groups: list[dict[str, Any]] = []
    for factor in dict.fromkeys((1.0, config.head_rate)):
        chosen = [
            parameter
            for name, parameter in network.named_parameters()
            if config.head_rate == 1 or (factor == 1) == (stage_of(name) is not None)
        ]
        for decay, members in (
            (config.weight_decay, [one for one in chosen if id(one) not in plain]),
            (0.0, [one for one in chosen if id(one) in plain]),
        ):
            groups.append({"params": members, "weight_decay": decay, "factor": factor})
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
        if isinstance(module, _BatchNorm) and (frozen or not module.weight.requires_grad):
            module.eval()


_POLY_POWER = 0.9


class _Forward(nn.Module):
    """The losses as the forward of a module, as DistributedDataParallel needs it."""

    def __init__(self, model: AnyModel, network: nn.Module, settings: Any, facts: Any) -> None:
        super().__init__()
        self.network = network
        self._model, self._settings, self._facts = model, settings, facts

    def forward(self, batch: Any) -> Losses:
        return self._model.losses(self.network, batch, self._settings, self._facts)


class Average:
    """A moving average of a network's weights and statistics.

    Args:
        stays: how much of it stays at an update; less in the first updates, (1 + updates) / (10 + updates).
    """

    def __init__(self, network: nn.Module, stays: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.updates = 0
        self._stays = stays

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an update."""
        stays = min(self._stays, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        mine, theirs = self.network.state_dict(), network.state_dict()
        names = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in names], [theirs[name] for name in names], 1 - stays)
        for name, value in mine.items():
            if not value.is_floating_point():
                value.copy_(theirs[name])

    def restore(self, model: AnyModel, weights: Weights, document: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            DamagedData: the checkpoint does not say how many updates it is of.
        """
        model.put(weights, self.network)
        updates = document.get("average_updates")
        if type(updates) is not int or not 0 <= updates < 2**53:
            raise _not_resumable(weights.source, "average_updates", f"found {updates!r:.80}")
        self.updates = updates


class TrainStep:
    """A network in training, its optimiser, and the gradient scaler.

    Args:
        network: with its initial weights; it is moved to the world's device.
        facts: of the data, see `contract.Usable`.
    """

    def __init__(
        self, model: AnyModel, network: nn.Module, config: TrainConfig, world: World, facts: Any = None
    ) -> None:
        self.model, self.config, self._facts = model, config, facts
        self._autocast = config.run.autocast
        if world.size > 1 and world.device.type == "cuda" and not model.has_frozen_norms(config.model):
            norms.replace(network, "synchronised")
        self.network = network.to(world.device, memory_format=self._autocast.memory_format)  # type: ignore[call-overload]
        self.optimizer = optimizer(config.run, network, model.stage_of)
        self.average = Average(network, config.run.average) if config.run.average else None
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=config.run.precision == "fp16")
        self._world = world
        self._losses = len(model.loss_names(config.model))
        self._weights: tuple[tuple[float, ...], Tensor] | None = None
        self._forward: nn.Module = _Forward(model, network, config.model, facts)

    def choose(self, layers: str) -> None:
        """Train these layers from now on; see `choose_layers`."""
        choose_layers(self.network, layers, self.model.stage_of)
        self._forward = _Forward(self.model, self.network, self.config.model, self._facts)
        if self._world.size > 1:
            gpus = [self._world.device.index] if self._world.device.type == "cuda" else None
            self._forward = DistributedDataParallel(self._forward, device_ids=gpus)
        self.train_mode()

    def train_mode(self) -> None:
        """Ready for updates; between them, the network may have been in evaluation mode."""
        train_mode(self.network, frozen=self.model.has_frozen_norms(self.config.model))

    def update(
        self, batches: Iterable[Sequence[Any]], rate: float, *, progress: float = 0.0, seed: int | None = None
    ) -> Tensor:
        """One update of the weights, from `accumulate` batches of training samples.

        Args:
            rate: the learning rate.
            progress: the share of the training that is done, 0..1.
            seed: of PyTorch's generators in this update, as dropout draws from them; None leaves them as they are.

        Returns:
            (P,) float64 means of the losses over all ranks, in the order of the model's names, on the device: there is
            no GPU→CPU synchronisation.
        """
        run, world = self.config.run, self._world
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        if seed is not None:
            torch.manual_seed(seed)
        self.optimizer.zero_grad(set_to_none=True)
        weights = self._loss_weights(progress)
        sums = torch.zeros(self._losses, dtype=torch.float64, device=world.device)
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
                self._scaler.scale((means * weights).sum() * (world.size / run.accumulate)).backward()  # type: ignore[no-untyped-call]
            sums += world.sum(means.detach().clone()) / run.accumulate
        if run.gradient_clip_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), run.gradient_clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self.network)
        return sums

    @property
    def best(self) -> nn.Module:
        """What is validated and kept: the moving average of the weights where there is one, else the network."""
        return self.network if self.average is None else self.average.network

    def _loss_weights(self, progress: float) -> Tensor:
        """(P,) float32 on the device; copied there only when they change, since a copy waits for a GPU."""
        values = self.model.loss_weights(self.config.model, progress)
        if self._weights is None or self._weights[0] != values:
            self._weights = values, torch.tensor(values, device=self._world.device)
        return self._weights[1]

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's state, under the names that checkpoints have."""
        tensors = checkpoint.checkpoint_tensors(self.network)
        if self.average is not None:
            averaged = checkpoint.checkpoint_tensors(self.average.network)
            tensors |= {f"{checkpoint.AVERAGE}{name}": value for name, value in averaged.items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        return tensors

    def document(self) -> dict[str, Any]:
        """What else a checkpoint holds of them; JSON."""
        averaged = {} if self.average is None else {"average_updates": self.average.updates}
        return {**self.model.state(self.network), "scaler": self._scaler.state_dict(), **averaged}

    def restore(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any], source: str) -> None:
        """Go on from what `tensors` and `document` gave.

        Raises:
            DamagedData: the optimiser's tensors are not those of this network, or the scaler's state is none.
        """
        self.model.put(Weights(source, checkpoint.network_tensors(tensors), state=document), self.network)
        if self.average is not None:
            weights = Weights(source, checkpoint.kept_tensors(tensors), state=document)
            self.average.restore(self.model, weights, document)
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
            scaler = documents.typed(document.get("scaler"), _Scaler, _DESCRIPTION, source)
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
        state: what `state` returned, to go on from there; as many sums as names.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        state = state or {"sums": [0.0] * len(names), "updates": 0}
        self._names = names
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

    def values(self, weights: Sequence[float]) -> dict[str, float | str]:
        """Mean losses, their sum with these weights, and speed."""
        means = [value / max(self._updates, 1) for value in self._sums.tolist()]
        return {
            "train/loss": sum(weight * mean for weight, mean in zip(weights, means, strict=True)),
            **{f"train/{name}": mean for name, mean in zip(self._names, means, strict=True)},
            "system/images_per_second": self.images / self.seconds if self.seconds else 0.0,
            "system/waiting_for_data": self.waited / self.seconds if self.seconds else 0.0,
        }
