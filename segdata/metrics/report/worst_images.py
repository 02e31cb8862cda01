"""The worst images, drawn: truth beside prediction, and for label maps where they differ."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.errors import SegdataError
from segdata.viz import overlay as draw

WIDTH = 560
"""Widest drawing, in pixels; larger ones are scaled down."""

_WRONG = np.array([220, 60, 40], np.float32)
_VOID = np.array([40, 42, 48], np.float32)


@dataclass(frozen=True)
class Drawn:
    """One image of the report: its key, why it is there, and (caption, JPEG) of every drawing."""

    key: str
    why: str
    drawings: tuple[tuple[str, bytes], ...]


def drawn(place: int, why: str, predictions: Predictions, truth: GroundTruth, threshold: float) -> Drawn:
    """Draw one image; detections from a score on."""
    known, predicted = truth.get(place), predictions.get(place)
    labels = truth.labels
    photo = _photo(known)
    overlay = _overlay(known, labels, photo)
    parts = [("truth", overlay)]
    if predicted is not None:
        if predicted.has_instances:
            score = predicted.instances.score
            kept = np.isnan(score) | (score >= threshold)
            predicted = _with_instances(predicted, kept)
        parts.append(("prediction", _overlay(predicted, labels, photo)))
        if known.semantic is not None and predicted.semantic is not None:
            scale = overlay.shape[0] // known.height  # small photos are drawn enlarged
            wrong = _differences(known, predicted, labels, photo)
            parts.append(("wrong pixels", wrong.repeat(scale, axis=0).repeat(scale, axis=1)))
    return Drawn(known.key, why, tuple((name, _encoded(picture)) for name, picture in parts))


def _photo(sample: Sample) -> npt.NDArray[np.uint8]:
    """The photo, or a grey plane where it is not at hand."""
    try:
        if sample.encoded is not None:
            return sample.image
    except SegdataError:
        pass
    return np.full((sample.height, sample.width, 3), 96, np.uint8)


def _with_instances(sample: Sample, kept: npt.NDArray[np.bool_]) -> Sample:
    return Sample(
        sample.key, sample.height, sample.width, instances=sample.instances.take(kept), semantic=sample.semantic
    )


def _overlay(sample: Sample, labels: LabelSpace, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return draw.overlay(sample, labels, image=photo, legend=False, title=False)


def _differences(
    known: Sample, predicted: Sample, labels: LabelSpace, photo: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """The photo in grey with every wrong pixel red and every void one dark."""
    truth: Any = known.semantic
    ignored = np.ones(labels.void + 1, bool)
    ignored[: len(labels)] = [category.ignore for category in labels.categories]
    void = ignored[truth]
    grey = np.repeat(photo.mean(2, dtype=np.float32)[:, :, None], 3, axis=2) * 0.6 + 70
    grey[(truth != predicted.semantic) & ~void] = _WRONG
    grey[void] = _VOID
    return grey.astype(np.uint8)


def _encoded(picture: npt.NDArray[np.uint8]) -> bytes:
    """A picture as JPEG, at most `WIDTH` wide."""
    from PIL import Image

    image = Image.fromarray(picture)
    if image.width > WIDTH:
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
