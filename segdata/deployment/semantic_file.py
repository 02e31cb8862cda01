"""The bytes of the file of a network for semantic segmentation, compared with the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segdata.deployment import description, quantisation, semantic, verification
from segdata.deployment.exported import Exported
from segdata.deployment.tracing import quietly
from segdata.models.contract import Image, Prediction
from segdata.models.semantic.prediction.segmenter import Segmenter
from segdata.pack.read import Pack
from segdata.training.config import TrainConfig


def of(
    segmenter: Segmenter,
    config: TrainConfig,
    known: Mapping[str, Any],
    images: Sequence[Image],
    *,
    with_preprocessing: bool,
    pack: Pack | None,
) -> Exported:
    """The file of a network.

    Args:
        segmenter: in full precision, on whole images.
        known: as `description.of_source` gives it.
        images: photos to compare on.
        pack: what the file is quantised with; None for full precision.

    Raises:
        InvalidInput: the network cannot be exported, or the file does not predict as it does.
    """
    settings, labels, source = config.model, segmenter.labels, segmenter.source
    expected = [segmenter.predict([image])[0] for image in images]
    verification.require_finite(expected, source)

    def described(model: Any, *, is_int8: bool) -> bytes:
        texts = description.of_semantic(
            config.name, settings, labels, known, with_preprocessing=with_preprocessing, is_int8=is_int8
        )
        return description.put(model, texts)

    def compared(data: bytes, *, is_int8: bool) -> tuple[semantic.OnnxSegmenter, float]:
        def run() -> tuple[semantic.OnnxSegmenter, list[Prediction]]:
            predictor = semantic.OnnxSegmenter(data, settings, labels, with_preprocessing=with_preprocessing)
            return predictor, predictor.predict(images)

        predictor, got = quietly(run, config.name, source)
        share = verification.agreement(expected, got)
        verification.require(share, images, source, is_int8=is_int8)
        return predictor, share

    graph = semantic.Graph(segmenter.network, settings, labels, with_preprocessing=with_preprocessing)
    model = quietly(lambda: semantic.traced(graph), config.name, source)
    data = described(model, is_int8=False)
    whole, share = compared(data, is_int8=False)
    if pack is None:
        return Exported(data, share)
    seen, judged = quantisation.divided(pack)

    def quantised() -> Any:
        calibrated = (seen[index].image for index in range(len(seen)))
        return quantisation.quantised(
            model, calibrated, lambda image: semantic.inputs(image, settings, with_preprocessing)
        )

    data = described(quietly(quantised, config.name, source), is_int8=True)
    smaller, share = compared(data, is_int8=True)
    before, after = (
        quantisation.miou(predictor.predict, judged, from_objects=settings.from_objects)
        for predictor in (whole, smaller)
    )
    return Exported(data, share, before, after, len(judged))
