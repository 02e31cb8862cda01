"""Optimiser, learning rate and stages: everything that depends on the number of the update alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from segdata.models.maskrcnn.config import Config


class Stage(NamedTuple):
    """A stretch of the training: which layers, from which update to which, at what share of the rate."""

    layers: str
    begin: int
    end: int
    factor: float


def stages(config: Config, steps_per_epoch: int) -> list[Stage]:
    """The stages in order, in updates."""
    found = []
    begin = 0
    for layers, epochs, factor in config.plan:
        found.append(Stage(layers, begin, begin + epochs * steps_per_epoch, factor))
        begin = found[-1].end
    return found


def stage_at(plan: Sequence[Stage], step: int) -> Stage:
    """The stage of update `step`, counted from 0."""
    return next((stage for stage in plan if step < stage.end), plan[-1])


def learning_rate(config: Config, step: int, total: int) -> float:
    """The rate of update `step` of `total`, before a stage's factor.

    A linear warm-up (Goyal et al. 2017), then a tenth at each milestone, half a cosine (Loshchilov and Hutter 2017), or
    constant.
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


def optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters, in the model's order; norms and biases are not decayed."""
    plain: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                plain.add(id(parameter))
    decayed = [parameter for parameter in model.parameters() if id(parameter) not in plain]
    rest = [parameter for parameter in model.parameters() if id(parameter) in plain]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
