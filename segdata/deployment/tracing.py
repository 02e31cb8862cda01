"""Exporters and ONNX Runtime, without their warnings, and with their failures as errors of ours."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from segdata.errors import InvalidInput, SegdataError


def quietly(make: Callable[[], Any], name: str, source: str) -> Any:
    """What a function of the exporter or of ONNX Runtime makes, without its warnings.

    Raises:
        InvalidInput: it cannot be done, with the first line of its reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()
    except (MemoryError, SegdataError):
        raise
    except Exception as error:  # of the exporter or of ONNX Runtime, which have many kinds
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = re.sub(r"\x1b\[\d*m", "", str(cause)).strip().splitlines() or [""]
        raise InvalidInput(
            f"the network {name} cannot be exported with these settings",
            file=source,
            why=f"{type(cause).__name__}: {reason[0]:.200}",
            state="no file was written",
            fix="segdata predict runs it",
        ) from error
