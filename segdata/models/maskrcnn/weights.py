"""Weights into a Mask R-CNN: a run's, torchvision's; heads of other classes start afresh, with a remark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, UsageError
from segdata.models import weights
from segdata.models.maskrcnn import fitting, network, torchvision_weights
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
            "weights of Keras are those of Matterport's model, not of this one",
            file=path,
            fix="--model matterport, or no --model: the file's ending chooses it (docs/matterport.md)",
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
        tensors, layers = fitting.adapted(tensors, present, pairs, _PREDICTORS)
        classes = tuple(torchvision_weights.class_count(state, source.source) for state in (source.tensors, present))
        remarks.append(fitting.remark_on_heads((classes[0], classes[1]), pairs, layers))
    is_backbone = all(name.startswith("backbone.body.") for name in tensors)
    if is_backbone:
        remarks.append("only the ResNet is in the file; everything else starts afresh")
    _require_shapes(tensors, present, source, is_backbone=is_backbone)
    weights.require_finite(tensors, present, source)
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
    wrong = weights.differences(tensors, present, wanted)
    if wrong:
        raise weights.another_model(
            source, wrong, f"set {_settings(source)} as the file's model has them (segdata config maskrcnn)"
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
) -> fitting.Pairs | None:
    """Classes with the same name on both sides; None to take all as they are."""
    if torchvision_weights.CLASSES not in tensors:
        return None
    there = [] if source.labels is None else categories_of(source.labels).tolist()
    if source.categories is not None:
        there = source.categories.tolist()
    classes, here = (torchvision_weights.class_count(state, source.source) + 1 for state in (tensors, present))
    return fitting.same_classes(source, there, (classes, here), labels, categories_of(labels).tolist())


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
