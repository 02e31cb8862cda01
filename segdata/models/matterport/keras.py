"""A model from a weights file of Keras, by the names of its layers, and back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdata.catalog import manifest
from segdata.core.labels import LabelSpace
from segdata.errors import InvalidInput, UsageError
from segdata.models import class_names
from segdata.models.class_names import Names
from segdata.models.matterport import weights
from segdata.models.matterport.config import Config
from segdata.models.matterport.layers import Layer, initialise, layers_of, matching
from segdata.models.matterport.model import Model
from segdata.models.matterport.network import BLOCKS, Network, unfilled
from segdata.models.matterport.weights import WeightsFile

_SHOWN = 12
_WIDTHS = {
    "top_down_pyramid_size": ("fpn_c5p5", -1),
    "fpn_classif_fc_layers_size": ("mrcnn_class_conv1", -1),
    "pool_size": ("mrcnn_class_conv1", 0),
}
"""Settings that a file shows: the layer whose kernel has them, and on which axis."""


def load(
    path: Path | str,
    *,
    labels: Names | None = None,
    num_classes: int | None = None,
    backbone: str | None = None,
    exclude: Sequence[str] = (),
    device: str | torch.device = "cpu",
    seed: int = 0,
    **config: Any,
) -> Model:
    """Make a model of a Keras weights file (`.h5`) of Matterport's Mask R-CNN.

    The backbone, the number of classes and the widths of the heads are found in the file. Every layer of the network
    must be in it, with the right shapes, unless it is excluded. Nothing in the file is run.

    Args:
        labels: the classes without the background, in the network's order: a label space, or, with `exclude`, the name
            of a published one; else names that must fit the file's classes. By default COCO's for 81 classes, and
            numbered ones for any other count.
        num_classes: with the background; only where it is not to be what the file says.
        backbone: "resnet50" or "resnet101"; only where it is not to be what the file says.
        exclude: layers to start afresh instead: names, regular expressions for whole names, or "heads", "5+", "4+",
            "3+". To learn other classes: `exclude=matterport.LABELLED`.
        device: where the weights go.
        seed: of what is started afresh.
        config: any setting of `Config`; the original's upper-case names are taken too.

    Raises:
        UsageError: an unknown setting or a bad value.
        InvalidInput: no such weights file; layers that are missing or have other shapes, by name.
        DamagedData: cut short, or numbers that no weight is.
        Unsafe: a pickle, or links out of the file.
    """
    path = Path(path)
    model = _loaded(path, config, labels=labels, num_classes=num_classes, backbone=backbone, exclude=exclude, seed=seed)
    if model.unused:
        warnings.warn(f"{path.name}: {_said_of_unused(model)}", stacklevel=2)
    model.network.to(memory_format=torch.channels_last).to(device).eval()
    return model


def of_file(path: Path) -> Model:
    """A model as a file has it, for its weights alone: settings that leave no trace in them are not those of its training.

    Raises:
        InvalidInput, DamagedData, Unsafe: see `load`.
    """
    with weights.opened(path) as file:
        anchors = _anchor_count(file)
    ratios = {} if anchors is None else {"rpn_anchor_ratios": (1.0,) * anchors}
    model = _loaded(path, ratios)
    return replace(model, remarks=(_said_of_unused(model),) if model.unused else ())


def shown_by(path: Path) -> dict[str, Any]:
    """The settings that a file shows: its backbone and its widths.

    Raises:
        InvalidInput, DamagedData, Unsafe: see `load`.
    """
    with weights.opened(path) as file:
        return {"backbone": _backbone(file), **_widths(file)}


def _said_of_unused(model: Model) -> str:
    what = f"a {model.backbone} model of {model.num_classes} classes"
    return f"{len(model.unused)} layers have no place in {what}: {_listed(model.unused)}"


def _loaded(
    path: Path,
    config: Mapping[str, Any],
    *,
    labels: Names | None = None,
    num_classes: int | None = None,
    backbone: str | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> Model:
    """See `load`."""
    is_published = isinstance(labels, str) and labels in manifest.spaces() and bool(exclude)
    space = manifest.label_space(str(labels)) if is_published else labels if isinstance(labels, LabelSpace) else None
    remarks: tuple[str, ...] = ()
    if space is not None and num_classes not in (None, len(space) + 1):
        raise UsageError(f"num_classes is {num_classes}, but there are {len(space)} labels and the background")
    if backbone is not None and backbone not in BLOCKS:
        raise UsageError(f"there is no backbone {backbone!r}", fix=f"backbones are {', '.join(BLOCKS)}")
    with weights.opened(path) as file:
        settings = Config().changed(**{**_widths(file), **{name.lower(): value for name, value in config.items()}})
        backbone = backbone or _backbone(file)
        if labels is not None and space is None:
            space, remarks = _fitted(labels, num_classes or _num_classes(file), path)
        num_classes = len(space) + 1 if space is not None else num_classes or _num_classes(file)
        with torch.device("meta"):
            network = Network(backbone, num_classes, settings)
        layers = layers_of(network)
        fresh = {layer.name for pattern in exclude for layer in matching(layers, pattern)}
        what = f"a {backbone} model of {num_classes} classes"
        _match(layers, file, fresh, what)
        network = unfilled(backbone, num_classes, settings)
        _fill(layers_of(network), file, fresh, seed)
    used = {layer.group for layer in layers} | {"anchors"}  # Matterport's TensorFlow 2 port keeps its anchors so
    unused = tuple(name for name, names in file.layers.items() if names and name not in used)
    order = tuple(layer.name for layer in layers if layer.name in fresh)
    if space is None:
        space, remarks = _unnamed(num_classes)
    if num_classes != _COCO_CLASSES:
        remarks += _assumed(settings, {name.lower() for name in config})
    return Model(network, settings, backbone, space, source=path.name, fresh=order, unused=unused, remarks=remarks)


_COCO_CLASSES = 81
"""Of the published weights, which were trained with the defaults, and the background."""

_NOT_STORED = (
    "rpn_anchor_scales",
    "rpn_anchor_ratios",
    "image_resize_mode",
    "image_min_dim",
    "image_max_dim",
    "mean_pixel",
)
"""Settings of training that leave no trace in a weights file, and that people change."""


def _assumed(settings: Config, given: set[str]) -> tuple[str, ...]:
    """A remark on settings that a file of somebody's own training does not hold and that were not given."""
    values = settings.as_dict()
    names = [f"{name}={_compact(values[name])}" for name in _NOT_STORED if name not in given]
    if not names:
        return ()
    return (
        f"settings that a .h5 does not hold, taken as the defaults: {', '.join(names)}; --set NAME=VALUE changes one",
    )


def _compact(value: Any) -> str:
    return str(value).replace(" ", "")


def save(model: Model, path: Path | str) -> None:
    """Write a model's weights as Keras does; Matterport's code loads them by name, `load` does, too.

    Raises:
        DiskError: the file could not be written; nothing is left behind.
    """
    groups: dict[str, dict[str, np.ndarray]] = {}
    for layer in model.layers:
        for kind, value in layer.weights().items():
            arrays = groups.setdefault(layer.group, {})
            arrays[f"{layer.name}/{kind}:0"] = np.ascontiguousarray(value.cpu().numpy())
    weights.write(Path(path), list(groups.items()))


def _widths(file: WeightsFile) -> dict[str, int]:
    """The settings that a file shows, as far as it has these layers."""
    shapes = {name: _kernel(file, layer) for name, (layer, _) in _WIDTHS.items()}
    return {name: shape[_WIDTHS[name][1]] for name, shape in shapes.items() if shape}


def _kernel(file: WeightsFile, layer: str) -> tuple[int, ...] | None:
    names = file.layers.get(layer)
    return file.shape(layer, _arranged(names, [(layer, "kernel"), (layer, "bias")])[0]) if names else None


def _num_classes(file: WeightsFile) -> int:
    shape = _kernel(file, "mrcnn_class_logits")
    if not shape or not 2 <= shape[-1] <= 65536:
        raise InvalidInput(
            "the weights file does not say how many classes there are",
            file=file.path,
            place="layer mrcnn_class_logits",
            why=f"its kernel has shape {shape}",
            fix="give num_classes=… (with the background)",
        )
    return shape[-1]


def _anchor_count(file: WeightsFile) -> int | None:
    """Anchors at a cell, by the RPN's layer of two logits for each; None where the file does not say."""
    names = file.layers.get("rpn_model", [])
    shapes = [file.shape("rpn_model", name) for name in names if "rpn_class_raw" in name and "kernel" in name]
    return shapes[0][-1] // 2 if len(shapes) == 1 and shapes[0] else None


def _backbone(file: WeightsFile) -> str:
    """Which ResNet it is: by the blocks of its fourth stage."""
    blocks_there = [
        name[4] for name, names in file.layers.items() if names and re.fullmatch(r"res4[a-z]_branch2a", name)
    ]
    for name, blocks in BLOCKS.items():
        if sorted(blocks_there) == [chr(ord("a") + number) for number in range(blocks[2])]:
            return name
    raise InvalidInput(
        "the weights file holds no ResNet that Matterport's model has",
        file=file.path,
        why=f"stage 4 has the blocks {' '.join(sorted(blocks_there)) or '(none)'}; "
        + ", ".join(f"{name} has {blocks[2]}" for name, blocks in BLOCKS.items()),
        fix="give the .h5 file of a Mask R-CNN with resnet50 or resnet101",
    )


def _arranged(names: Sequence[str], wanted: Sequence[tuple[str, str]]) -> list[str]:
    """A group's weights in the order of `wanted` (layer, kind): by their names where these are clear, else as they come.

    Models made twice in one session have names such as conv1_1/kernel:0, very old files conv1_W:0.
    """
    single = len({layer for layer, _ in wanted}) == 1
    candidates = []
    for layer, kind in wanted:
        pattern = re.compile(rf"(.*/)?{'' if single else re.escape(layer) + r'(_[0-9]+)?/'}{kind}(:[0-9]+)?")
        candidates.append([name for name in names if pattern.fullmatch(name)])
    if all(len(matches) == 1 for matches in candidates):
        return [matches[0] for matches in candidates]
    return list(names)


def _groups(layers: Sequence[Layer]) -> dict[str, list[tuple[Layer, str, Tensor]]]:
    """Group → (layer, kind, view) of all its weights, in Keras's order."""
    groups: dict[str, list[tuple[Layer, str, Tensor]]] = {}
    for layer in layers:
        groups.setdefault(layer.group, []).extend((layer, *item) for item in layer.weights().items())
    return groups


def _match(layers: Sequence[Layer], file: WeightsFile, fresh: set[str], what: str) -> None:
    """Hold every layer of the network against the file, before anything is allocated.

    Raises:
        InvalidInput: layers that are missing or have other shapes, by name.
    """
    missing, different = [], []
    for group, wanted in _groups(layers).items():
        needed = [item for item in wanted if item[0].name not in fresh]
        names = file.layers.get(group, [])
        if not names:
            missing += list(dict.fromkeys(layer.name for layer, _, _ in needed))
        elif needed and len(names) != len(wanted):
            different.append(f"{group} has {len(names)} arrays instead of {len(wanted)}")
        elif needed:
            ordered = _arranged(names, [(layer.name, kind) for layer, kind, _ in wanted])
            for (layer, kind, view), name in zip(wanted, ordered, strict=True):
                shape = file.shape(group, name)
                if layer.name not in fresh and shape != tuple(view.shape):
                    different.append(f"{layer.name} {kind} {shape} instead of {tuple(view.shape)}")
    if different:
        raise InvalidInput(
            f"the weights are not those of {what}",
            file=file.path,
            why=f"other shapes: {_listed(different)}" + (f"; missing: {_listed(missing)}" if missing else ""),
            fix="give the settings that the model was trained with; to learn other classes, exclude=matterport.LABELLED",
        )
    if missing:
        raise InvalidInput(
            f"the weights file lacks layers of {what}",
            file=file.path,
            why=f"missing: {_listed(missing)}",
            fix="exclude=[…] starts layers afresh, where this is what you want",
        )


def _fill(layers: Sequence[Layer], file: WeightsFile, fresh: set[str], seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            if layer.name in fresh:
                initialise(layer)
    for group, wanted in _groups(layers).items():
        ordered = _arranged(file.layers.get(group, []), [(layer.name, kind) for layer, kind, _ in wanted])
        for (layer, _, view), name in zip(wanted, ordered, strict=False):
            if layer.name not in fresh:
                view.copy_(torch.from_numpy(file.read(group, name, tuple(view.shape))))


def _fitted(names: Names, num_classes: int, path: Path) -> tuple[LabelSpace, tuple[str, ...]]:
    """Names for the classes of a file, one for each, and remarks on them."""
    labels, categories, remarks = class_names.fitted(names, num_classes - 1, path.name)
    if len(labels) < num_classes - 1:
        raise UsageError(
            "the names do not fit the network's classes",
            file=path,
            why=f"{len(labels)} names with gaps between their ids; the network has {num_classes - 1} classes",
            fix="--labels with a name for each class, in the network's order",
        )
    return LabelSpace(labels.name, tuple(labels[int(category)] for category in categories)), remarks


def _unnamed(num_classes: int) -> tuple[LabelSpace, tuple[str, ...]]:
    """The classes of a file whose names nobody says, and a remark on numbered ones."""
    if num_classes == _COCO_CLASSES:
        return manifest.label_space("coco"), ()
    labels, _, remarks = class_names.numbered(num_classes - 1)
    return labels, remarks


def _listed(names: Sequence[str]) -> str:
    more = f" … {len(names)} in all" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
