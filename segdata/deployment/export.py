"""`export`: a trained network as a file for other programs, written only when it predicts as the network does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdata.core.reprs import line
from segdata.deployment import description, packages, semantic_file
from segdata.deployment.photos import COUNT
from segdata.deployment.photos import photos as photos_of
from segdata.errors import UsageError
from segdata.models import registry
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.pack.read import Pack, open_pack
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
        precision: "float32" or "int8".
        agreement: share of the photos' pixels that have the same label from the file as from the network.
        photos: how many.
        photos_of: where they come from.
        miou_before, miou_after: of the network and of the quantised file, on images of the pack that it was quantised
            with; None where it was not, or where the images have no label maps.
        judged: how many images they are of.
        seconds: that it took.
    """

    target: Path
    bytes: int
    model: str
    precision: str
    agreement: float
    photos: int
    photos_of: str
    miou_before: float | None
    miou_after: float | None
    judged: int
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
    quantise: str | Path | Pack | None = None,
    with_preprocessing: bool = False,
    force: bool = False,
) -> ExportReport:
    """Write a trained network as an ONNX file, for images of any number and size; it describes itself.

    The file is run by ONNX Runtime on three photos before it gets its name, and has to give the labels that the network
    gives, in full precision and for whole images, for all but 0.1 % of their pixels (3 % in int8).

    Args:
        source: a run or a checkpoint of a network for semantic segmentation.
        target: the file, FILE.onnx.
        photos: a pack or a folder with photos to compare on; by default the pack that the run was trained on, where it
            still lies beside the run or here, else `quantise`, else drawn ones.
        quantise: a pack with the network's categories: the file calculates in int8, with ranges seen in up to 16 of its
            images, and is judged by the mIoU of up to 50 others.
        with_preprocessing: uint8 images in, label maps out; else normalised images in, logits out.
        force: replace the file.

    Raises:
        NotThere: there are no such weights or photos.
        DamagedData: cut short or changed.
        LabelMismatch: the pack to calibrate on has other categories.
        InvalidInput: the network cannot be exported, or the file does not predict as it does; no file is written.
        UsageError: a package is missing, a model that has no export, another ending, or the file exists.
    """
    began = time.monotonic()
    target = Path(target)
    _require_target(target, force=force)
    packages.require()
    calibrated = None if quantise is None else quantise if isinstance(quantise, Pack) else open_pack(quantise)
    segmenter, config = _loaded(source)
    if calibrated is not None:
        calibrated.labels.require_equal(segmenter.labels, "a pack to calibrate on has the network's categories")
    if photos is None:
        known = description.pack_of(source)
        packs = [pack for pack in (None if known is None else open_pack(known), calibrated) if pack is not None]
        photos = next((pack for pack in packs if len(pack) >= COUNT), None)
    compared = photos_of(photos)
    exported = semantic_file.of(
        segmenter,
        config,
        description.of_source(source),
        compared.images,
        with_preprocessing=with_preprocessing,
        pack=calibrated,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, exported.data)
    return ExportReport(
        target=target,
        bytes=len(exported.data),
        model=config.name,
        precision="float32" if calibrated is None else "int8",
        agreement=exported.agreement,
        photos=len(compared.images),
        photos_of=compared.origin,
        miou_before=exported.miou_before,
        miou_after=exported.miou_after,
        judged=exported.judged,
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
