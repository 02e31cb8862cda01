"""Weights into a network for semantic segmentation; heads of other classes start afresh, but for classes of the same name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from segdata.core.labels import LabelSpace
from segdata.errors import NotThere
from segdata.models import weights
from segdata.models.semantic import architectures
from segdata.models.semantic.classes import categories_of
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.network import Network
from segdata.models.semantic.networks import published as published_files
from segdata.models.semantic.networks.torchvision_networks import torchvision_names
from segdata.models.weights import Weights

_COUNTER = "num_batches_tracked"


def read(source: str | Path) -> Weights:
    """Open weights by file.

    Args:
        source: a run's folder, one of its checkpoints, a PyTorch or safetensors file with a state dictionary of the same
            network, of torchvision's network, or of a ResNet alone.

    Raises:
        NotThere: no such file, or no checkpoint in the run.
        DamagedData: a checksum differs, or the file is cut short.
        Unsafe: a PyTorch file that is more than tensors.
    """
    checkpoint = weights.of_checkpoint(source)
    if checkpoint is not None:
        return checkpoint
    path = weights.file_of(source)[0]
    if not path.is_file():
        raise NotThere("there are no such weights", file=path, fix="name a run, a checkpoint or a file of weights")
    tensors, remarks = weights.and_remarks(source)
    return replace(renamed(str(source), tensors), remarks=remarks)


def by_name(network: str, settings: SemanticConfig, name: str) -> Weights:
    """Weights that others publish for a network with these settings, such as `torchvision:coco-voc` or `smp:imagenet`.

    Raises:
        UsageError: there are none of this name.
        NotThere: the file could not be downloaded.
    """
    known = published_files.published(network, settings, name)
    categories = known.categories
    labels = None if categories is None else LabelSpace.of(categories, name)
    return Weights(name, known.tensors, labels=labels)


def renamed(source: str, tensors: Mapping[str, Tensor]) -> Weights:
    """Weights of other people's files under the names that they have here."""
    if "conv1.weight" in tensors:
        tensors = {f"encoder.{name}": value for name, value in tensors.items() if not name.startswith("fc.")}
    return Weights(source, torchvision_names(tensors))


def put(
    source: Weights, network: Network, labels: LabelSpace | None = None, of_classes: Collection[str] = ()
) -> list[str]:
    """Copy weights into a network; returns remarks about what starts afresh.

    Args:
        of_classes: the network's tensors that have a row for each class; see `class_tensors`.
        labels: of the network, where it may have other classes than the weights: rows of classes of the same name are
            taken over.

    Raises:
        InvalidInput: another network: the first differences are listed.
        DamagedData: values that are not finite.
    """
    present = network.state_dict()
    tensors = {name: value for name, value in source.tensors.items() if name in present or not name.endswith(_COUNTER)}
    remarks = list(source.remarks)
    if labels is not None:
        tensors, adapted = _adapted(source, tensors, present, labels, of_classes)
        remarks += adapted
    is_trunk = bool(tensors) and all(name.startswith("encoder.") for name in tensors)
    if is_trunk:
        remarks.append("only the backbone is in the file; everything else starts afresh")
    elif labels is not None:
        has_auxiliary = any(name.startswith("auxiliary.") for name in present)
        if has_auxiliary and not any(name.startswith("auxiliary.") for name in tensors):
            remarks.append("the auxiliary head is not in the file; it starts afresh")
            present = {name: value for name, value in present.items() if not name.startswith("auxiliary.")}
    fits(replace(source, tensors=tensors), present, is_trunk=is_trunk)
    weights.require_finite(tensors, present, source)
    network.load_state_dict({name: value.to(present[name].dtype) for name, value in tensors.items()}, strict=False)
    return remarks


def fits(source: Weights, present: Mapping[str, Tensor], *, is_trunk: bool = False) -> None:
    """Raise unless there is a tensor of the right kind and shape for every one of the network (or of its trunk).

    Raises:
        InvalidInput: another network: the first differences are listed.
    """
    wanted = [name for name in present if not is_trunk or name.startswith("encoder.")]
    wrong = weights.differences(source.tensors, present, wanted)
    if wrong:
        named = (source.config or {}).get("model")
        raise weights.another_model(
            source,
            wrong,
            f"the run that made them has model = {named!r}: --model {named} --config RUN/config.toml"
            if named
            else "set backbone and the other settings of the network as the file's has them (segdata config MODEL)",
        )


def _adapted(
    source: Weights,
    tensors: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    labels: LabelSpace,
    of_classes: Collection[str],
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in which the layers of the classes are the network's, with the rows of classes of the same name."""
    here = _names(labels)
    there = None if source.labels is None else _names(source.labels)
    changed = [name for name in of_classes if name in tensors]
    if not changed or there == here or (there is None and all(len(tensors[name]) == len(here) for name in changed)):
        return dict(tensors), []
    pairs = [(there.index(name), row) for row, name in enumerate(here) if name in there] if there is not None else []
    adapted = dict(tensors)
    for name in changed:
        rows = present[name].clone()
        if there is not None and len(tensors[name]) == len(there) and tensors[name].shape[1:] == rows.shape[1:]:
            for theirs, mine in pairs:
                rows[mine] = tensors[name][theirs]
        adapted[name] = rows
    layers = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in changed))
    return adapted, [
        f"the weights know {len(tensors[changed[0]])} classes, here are {len(here)}: {len(pairs)} of the same name are "
        f"taken over, the others start afresh (in {layers})"
    ]


def _names(labels: LabelSpace) -> list[str]:
    return [labels[int(category)].name for category in categories_of(labels)]


def class_tensors(name: str, settings: SemanticConfig) -> list[str]:
    """The tensors of a network that have a row for each class."""
    with torch.device("meta"):
        few, more = (architectures.built(name, settings, count).state_dict() for count in (2, 3))
    return [tensor for tensor in few if few[tensor].shape != more[tensor].shape]
