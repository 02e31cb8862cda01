"""ONNX Runtime on a CPU."""

from __future__ import annotations

from typing import Any

import torch


def session(data: bytes) -> Any:
    """The `onnxruntime.InferenceSession` of a file's bytes, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # failures are exceptions, too
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
