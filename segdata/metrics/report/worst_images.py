"""The worst images, drawn: ground truth beside prediction, and for label maps where they differ."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Instances, Sample
from segdata.errors import SegdataError
from segdata.metrics.report.outcomes import mistakes
from segdata.viz.overlay import overlay
from segdata.viz.scale import Scale, fitting

WIDTH = 560
"""Widest drawing, in pixels; larger ones are scaled down."""

_MARK = (255, 40, 40)
_WRONG = np.array([220, 60, 40], np.float32)
_VOID = np.array([40, 42, 48], np.float32)


@dataclass(frozen=True)
class WorstImage:
    """One image of the report: its key, why it is there, and (caption, JPEG) of every drawing."""

    key: str
    why: str
    drawings: tuple[tuple[str, bytes], ...]


def draw(index: int, why: str, predictions: Predictions, truth: GroundTruth, threshold: float) -> WorstImage:
    """Draw one image, with the detections of a score ≥ `threshold`."""
    sample, predicted = truth.get(index), predictions.get(index)
    labels = truth.labels
    image = _image_of(sample)
    drawing = _overlay(sample, labels, image)
    if predicted is not None and predicted.has_instances:
        score = predicted.instances.score
        predicted = _with_instances(predicted, np.isnan(score) | (score >= threshold))
    missed = wrong_ones = None
    if sample.has_instances and "scores" in predictions.holds:
        detections = Instances.none(sample.height, sample.width) if predicted is None else predicted.instances
        missed, wrong_ones = mistakes(detections, sample.instances, by_mask="masks" in predictions.holds)
    parts = [_marked("ground truth", drawing, sample, missed, "missed")]
    if predicted is not None:
        parts.append(_marked("prediction", _overlay(predicted, labels, image), predicted, wrong_ones, "wrong"))
        if sample.semantic is not None and predicted.semantic is not None:
            scale = Scale.of(*image.shape[:2])
            truth_map, predicted_map = scale.resized(sample.semantic), scale.resized(predicted.semantic)
            parts.append(("wrong pixels", _differences(truth_map, predicted_map, scale.resized(image), labels)))
    return WorstImage(sample.key, why, tuple((name, _jpeg(pixels)) for name, pixels in parts))


def _marked(
    name: str, drawing: npt.NDArray[np.uint8], sample: Sample, marked: npt.NDArray[np.bool_] | None, what: str
) -> tuple[str, npt.NDArray[np.uint8]]:
    """A drawing with a red frame around some objects, and its caption, which counts them."""
    from PIL import Image, ImageDraw

    if marked is None:
        return name, drawing
    image = Image.fromarray(drawing)
    pen = ImageDraw.Draw(image)
    scale = drawing.shape[0] / sample.height
    width = max(2, round(max(drawing.shape[:2]) / 220))
    for x0, y0, x1, y1 in (sample.instances.boxes[marked] * scale).tolist():
        if x1 >= x0 and y1 >= y0:
            pen.rectangle((x0 - width, y0 - width, x1 + width, y1 + width), outline=_MARK, width=width)
    count = int(marked.sum())
    return f"{name}: {count} {what}, framed in red" if count else f"{name}: none {what}", np.asarray(image)


def _image_of(sample: Sample) -> npt.NDArray[np.uint8]:
    """The image, or a grey plane where it is missing or damaged."""
    try:
        if sample.encoded is not None:
            return sample.image
    except SegdataError:
        pass
    return np.full((sample.height, sample.width, 3), 96, np.uint8)


def _with_instances(sample: Sample, chosen: npt.NDArray[np.bool_]) -> Sample:
    return Sample(
        sample.key, sample.height, sample.width, instances=sample.instances.take(chosen), semantic=sample.semantic
    )


def _overlay(sample: Sample, labels: LabelSpace, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return overlay(sample, labels, image=image, legend=False, title=False)


def _differences(
    truth: npt.NDArray[Any], predicted: npt.NDArray[Any], image: npt.NDArray[np.uint8], labels: LabelSpace
) -> npt.NDArray[np.uint8]:
    """The image in grey with every wrong pixel red and every void one dark."""
    ignored = np.ones(labels.void + 1, bool)
    ignored[: len(labels)] = [category.ignore for category in labels.categories]
    void = ignored[truth]
    grey = np.repeat(image.mean(2, dtype=np.float32)[:, :, None], 3, axis=2) * 0.6 + 70
    grey[(truth != predicted) & ~void] = _WRONG
    grey[void] = _VOID
    return grey.astype(np.uint8)


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as JPEG, at most `WIDTH` wide and four times as high."""
    from PIL import Image

    image = Image.fromarray(pixels)
    size = fitting(image.height, image.width, WIDTH)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
