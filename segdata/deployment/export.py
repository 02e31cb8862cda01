"""`export`: a trained network as a file for other programs, written only when it predicts as the network does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdata.core.reprs import line
from segdata.deployment import description, packages, semantic, verification
from segdata.deployment.photos import photos as photos_of
from segdata.errors import InvalidInput, UsageError
from segdata.models import registry
from segdata.models.semantic.config import SemanticConfig
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.pack.read import Pack
from segdata.system.files import disk_errors, require_no_device, write_whole
from segdata.training.config import TrainConfig
from segdata.training.predict import load

ENDING = ".onnx"


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
        target: the file.
        bytes: its size.
        model: the network's name.
        agreement: share of the photos' pixels that have the same label from the file as from the network.
        photos: how many.
        photos_of: where they come from.
        seconds: that it took.
    """

    target: Path
    bytes: int
    model: str
    agreement: float
    photos: int
    photos_of: str
    seconds: float

    def __repr__(self) -> str:
        return line(self, repr(str(self.target)), f"{self.bytes:,} bytes", f"{self.agreement:.4%} of the labels agree")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target)}


@disk_errors()
def export(
    source: str | Path,
    target: str | Path,
    *,
    photos: str | Path | Pack | None = None,
    with_preprocessing: bool = False,
    force: bool = False,
) -> ExportReport:
    """Write a trained network as an ONNX file, for images of any number and size; it describes itself.

    The file is run by ONNX Runtime on three photos before it gets its name, and has to give the labels that the network
    gives, in full precision and for whole images, for all but 0.1 % of their pixels.

    Args:
        source: a run or a checkpoint of a network for semantic segmentation.
        target: the file, FILE.onnx.
        photos: a pack or a folder with photos to compare on; by default the pack that the run was trained on, where it
            still lies beside the run or here, else drawn ones.
        with_preprocessing: uint8 images in, label maps out; else normalised images in, logits out.
        force: replace the file.

    Raises:
        NotThere: there are no such weights or photos.
        DamagedData: cut short or changed.
        InvalidInput: the network cannot be exported, or the file does not predict as it does; no file is written.
        UsageError: a package is missing, a model that has no export, another ending, or the file exists.
    """
    began = time.monotonic()
    target = Path(target)
    _require_target(target, force=force)
    packages.require()
    segmenter, config = _loaded(source)
    settings: SemanticConfig = config.model
    compared = photos_of(photos, description.pack_of(source) if photos is None else None)
    expected = segmenter.predict(compared.images[:1])
    expected += [segmenter.predict([image])[0] for image in compared.images[1:]]
    verification.require_finite(expected, segmenter.source)
    graph = semantic.Graph(segmenter.network, settings, segmenter.labels, with_preprocessing=with_preprocessing)
    model = quietly(lambda: semantic.traced(graph), config.name, segmenter.source)
    from onnx import helper

    helper.set_model_props(
        model,
        description.of_semantic(
            config.name,
            settings,
            segmenter.labels,
            description.of_source(source),
            with_preprocessing=with_preprocessing,
            is_int8=False,
        ),
    )
    data = model.SerializeToString()
    exported = semantic.OnnxSegmenter(data, settings, segmenter.labels, with_preprocessing=with_preprocessing)
    share = verification.agreement(expected, exported.predict(compared.images))
    verification.require(share, compared.images, segmenter.source, is_int8=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, data)
    return ExportReport(
        target=target,
        bytes=len(data),
        model=config.name,
        agreement=share,
        photos=len(compared.images),
        photos_of=compared.origin,
        seconds=round(time.monotonic() - began, 1),
    )


def _require_target(target: Path, *, force: bool) -> None:
    if target.suffix.lower() != ENDING:
        raise UsageError(
            f"an export cannot be written as {target.name}",
            file=target,
            why=f"the ending that works is {ENDING}",
            fix=f"-o {target.with_suffix(ENDING)}",
        )
    require_no_device(target)
    if target.is_dir():
        raise UsageError("a folder has this name", file=target, fix="choose another name")
    if target.exists() and not force:
        raise UsageError(f"{target} exists", file=target, fix="choose another name, or add --force to replace it")


def _loaded(source: str | Path) -> tuple[Segmenter, TrainConfig]:
    """The network in full precision on whole images, and the settings that it was trained with."""
    loaded = load(source, device="cpu")
    if not isinstance(loaded, Segmenter):
        raise UsageError(
            f"there is no export of {registry.name_of(source)}",
            file=source,
            why="networks for semantic segmentation can be exported",
            fix=f"use segdata predict, or segdata.training.predict.load({str(source)!r}).network in PyTorch",
        )
    config = TrainConfig.from_dict(dict(loaded.settings or {}))
    network = loaded.network.to(memory_format=torch.contiguous_format)
    whole = config.model.changed(infer="whole", scales=(1.0,), crf=False)
    return Segmenter(network, whole, loaded.labels, source=loaded.source), config


def quietly(make: Callable[[], Any], name: str, source: str) -> Any:
    """What a function of the exporter makes, without its warnings.

    Raises:
        InvalidInput: the exporter cannot do it, with the first line of its reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()
    except MemoryError:
        raise
    except Exception as error:  # of the exporter, which has many kinds
        reason = str(error).strip().splitlines() or [""]
        raise InvalidInput(
            f"the network {name} cannot be exported with these settings",
            file=source,
            why=f"{type(error).__name__}: {reason[0]:.200}",
            state="no file was written",
            fix="segdata predict runs it",
        ) from error
