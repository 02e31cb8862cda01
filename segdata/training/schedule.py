"""Optimiser, learning rate schedule, and stages: which layers are trained when."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from segdata.training.config import RunConfig


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
            if name == "bias" or isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
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
        if isinstance(module, nn.BatchNorm2d) and (frozen or not module.weight.requires_grad):
            module.eval()
