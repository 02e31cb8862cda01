"""The bytes of the file of a Mask R-CNN, compared with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segdata.deployment import description, detector, verification
from segdata.deployment.exported import Exported
from segdata.deployment.tracing import quietly
from segdata.models.contract import Image, Prediction
from segdata.models.maskrcnn.model import Detector

FEWEST = 3
"""Objects that are enough to compare; where fewer exceed the score threshold, those with any score are compared."""


def of(
    trained: Detector,
    name: str,
    known: Mapping[str, Any],
    images: Sequence[Image],
    *,
    with_preprocessing: bool,
) -> Exported:
    """The file of a network.

    Args:
        trained: in full precision.
        name: the model's.
        known: as `description.of_source` gives it.
        images: photos to compare on.

    Raises:
        InvalidInput: the network cannot be exported, or the file does not predict as it does.
    """
    config, categories, source = trained.config, trained.categories, trained.source
    graph = detector.Graph(trained.network, config, categories, with_preprocessing=with_preprocessing)
    expected, threshold = trained.predict(images), config.detection_min_confidence
    verification.require_finite(expected, source)
    if sum(len(prediction.instances or ()) for prediction in expected) < FEWEST:
        threshold = 0.0
        trained.network.roi_heads.score_thresh = threshold
        expected = trained.predict(images)
    model = quietly(lambda: detector.traced(graph), name, source)

    def predicted() -> list[Prediction]:
        data = detector.with_threshold(model, threshold).SerializeToString()
        exported = detector.OnnxDetector(data, config, categories, with_preprocessing=with_preprocessing)
        return exported.predict(images)

    paired = verification.paired(expected, quietly(predicted, name, source), threshold)
    verification.require_paired(paired, images, source)
    texts = description.of_detector(
        name, config, trained.labels, categories, known, with_preprocessing=with_preprocessing
    )
    return Exported(
        description.put(model, texts),
        paired.agreement,
        objects=paired.objects,
        box_difference=paired.box_difference,
        mask_difference=paired.mask_difference,
    )
