"""Weights into a Mask R-CNN: a run's, torchvision's; heads of other classes start afresh, with a remark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, UsageError
from segdata.models import weights
from segdata.models.maskrcnn import network, torchvision_weights
from segdata.models.maskrcnn.augment import categories_of
from segdata.models.weights import Weights

_PREDICTORS = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
"""Layers whose shapes depend on the number of classes."""

NAMES = ("torchvision:coco-v1", "torchvision:coco-v2", "torchvision:imagenet")
"""Weights that torchvision downloads into its own cache."""


def read(source: str | Path) -> Weights:
    """Open weights by name or file.

    Args:
        source: a run's folder, one of its checkpoints, a PyTorch file with a state dictionary (or
            FILE#PART for one of several), a safetensors file of one, or one of `NAMES`.

    Raises:
        NotThere: no such file, or no checkpoint in the run.
        DamagedData: a checksum differs, or the file is cut short.
        Unsafe: a PyTorch file that is more than tensors.
        UsageError: a Keras file.
    """
    if str(source).startswith("torchvision:"):
        return _torchvision(str(source))
    checkpoint = weights.of_checkpoint(source)
    if checkpoint is not None:
        return checkpoint
    path = weights.file_of(source)[0]
    if path.suffix in (".h5", ".hdf5"):
        raise UsageError(
            "weights of Keras are those of Matterport's model, which is trained in Python",
            file=path,
            fix="matterport.Training: see docs/matterport.md",
        )
    if not path.is_file():
        raise NotThere("there are no such weights", file=path, fix=f"name a run, a file, or one of {', '.join(NAMES)}")
    tensors, remarks = weights.and_remarks(source)
    return replace(_published(str(source), _as_backbone(tensors)), remarks=remarks)


def _as_backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A classifier's ResNet under the names that it has in a detector; other tensors as they are."""
    if "conv1.weight" not in state:
        return state
    return {f"backbone.body.{name}": value for name, value in state.items() if not name.startswith("fc.")}


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
    """Weights from a file of bare tensors; with as many classes as COCO's, their categories are COCO's.

    torchvision's v1 COCO weights were trained with frozen batch norms of epsilon 0 and are used so; they, and what was
    fine-tuned from them, are recognised by COCO's classes, v1 heads, and batch norms without `num_batches_tracked`.
    """
    labels = categories = None
    eps = network.EPS
    if (
        torchvision_weights.CLASSES in tensors
        and torchvision_weights.class_count(tensors, source) + 1 == torchvision_weights.COCO_CLASSES
    ):
        labels, categories, _ = torchvision_weights.classes_of(tensors, source)
        is_first = not any(name.startswith("rpn.head.conv.1.") for name in tensors)
        if is_first and not any(name.endswith("num_batches_tracked") for name in tensors):
            eps = 0.0
    return Weights(source, tensors, labels=labels, categories=categories, state={"eps": eps})


def put(source: Weights, model: nn.Module, labels: LabelSpace | None = None) -> list[str]:
    """Copy weights into a model; returns remarks about what starts afresh.

    Heads for other classes start afresh, but for the rows of categories that have the same name on both sides;
    everything else must fit.

    Args:
        labels: the model's, for a model that will be trained.

    Raises:
        InvalidInput: another model: the first differences are listed.
        DamagedData: values that are not finite, or a checkpoint without an epsilon that can be.
    """
    eps = _eps(source)
    present = model.state_dict()
    tensors = {_renamed(name): value for name, value in source.tensors.items()}
    tensors = {
        name: value for name, value in tensors.items() if name in present or not name.endswith("num_batches_tracked")
    }
    remarks = list(source.remarks)
    pairs = None if labels is None else _pairs(source, tensors, present, labels)
    if pairs is not None:
        for name in present:
            if name in tensors and name.startswith(_PREDICTORS):
                tensors[name] = _rows(tensors[name], present[name], pairs, 4 if ".bbox_pred." in name else 1)
        known, here = (torchvision_weights.class_count(state, source.source) for state in (source.tensors, present))
        adapted = dict.fromkeys(name.rpartition(".")[0] for name in present if name.startswith(_PREDICTORS))
        remarks.append(
            f"the heads know {known} classes, here are {here}: {max(len(pairs) - 1, 0)} of the same name are taken over, "
            f"the others start afresh (in {', '.join(adapted)})"
        )
    is_backbone = all(name.startswith("backbone.body.") for name in tensors)
    if is_backbone:
        remarks.append("only the ResNet is in the file; everything else starts afresh")
    _require_shapes(tensors, present, source, is_backbone=is_backbone)
    _require_finite(tensors, present, source)
    model.load_state_dict({name: value.to(present[name].dtype) for name, value in tensors.items()}, strict=False)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = eps
    return remarks


def _eps(source: Weights) -> float:
    """The epsilon of frozen batch norms."""
    eps = source.state.get("eps", network.EPS)
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise DamagedData(
            "the checkpoint's description is damaged", file=source.source, place="eps", why=f"found {eps!r:.80}"
        )
    return float(eps)


def fits(source: Weights, model: nn.Module) -> None:
    """Raise unless `put` would take all weights as they are; `model` may be one without values, on the device "meta".

    Raises:
        InvalidInput: another model: the first differences are listed.
    """
    tensors = {_renamed(name): value for name, value in source.tensors.items()}
    present = model.state_dict()
    _require_shapes(
        {name: value for name, value in tensors.items() if name in present or not name.endswith("num_batches_tracked")},
        present,
        source,
        is_backbone=False,
    )


def _require_shapes(
    tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], source: Weights, *, is_backbone: bool
) -> None:
    """Raise unless there is a tensor of the right kind and shape for every one of the model (or of its ResNet)."""
    wanted = [name for name in present if not is_backbone or name.startswith("backbone.body.")]
    differences = [
        f"{name}: not in the file"
        for name in wanted
        if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    differences += [f"{name}: not in the model" for name in tensors if name not in present]
    differences += [
        f"{name}: {list(value.shape)} in the file, {list(present[name].shape)} in the model"
        for name, value in tensors.items()
        if name in present and value.shape != present[name].shape
    ]
    differences += [
        f"{name}: {value.dtype} in the file, {present[name].dtype} in the model"
        for name, value in tensors.items()
        if name in present and value.is_floating_point() != present[name].is_floating_point()
    ]
    if differences:
        raise InvalidInput(
            "the weights are of another model",
            file=source.source,
            why="; ".join(differences[:5]) + (f"; … {len(differences) - 5} more" if len(differences) > 5 else ""),
            fix=f"set {_settings(source)} as the file's model has them (segdata config maskrcnn)",
        )


def _require_finite(tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], source: Weights) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value.to(present[name].dtype)).all():
            raise DamagedData(
                "the weights hold values that are not finite",
                file=source.source,
                place=name,
                why="a training that diverged leaves such weights, a damaged file, too",
                fix="take weights from before the loss became nan, or fetch the file again",
            )


def _settings(source: Weights) -> str:
    """The settings that decide which tensors a model has, with their values in these weights where they show."""
    names = (
        *("backbone", "backbone_width", "heads", "norm"),
        *("fpn_channels", "box_head_size", "mask_head_channels", "box_pool_size"),
    )
    try:
        config = source.config or torchvision_weights.config_of(source.tensors, source.source).as_dict()
    except InvalidInput:
        return ", ".join(names)
    return ", ".join(f"{name}={config[name]}" if name in config else name for name in names)


def _pairs(
    source: Weights, tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], labels: LabelSpace
) -> list[tuple[int, int]] | None:
    """Rows of the heads (there, here) of the background and of categories with the same name; None to take all as is."""
    if torchvision_weights.CLASSES not in tensors:
        return None
    known, classes = source.labels, torchvision_weights.class_count(tensors, source.source) + 1
    here_classes = torchvision_weights.class_count(present, source.source) + 1
    if known is None:
        return None if classes == here_classes else []
    here = {labels[category].name: label for label, category in enumerate(categories_of(labels).tolist(), 1)}
    there = categories_of(known).tolist() if source.categories is None else source.categories.tolist()
    if len(there) + 1 != classes:
        raise InvalidInput(
            "the categories of the weights are not those of their heads",
            file=source.source,
            why=f"{len(there)} categories of objects and the background, {classes} classes",
        )
    pairs = [(0, 0)]
    pairs += [
        (label, here[known[category].name])
        for label, category in enumerate(there, 1)
        if category >= 0 and known[category].name in here
    ]
    return None if pairs == [(row, row) for row in range(classes)] and classes == here_classes else pairs


def _rows(tensor: Tensor, present: Tensor, pairs: list[tuple[int, int]], each: int) -> Tensor:
    """`present` with the rows of some classes from `tensor`; a class has `each` rows. Other widths start afresh."""
    merged = present.clone()
    if tensor.shape[1:] == present.shape[1:] and len(tensor) >= each * (max(pairs, default=(-1, 0))[0] + 1):
        for there, here in pairs:
            merged[here * each : (here + 1) * each] = tensor[there * each : (there + 1) * each]
    return merged


def _renamed(name: str) -> str:
    """Names of older torchvision files as they are today."""
    for kind in ("weight", "bias"):
        name = name.replace(f"rpn.head.conv.{kind}", f"rpn.head.conv.0.0.{kind}")
    if old := re.fullmatch(r"roi_heads\.mask_head\.mask_fcn(\d{1,3})\.(\w+)", name):
        return f"roi_heads.mask_head.{int(old[1]) - 1}.0.{old[2]}"
    for part in ("inner_blocks", "layer_blocks"):
        head, middle, rest = name.partition(f"backbone.fpn.{part}.")
        if middle and rest.count(".") == 1:
            level, kind = rest.split(".")
            return f"{head}{middle}{level}.0.{kind}"
    return name
