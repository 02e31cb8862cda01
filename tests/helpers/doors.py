"""Ways in, each a function that reads what others wrote all the way, and ends in a result or in a declared error."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import segdata
from segdata.core import images, png
from segdata.errors import InvalidImage, SegdataError
from tests.helpers import made, made_results


class Door(NamedTuple):
    """A way in.

    Attributes:
        make: writes something valid below a folder; returns the file or folder that is damaged then.
        enter: reads it, with a folder to write to; returns what went wrong in silence, "" for nothing.
    """

    make: Callable[[Path], Path]
    enter: Callable[[Path, Path], str]


def _dataset(source: Path, work: Path) -> str:
    """Convert, verify, draw, and write the same format again."""
    segdata.convert(source, work / "pack", workers=1, on_error="skip", force=True)
    for damage in segdata.verify(work / "pack", deep=True).damages:
        if not isinstance(damage, InvalidImage):
            return f"verify --deep after a conversion: {damage}"
    pack = segdata.open(work / "pack")
    for index in range(min(len(pack), 3)):
        with contextlib.suppress(InvalidImage):
            segdata.overlay(pack[index], pack.labels)
    segdata.convert(work / "pack", work / "back", workers=1, to=pack.info["provenance"]["format"], force=True)
    return ""


def _results(make_truth: Callable[[Path], Path], *, truth_is_damaged: bool = False) -> Callable[[Path, Path], str]:
    """Evaluate, and draw every image's predictions."""

    def enter(path: Path, work: Path) -> str:
        other = work / "other"
        if not other.exists():
            make_truth(other)
        predictions, truth = (other, path) if truth_is_damaged else (path, other)
        evaluation = segdata.evaluate(next(predictions.iterdir()) if truth_is_damaged else predictions, truth)
        for index in range(len(evaluation.truth)):
            sample = evaluation.predictions.get(index)
            if sample is not None:
                segdata.overlay(sample, evaluation.truth.labels, image=np.zeros((30, 40, 3), np.uint8))
        return ""

    return enter


def _image(path: Path, work: Path) -> str:
    """Read the header, decode as a photo and as a label file."""
    data = path.read_bytes() if path.is_file() else b""
    for read in (png.read_labels, images.decode):
        with contextlib.suppress(SegdataError):
            read(data)
    images.probe(data)
    return ""


def _picture(ending: str, mode: str = "RGB", **options: Any) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        pixels = np.asarray(Image.open(io.BytesIO(made.photo(kind="PNG"))))
        image = (
            Image.fromarray(pixels).convert(mode)
            if mode != "I;16"
            else Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200)
        )
        root.mkdir(parents=True, exist_ok=True)
        image.save(root / f"a{ending}", **options)
        return root / f"a{ending}"

    return make


def _coco_results(root: Path) -> Path:
    return made_results.coco_detections(root / "both.json")


def _panoptic_results(root: Path) -> Path:
    made_results.panoptic(root, is_prediction=True)
    shutil.rmtree(root / "val2017")
    return root / "annotations"


DOORS: dict[str, Door] = {
    "coco": Door(made.coco, _dataset),
    "panoptic": Door(made_results.panoptic, _dataset),
    "voc": Door(made.voc, _dataset),
    "cityscapes": Door(made.cityscapes, _dataset),
    "camvid": Door(made.camvid, _dataset),
    "camvid-segnet": Door(made.camvid_segnet, _dataset),
    "camvid-fastai": Door(made.camvid_fastai, _dataset),
    "masks": Door(made.masks, _dataset),
    "format-cvat": Door(made.cvat, _dataset),
    "format-labelme": Door(made.labelme, _dataset),
    "parquet": Door(made.parquet, _dataset),
    "sa1b": Door(made.sa1b, _dataset),
    "coco-stuff": Door(made.coco_stuff, _dataset),
    "sbd": Door(made.sbd, _dataset),
    "ade20k": Door(made.ade20k, _dataset),
    "webdataset": Door(made.webdataset, _dataset),
    "format-via": Door(made.via, _dataset),
    "label-studio": Door(made.label_studio, _dataset),
    "yolo": Door(made.yolo, _dataset),
    "yolo-lists": Door(made.yolo_ultralytics, _dataset),
    "results-coco": Door(_coco_results, _results(made.coco)),
    "results-voc": Door(made_results.voc_detections, _results(made.voc)),
    "results-cityscapes": Door(
        lambda root: made_results.cityscapes_predictions(root) / "instance", _results(made.cityscapes)
    ),
    "results-pixels": Door(lambda root: made_results.cityscapes_predictions(root) / "pixel", _results(made.cityscapes)),
    "results-panoptic": Door(_panoptic_results, _results(made_results.panoptic)),
    "truth-coco": Door(made.coco, _results(_coco_results, truth_is_damaged=True)),
    "truth-voc": Door(made.voc, _results(lambda root: made_results.voc_detections(root / "r"), truth_is_damaged=True)),
    "truth-panoptic": Door(
        made_results.panoptic, _results(lambda root: _panoptic_results(root / "r"), truth_is_damaged=True)
    ),
    "jpeg": Door(_picture(".jpg"), _image),
    "jpeg-progressive": Door(_picture(".jpg", progressive=True, optimize=True), _image),
    "jpeg-cmyk": Door(_picture(".jpg", "CMYK"), _image),
    "png": Door(_picture(".png"), _image),
    "png-palette": Door(_picture(".png", "P", transparency=3), _image),
    "png-16": Door(_picture(".png", "I;16"), _image),
    "png-1": Door(_picture(".png", "1"), _image),
    "bmp": Door(_picture(".bmp"), _image),
    "gif": Door(_picture(".gif", "P"), _image),
    "tiff": Door(_picture(".tif", compression="tiff_deflate"), _image),
    "webp": Door(_picture(".webp"), _image),
}
