"""What an exported file says of itself: ONNX's `metadata_props`, texts and JSON by name."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.models import weights
from segdata.models.maskrcnn import config as maskrcnn
from segdata.models.semantic.classes import categories_of
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.networks.settings import SMP
from segdata.pack.layout import is_pack, read_index
from segdata.system import documents
from segdata.system.reading import open_file
from segdata.version import __version__

_TORCHVISION = (
    "torchvision states none for the weights; terms of the dataset that they were trained on may apply "
    "(torchvision's code: BSD-3-Clause)"
)


def of_source(source: str | Path) -> dict[str, Any]:
    """What is known of a network's weights: the fingerprint of its pack, its checksum, and what it began with."""
    document = weights.document_of(source)
    if document is None:
        return _of_file(source)
    run = run_of(source)
    begun = None if run is None else _begun_with(run)
    return {
        "weights": Path(source).name,
        "weights_sha256": document["tensors"]["sha256"],
        "updates": document["step"],
        "pack_fingerprint": document["data"],
        **({} if begun is None else {"began_with": begun}),
    }


def _of_file(source: str | Path) -> dict[str, Any]:
    """The same of published weights and of files without a description."""
    path = weights.file_of(source)[0]
    if not path.is_file():
        return {"weights": str(source), "began_with": str(source)}
    with open_file(path) as file:
        return {"weights": path.name, "weights_sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def run_of(source: str | Path) -> Path | None:
    """The run's folder that weights are in; None where they are in none."""
    path = Path(source)
    near = (path, path.parent, path.parent.parent)
    return next((folder for folder in near if (folder / "environment.json").is_file()), None)


def pack_of(source: str | Path) -> Path | None:
    """The pack that a run was trained on, where one of its name and fingerprint lies beside the run or here."""
    run, document = run_of(source), weights.document_of(source)
    if run is None or document is None or not (run / "config.json").is_file():
        return None
    config = documents.read_json(run / "config.json", dict[str, Any], "the run's settings")
    data = config.get("data")
    name = data.get("pack") if isinstance(data, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        return None
    for folder in (run.absolute().parent, run.absolute().parent.parent, Path.cwd()):
        if is_pack(folder / name):
            fingerprint = read_index(folder / name)["provenance"]["fingerprint"]
            if document["data"].startswith(fingerprint[:24]):
                return folder / name
    return None


def _begun_with(run: Path) -> str | None:
    """The weights that a run's command names."""
    environment = documents.read_json(run / "environment.json", dict[str, Any], "the run's environment")
    try:
        words = shlex.split(str(environment.get("command", "")))
    except ValueError:
        return None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--weights":
            return following
        if word.startswith("--weights="):
            return word.partition("=")[2]
    return None


def licence(begun_with: str, settings: object) -> str:
    """The licence of weights that a training began with, as far as it is known."""
    if begun_with.startswith("torchvision:"):
        return _TORCHVISION
    if begun_with.startswith("smp:") and isinstance(settings, SMP):
        import timm

        shown = timm.get_pretrained_cfg(settings.backbone.removeprefix("tu-"), allow_unregistered=False)
        if shown is not None and shown.license:
            return f"{shown.license} (as timm states it for {settings.backbone})"
    return "not known"


def of_semantic(
    name: str,
    settings: SemanticConfig,
    labels: LabelSpace,
    known: Mapping[str, Any],
    *,
    with_preprocessing: bool,
    is_int8: bool,
) -> dict[str, str]:
    """The metadata of a network for semantic segmentation.

    Args:
        known: as `of_source` gives it.
    """
    if with_preprocessing:
        images: dict[str, Any] = {"dtype": "uint8", "shape": "N H W 3", "rule": "RGB pixels as they are"}
        output = {
            "name": "labels",
            "dtype": str(labels.dtype) if labels.dtype.itemsize == 1 else "int32",
            "shape": "N H W",
            "meaning": "the category of each pixel",
        }
    else:
        images = {"dtype": "float32", "shape": "N 3 H W", **_normalised(settings)}
        output = {"name": "logits", "dtype": "float32", "shape": "N C H W", "meaning": "softmax gives probabilities"}
    images = {"name": "images", "order": "RGB", **images, "size": "any from 32 pixels on; not resized, padded inside"}
    particular = {
        "task": "semantic segmentation",
        "precision": "int8" if is_int8 else "float32",
        "input": images,
        "output": output,
    }
    return _texts(name, settings, labels, categories_of(labels).tolist(), {**particular, **known})


def of_detector(
    name: str,
    settings: maskrcnn.Config,
    labels: LabelSpace,
    categories: npt.NDArray[np.int64],
    known: Mapping[str, Any],
    *,
    with_preprocessing: bool,
) -> dict[str, str]:
    """The metadata of a Mask R-CNN.

    Args:
        categories: the category of each of the network's classes from 1 on, −1 for classes to leave out.
        known: as `of_source` gives it.
    """
    rule = "shorter side to min_size, unless the longer one then exceeds max_size, which it becomes; at least min_scale"
    size = {
        **{"min_size": settings.min_size[-1], "max_size": settings.max_size, "min_scale": settings.min_scale},
        "rule": f"{rule}; sides are rounded down; bilinear between pixel centres, without antialiasing",
    }
    if with_preprocessing:
        image: dict[str, Any] = {"dtype": "uint8", "shape": "H W 3", "rule": "RGB pixels as they are"}
        image["size"] = "any; resized and padded inside"
        masks = {"dtype": "uint8", "shape": "K H W", "meaning": "1 inside the object, 0 outside"}
    else:
        image = {"dtype": "float32", "shape": "3 H W", **_normalised(settings)}
        image["size"] = "as resize says; padded inside"
        masks = {"dtype": "float32", "shape": "K M M", "meaning": "probabilities on a grid over the box"}
    particular = {
        "task": "instance segmentation",
        "precision": "float32",
        "input": {"name": "image", "order": "RGB", **image, "resize": size},
        "output": [
            {"name": "boxes", "dtype": "float32", "shape": "K 4", "meaning": "x0 y0 x1 y1 in pixels of the input"},
            {"name": "labels", "dtype": "int64", "shape": "K", "meaning": "position in class_names"},
            {"name": "scores", "dtype": "float32", "shape": "K", "meaning": "highest first"},
            {"name": "masks", **masks},
        ],
        "score_threshold": settings.detection_min_confidence,
        "mask_threshold": settings.mask_threshold,
    }
    return _texts(name, settings, labels, categories[categories >= 0].tolist(), {**particular, **known})


def _normalised(settings: SemanticConfig | maskrcnn.Config) -> dict[str, Any]:
    rule = "(RGB / 255 - mean) / std, channel by channel"
    return {"rule": rule, "mean": list(settings.mean), "std": list(settings.std)}


def _texts(
    name: str,
    settings: SemanticConfig | maskrcnn.Config,
    labels: LabelSpace,
    chosen: list[int],
    particular: dict[str, Any],
) -> dict[str, str]:
    """What all networks say, and what this one says.

    Args:
        chosen: the categories of the outputs.
    """
    document = {
        "segdata_version": __version__,
        "model": name,
        "class_names": [labels[category].name for category in chosen],
        "classes": [
            {"output": index, "category": category, **labels[category].as_dict()}
            for index, category in enumerate(chosen)
        ],
        "ignored_categories": [category.name for category in labels.categories if category.ignore],
        "void": labels.void,
        "label_space": labels.name,
        "mean": list(settings.mean),
        "std": list(settings.std),
        "settings": settings.as_dict(),
        **particular,
    }
    if "began_with" in particular:
        document["began_with_licence"] = licence(particular["began_with"], settings)
    return as_texts(document)


def put(model: Any, texts: Mapping[str, str]) -> bytes:
    """The bytes of an `onnx.ModelProto` with metadata."""
    from onnx import helper

    helper.set_model_props(model, dict(texts))
    data: bytes = model.SerializeToString()
    return data


def as_texts(document: Mapping[str, Any]) -> dict[str, str]:
    """Texts as they are, everything else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in document.items()
    }
