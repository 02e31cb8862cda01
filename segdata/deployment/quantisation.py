"""Networks in int8: 8-bit weights for each channel and 8-bit activations, whose ranges are seen in images of a pack."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdata.errors import UsageError
from segdata.models.contract import Image, Prediction
from segdata.models.semantic.judge import ConfusionJudge
from segdata.pack.read import Pack

CALIBRATED = 16
"""Most images in which ranges are seen."""

JUDGED = 50
"""Most images that the mIoU is of."""

_OPERATORS = [
    *("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Concat", "Relu", "Resize"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
]
"""What is calculated in int8; normalisation, padding and the largest logit are not."""


def divided(pack: Pack) -> tuple[Pack, Pack]:
    """The images to calibrate on, and those to judge by: others where there are as many; both spread over the pack.

    Raises:
        UsageError: the pack has no images.
    """
    if not len(pack):
        raise UsageError("there is nothing to calibrate on: the pack has no images", file=pack.path)
    chosen = _spread(np.arange(len(pack)), CALIBRATED)
    others = np.setdiff1d(np.arange(len(pack)), chosen)
    return pack.select(chosen), pack.select(_spread(others if len(others) >= len(chosen) else chosen, JUDGED))


def _spread(indices: Any, count: int) -> Any:
    return indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)]


def quantised(model: Any, images: Iterator[Image], to_input: Callable[[Image], Any]) -> Any:
    """An `onnx.ModelProto` in int8.

    Args:
        images: in which the ranges of the activations are seen.
        to_input: an image as the graph takes it.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization import quant_utils

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            image = next(images, None)
            return None if image is None else {"images": to_input(image)}

    with tempfile.TemporaryDirectory(prefix="segdata-export-") as folder:
        merged, smaller = Path(folder) / "merged.onnx", Path(folder) / "int8.onnx"
        options = onnxruntime.SessionOptions()  # batch norms become part of their convolutions
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(merged)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        prepared = onnx.load(merged)
        quant_utils.add_pre_process_metadata(prepared)  # without it, a warning asks for what was just done
        onnx.save(prepared, merged)
        quantization.quantize_static(
            merged,
            smaller,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QUInt8,  # with signs, sums overflow on processors without VNNI
            op_types_to_quantize=_OPERATORS,
        )
        return onnx.load(smaller)


def miou(predict: Callable[[Sequence[Image]], list[Prediction]], pack: Pack, *, from_objects: bool) -> float | None:
    """The mIoU of predictions on a pack; None where no image has a label map."""
    judge = ConfusionJudge(pack, from_objects=from_objects)
    for index in range(len(pack)):
        judge.add(index, predict([pack[index].image])[0])
    return judge.metrics()["mIoU"]
