"""Weights from a file into a model: a run's, torchvision's; heads of other classes start afresh, and that is said.

A PyTorch file (`.pth`, `.pt`) is opened in the weights-only way: what would run code is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe, UsageError
from segdata.models import checkpoint
from segdata.models import weights_digest as digests
from segdata.models.maskrcnn import torchvision_weights as published
from segdata.models.maskrcnn.augment import categories_of
from segdata.models.maskrcnn.config import Config
from segdata.system.files import disk_errors

_PREDICTORS = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
"""Where the number of classes shows."""

NAMES = ("torchvision:coco-v1", "torchvision:coco-v2", "torchvision:imagenet")
"""Weights that torchvision downloads into its own cache."""


@dataclass(frozen=True)
class Weights:
    """Tensors of a model and what is known about them.

    Attributes:
        source: where they come from, for messages.
        config: the settings of the run that made them; None for other people's files.
        labels: the label space that they know; None likewise.
        categories: the category of each of the network's labels from 1 on, −1 for none; None for the space's objects.
        data: fingerprint of the pack that they were trained on.
        eps: of frozen norms.
    """

    source: str
    tensors: Mapping[str, Tensor]
    config: Config | None = None
    labels: LabelSpace | None = None
    categories: npt.NDArray[np.int64] | None = None
    data: str | None = None
    eps: float = 1e-5


def read(source: str | Path) -> Weights:
    """Open weights by name or file.

    Args:
        source: a run's folder, one of its checkpoints, a PyTorch file with a state dictionary, or one of `NAMES`.

    Raises:
        NotThere: no such file, or no checkpoint in the run.
        DamagedData: a checksum differs, or the file is cut short.
        Unsafe: a PyTorch file that is more than tensors.
        UsageError: a Keras file.
    """
    if str(source).startswith("torchvision:"):
        return _torchvision(str(source))
    path = Path(source)
    if path.is_dir():
        return _own(checkpoint.of_run(path))
    if path.suffix in (".h5", ".hdf5"):
        raise UsageError(
            "weights of Keras are those of Matterport's model, which is trained in Python",
            file=path,
            fix="matterport.Training: see docs/matterport.md",
        )
    if path.suffix in (".json", ".safetensors"):
        return _own(checkpoint.path_of(path))
    if not path.is_file():
        raise NotThere("there are no such weights", file=path, fix=f"name a run, a file, or one of {', '.join(NAMES)}")
    return _pytorch(path)


def _own(path: Path) -> Weights:
    tensors, document = checkpoint.load(path)
    prefix = "model."
    return Weights(
        str(path),
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)},
        Config.from_dict(document["config"], file=path.with_suffix(".json")),
        LabelSpace.from_dict(document["labels"]),
        data=document["data"],
        eps=document["eps"],
    )


def _pytorch(path: Path) -> Weights:
    digests.check(path)
    try:
        with disk_errors(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except SegdataError:
        raise
    except Exception as error:
        raise _refused(path, error) from error
    for name in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InvalidInput(
            "the weights file holds no state dictionary", file=path, why=f"it holds {type(state).__name__}"
        )
    return _published(str(path), _as_backbone({str(name): value for name, value in state.items()}))


def _as_backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A classifier's ResNet under the names that it has in a detector; other tensors as they are."""
    if "conv1.weight" not in state:
        return state
    return {f"backbone.body.{name}": value for name, value in state.items() if not name.startswith("fc.")}


def _refused(path: Path, error: Exception) -> SegdataError:
    """Why a PyTorch file was not opened."""
    text = str(error)
    why = f"{type(error).__name__}: {next((line.strip() for line in text.splitlines() if line.strip()), '')}"[:200]
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if type(error).__name__ == "UnpicklingError" and "invalid load key" not in text:
        return Unsafe(
            "the weights file holds more than tensors; it was not opened",
            file=path,
            why=f"it names {named[1]}, which could run code" if named else "it could run code",
            fix="save only model.state_dict(), or the tensors as safetensors",
        )
    return DamagedData(
        "the weights file cannot be read",
        file=path,
        why=f"it is cut short, damaged, or no PyTorch file: {why}",
        fix="fetch or copy the file again",
    )


def _torchvision(name: str) -> Weights:
    from torchvision.models import ResNet50_Weights
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

    known = {
        "torchvision:coco-v1": MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
        "torchvision:coco-v2": MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
        "torchvision:imagenet": ResNet50_Weights.IMAGENET1K_V1,
    }
    if name not in known:
        raise UsageError(f"there are no weights {name!r}", why=f"names are {', '.join(NAMES)}")
    try:
        state = known[name].get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise NotThere(
            "torchvision could not download these weights",
            file=known[name].url,
            why=str(error),
            fix="download the file elsewhere and pass its path",
        ) from error
    return _published(name, _as_backbone(state))


def _published(source: str, tensors: Mapping[str, Tensor]) -> Weights:
    """Other people's tensors; their categories are known when there are as many as COCO's.

    Torchvision's first COCO weights were trained with frozen norms of epsilon 0 and are used so; they, and what was
    fine-tuned from them, are told by COCO's classes, the first heads, and norms that never counted batches.
    """
    labels = categories = None
    eps = 1e-5
    if published.CLASSES in tensors and len(tensors[published.CLASSES]) == published.COCO_LABELS:
        labels, categories = published.labels_of(tensors, source)
        is_first = not any(name.startswith("rpn.head.conv.1.") for name in tensors)
        if is_first and not any(name.endswith("num_batches_tracked") for name in tensors):
            eps = 0.0
    return Weights(source, tensors, labels=labels, categories=categories, eps=eps)


def put(weights: Weights, model: nn.Module, labels: LabelSpace | None = None) -> list[str]:
    """Copy weights into a model; returns remarks about what starts afresh.

    Heads for other classes start afresh, but for the rows of categories that have the same name on both sides;
    everything else must fit.

    Args:
        labels: what the model's classes are, for a model that will be trained.

    Raises:
        InvalidInput: another model: the first differences are listed.
        DamagedData: values that are not finite.
    """
    own = model.state_dict()
    given = {_renamed(name): value for name, value in weights.tensors.items()}
    given = {name: value for name, value in given.items() if name in own or not name.endswith("num_batches_tracked")}
    remarks = []
    pairs = None if labels is None else _pairs(weights, given, own, labels)
    if pairs is not None:
        for name in own:
            if name in given and name.startswith(_PREDICTORS):
                given[name] = _rows(given[name], own[name], pairs, 4 if ".bbox_pred." in name else 1)
        known, here = (len(tensors[published.CLASSES]) - 1 for tensors in (weights.tensors, own))
        adapted = dict.fromkeys(name.rpartition(".")[0] for name in own if name.startswith(_PREDICTORS))
        remarks.append(
            f"the heads know {known} classes, here are {here}: {max(len(pairs) - 1, 0)} of the same name are taken over, "
            f"the others start afresh (in {', '.join(adapted)})"
        )
    is_backbone = all(name.startswith("backbone.body.") for name in given)
    if is_backbone:
        remarks.append("only the ResNet is in the file; everything else starts afresh")
    _require_fit(given, own, weights, is_backbone=is_backbone)
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in given.items()}, strict=False)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = weights.eps
    return remarks


def _require_fit(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], weights: Weights, *, is_backbone: bool
) -> None:
    """Raise unless there is a finite tensor of the right shape for every one of the model (or of its ResNet)."""
    wanted = [name for name in own if not is_backbone or name.startswith("backbone.body.")]
    differences = [
        f"{name}: not in the file" for name in wanted if name not in given and not name.endswith("num_batches_tracked")
    ]
    differences += [f"{name}: not in the model" for name in given if name not in own]
    differences += [
        f"{name}: {list(value.shape)} in the file, {list(own[name].shape)} in the model"
        for name, value in given.items()
        if name in own and value.shape != own[name].shape
    ]
    if differences:
        raise InvalidInput(
            "the weights are of another model",
            file=weights.source,
            why="; ".join(differences[:5]) + (f"; … {len(differences) - 5} more" if len(differences) > 5 else ""),
            fix=f"set {_settings(weights)} as the file's model has them (segdata config maskrcnn)",
        )
    for name, value in given.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise DamagedData("the weights hold values that are not finite", file=weights.source, place=name)


def _settings(weights: Weights) -> str:
    """The settings that decide which tensors a model has, and what they are in these weights where that shows."""
    names = ("backbone", "heads", "norm", "fpn_channels", "box_head_size", "mask_head_channels", "box_pool_size")
    try:
        config = weights.config or published.config_of(weights.tensors, weights.source)
    except InvalidInput:
        return ", ".join(names)
    return ", ".join(f"{name}={getattr(config, name)}" for name in names)


def _pairs(
    weights: Weights, given: Mapping[str, Tensor], own: Mapping[str, Tensor], labels: LabelSpace
) -> list[tuple[int, int]] | None:
    """Rows of the heads (there, here) of the background and of categories with the same name; None to take all as is."""
    if published.CLASSES not in given:
        return None
    known, classes = weights.labels, len(given[published.CLASSES])
    if known is None:
        return None if classes == len(own[published.CLASSES]) else []
    here = {labels[category].name: label for label, category in enumerate(categories_of(labels).tolist(), 1)}
    there = categories_of(known).tolist() if weights.categories is None else weights.categories.tolist()
    pairs = [(0, 0)]
    pairs += [
        (label, here[known[category].name])
        for label, category in enumerate(there, 1)
        if category >= 0 and known[category].name in here
    ]
    return None if pairs == [(row, row) for row in range(classes)] and classes == len(own[published.CLASSES]) else pairs


def _rows(given: Tensor, own: Tensor, pairs: list[tuple[int, int]], each: int) -> Tensor:
    """`own` with the rows of some classes taken from `given`; a class has `each` rows. Other widths start afresh."""
    merged = own.clone()
    if given.shape[1:] == own.shape[1:]:
        for there, here in pairs:
            merged[here * each : (here + 1) * each] = given[there * each : (there + 1) * each]
    return merged


def _renamed(name: str) -> str:
    """Names of older torchvision files as they are today."""
    for kind in ("weight", "bias"):
        name = name.replace(f"rpn.head.conv.{kind}", f"rpn.head.conv.0.0.{kind}")
    if name.startswith("roi_heads.mask_head.mask_fcn"):
        number, kind = name.removeprefix("roi_heads.mask_head.mask_fcn").split(".")
        return f"roi_heads.mask_head.{int(number) - 1}.0.{kind}"
    for part in ("inner_blocks", "layer_blocks"):
        head, found, rest = name.partition(f"backbone.fpn.{part}.")
        if found and rest.count(".") == 1:
            level, kind = rest.split(".")
            return f"{head}{found}{level}.0.{kind}"
    return name


def frozen_eps(model: nn.Module) -> float:
    """The epsilon of a model's frozen norms, which belongs to its weights."""
    return next((module.eps for module in model.modules() if isinstance(module, FrozenBatchNorm2d)), 1e-5)


def as_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors under the names that checkpoints have."""
    state: Mapping[str, Any] = model.state_dict()
    return {f"model.{name}": value for name, value in state.items()}
