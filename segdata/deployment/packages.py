"""Packages that an export needs."""

from __future__ import annotations

from importlib import util

from segdata.errors import UsageError

_NAMES = ("onnx", "onnxruntime", "onnxscript")


def require() -> None:
    """Raise unless ONNX files can be written and run.

    Raises:
        UsageError: a package is missing; the extra is named.
    """
    missing = [name for name in _NAMES if util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"an export needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            fix="pip install 'segdata[onnx]'",
        )
