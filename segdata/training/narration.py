"""What a training says of itself, as lines for people: how it begins, what may be a mistake, what each validation came to."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from segdata.models.settings import Metric, ModelSettings
from segdata.pack.read import Pack
from segdata.training.config import RunConfig

LARGE = 35_000_000
"""Parameters from which on a model is a full-size one: Mask R-CNN with ResNet-50 has 44 million."""


SMALL = 256
"""Longest side in pixels up to which training images are small, so that a CPU is meant."""

_SIZES = ("crop", "max_size", "image_max_dim")
"""Settings that limit the sides of training images, of any model."""


def beginning(
    pack: Pack, validate: Pack | None, run: RunConfig, *, device: str, classes: int, steps: int, steps_per_epoch: int
) -> str:
    """Device, images, classes, epochs and validation in one line."""
    epochs = sum(epochs for _, epochs, _ in run.plan)
    if validate is None:
        judged = "no validation"
    elif not run.validate_epochs:
        judged = "no validation (validate_epochs = 0)"
    else:
        images = min(len(validate), run.validation_images or len(validate))
        every = "" if run.validate_epochs == 1 else f" every {run.validate_epochs} epochs"
        judged = f"validation on {counted(images, 'image')}{_of(validate)}{every}"
    return (
        f"training on {device}: {counted(len(pack), 'image')}{_of(pack)}, {counted(classes, 'class', 'classes')}, "
        f"{counted(epochs, 'epoch')} of {counted(steps_per_epoch, 'update')} ({steps:,} in all), {judged}"
    )


def device_text(device: torch.device, run: RunConfig) -> str:
    """The device, and how it calculates."""
    layout = ", channels-last" if run.channels_last else ""
    return f"{device}" if run.precision == "fp32" and not layout else f"{device} ({run.precision}{layout})"


def unlearned(metrics: Mapping[str, float | None]) -> str | None:
    """A remark on categories whose value is 0; None where there are none."""
    names = [name.partition("/")[2] for name, value in metrics.items() if "/" in name and value == 0]
    if not names:
        return None
    listed = ", ".join(names[:6]) + (f" … {len(names) - 6} more" if len(names) > 6 else "")
    return f"half of the training is over, and nothing is right yet of {listed}"


def warnings(
    pack: Pack, validate: Pack | None, run: RunConfig, settings: ModelSettings, *, device: str, parameters: int
) -> list[str]:
    """What may not be meant: a training that nothing judges, and a full-size model on a CPU."""
    remarks = []
    if validate is None:
        others = [name for name in pack.splits if name != _split_of(pack)]
        choice = f"--validation names a split ({', '.join(others[:4])})" if others else "the pack has no other split"
        remarks.append(f"nothing is validated: no metric, and the last weights count, not the best; {choice}")
    elif not run.validate_epochs:
        remarks.append("validate_epochs is 0: no metric, and the last weights count, not the best")
    if device == "cpu" and parameters >= LARGE and settings.ON_CPU and _longest_side(settings) > SMALL:
        remarks.append(
            f"a model of {parameters / 1e6:.0f} million parameters on a CPU: an update takes seconds; "
            f"faster: {settings.ON_CPU}"
        )
    return remarks


def _longest_side(settings: ModelSettings) -> float:
    """The longest side of a training image in pixels; infinity where no setting limits it."""
    sizes = [getattr(settings, name) for name in settings.rules() if name in _SIZES]
    return max((max(size) if isinstance(size, tuple) else size for size in sizes), default=math.inf)


def validated(
    metric: Metric,
    metrics: Mapping[str, float | None],
    best: float | None,
    *,
    is_best: bool,
    epoch: int,
    epochs: int,
    seconds: float,
) -> str:
    """The numbers of a validation, the best so far, and the time that is left, in one line."""
    score = metrics.get(metric.name)
    shown = "is not defined" if score is None else f"{score:.3f}"
    others = [f"{name} {value:.3f}" for name, value in metrics.items() if _is_other(name, metric) and value is not None]
    compared = "" if best is None else ", the best so far" if is_best else f", best so far {best:.3f}"
    left = f"; about {duration(seconds)} left" if epoch < epochs else ""
    listed = f" ({', '.join(others)})" if others else ""
    return f"epoch {epoch} of {epochs}: {metric.title} {shown}{compared}{listed}{left}"


def _is_other(name: str, metric: Metric) -> bool:
    return name != metric.name and "/" not in name


def duration(seconds: float) -> str:
    """A time for people: two units at most."""
    seconds = round(seconds)
    for size, unit, smaller, word in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole} {unit}" + (f" {rest // smaller} {word}" if rest // smaller else "")
    return f"{seconds} s"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number and its noun."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _of(pack: Pack) -> str:
    name = _split_of(pack)
    return "" if name is None else f" of {name}"


def _split_of(pack: Pack) -> str | None:
    """The split that these samples are."""
    return next((name for name, members in pack.splits.items() if np.array_equal(members, pack.indices)), None)
