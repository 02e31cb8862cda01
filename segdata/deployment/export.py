"""`export`: a trained network as a file for other programs, written only when it predicts as the network does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from segdata.deployment import description, detector_file, packages, semantic_file
from segdata.deployment.exported import Exported, ExportReport
from segdata.deployment.packages import ENDING
from segdata.deployment.photos import COUNT
from segdata.deployment.photos import photos as photos_of
from segdata.errors import UsageError
from segdata.models import registry
from segdata.models.class_names import Names
from segdata.models.contract import Image
from segdata.models.maskrcnn.model import Detector
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.pack.read import Pack, open_pack
from segdata.system.files import disk_errors, require_no_device, write_whole
from segdata.training.config import TrainConfig
from segdata.training.predict import load


@disk_errors()
def export(
    source: str | Path,
    target: str | Path,
    *,
    photos: str | Path | Pack | None = None,
    quantise: str | Path | Pack | None = None,
    with_preprocessing: bool = False,
    labels: Names | None = None,
    force: bool = False,
) -> ExportReport:
    """Write a trained network as an ONNX file, for images of any size; it describes itself.

    The file is run by ONNX Runtime on three photos before it gets its name, and has to give what the network gives, in full
    precision and for whole images: the same labels for all but 0.1 % of the pixels (3 % in int8), or the same objects, as
    `verification.paired` compares them.

    Args:
        source: a run or a checkpoint of a network for semantic segmentation or of a Mask R-CNN, or torchvision's weights of
            one, by file or name.
        target: the file, FILE.onnx.
        photos: a pack or a folder with photos to compare on; by default the pack that the run was trained on, where it
            still lies beside the run or here, else `quantise`, else drawn ones.
        quantise: a pack with the network's categories: the file calculates in int8, with ranges seen in up to 16 of its
            images, and is judged by the mIoU of up to 50 others. Not for Mask R-CNN.
        with_preprocessing: uint8 images in, label maps or masks of the image's size out; else normalised images in, logits
            or masks within the boxes out.
        labels: names for the classes of weights that do not name them.
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
    _require_model(source, is_int8=quantise is not None)
    calibrated = None if quantise is None else quantise if isinstance(quantise, Pack) else open_pack(quantise)
    loaded = load(source, device="cpu", labels=labels)
    assert isinstance(loaded, (Detector, Segmenter))
    config = TrainConfig.from_dict(dict(loaded.settings or {}))
    if calibrated is not None:
        calibrated.labels.require_equal(loaded.labels, "a pack to calibrate on has the network's categories")
    compared = photos_of(_nearest(source, calibrated) if photos is None else photos)
    exported = _exported(loaded, config, source, compared.images, with_preprocessing, calibrated)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, exported.data)
    return ExportReport(
        target=target,
        bytes=len(exported.data),
        model=config.name,
        precision="float32" if calibrated is None else "int8",
        photos=len(compared.images),
        photos_of=compared.origin,
        **{name: value for name, value in exported._asdict().items() if name != "data"},
        remarks=tuple(loaded.remarks),
        seconds=round(time.monotonic() - began, 1),
    )


def _nearest(source: str | Path, calibrated: Pack | None) -> Pack | None:
    """The pack to compare on where none is named; None for drawn photos."""
    known = description.pack_of(source)
    packs = [pack for pack in (None if known is None else open_pack(known), calibrated) if pack is not None]
    return next((pack for pack in packs if len(pack) >= COUNT), None)


def _exported(
    loaded: Detector | Segmenter,
    config: TrainConfig,
    source: str | Path,
    images: Sequence[Image],
    with_preprocessing: bool,
    calibrated: Pack | None,
) -> Exported:
    """The file of a network in full precision on whole images."""
    known = description.of_source(source)
    network = loaded.network.to(memory_format=torch.contiguous_format)
    if isinstance(loaded, Detector):
        full = Detector(network, loaded.config, loaded.labels, categories=loaded.categories, source=loaded.source)
        return detector_file.of(full, config.name, known, images, with_preprocessing=with_preprocessing)
    whole = config.model.changed(infer="whole", scales=(1.0,), crf=False)
    segmenter = Segmenter(network, whole, loaded.labels, source=loaded.source)
    return semantic_file.of(segmenter, config, known, images, with_preprocessing=with_preprocessing, pack=calibrated)


def _require_target(target: Path, *, force: bool) -> None:
    packages.require_offered(target)
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


def _require_model(source: str | Path, *, is_int8: bool) -> None:
    """Raise unless there is an export of the model that weights belong to.

    Raises:
        UsageError: there is none.
    """
    name = registry.name_of(source)
    if name == registry.KERAS:
        raise UsageError(
            f"there is no export of {name}",
            file=source,
            why="it detects as the original does, with steps that no exporter follows",
            fix="train --model maskrcnn, whose runs can be exported, or use segdata predict",
        )
    if is_int8 and name == registry.DEFAULT:
        raise UsageError(
            f"there is no {name} in int8",
            file=source,
            why="coordinates of boxes do not survive 8 bits; networks for semantic segmentation can be quantised",
            fix="leave out --quantise",
        )
