"""Packages that an export needs, and the files that it can be; imports no torch."""

from __future__ import annotations

from importlib import util
from pathlib import Path

from segdata.errors import UsageError

ENDING = ".onnx"

_OTHERS = {
    ".pte": (
        "files for ExecuTorch need its own package, which brings more than 20 others",
        "docs/export.md has the lines that make one in an environment with it",
    ),
    ".mlpackage": (
        "coremltools 9.0 does not convert beside NumPy 2.4, and runs what it converts on macOS alone",
        f"write {ENDING} and run it with ONNX Runtime, which has a Core ML execution provider",
    ),
}
"""Ending of other programs' files → why there is no export to them, and what to do."""

_NAMES = ("onnx", "onnxruntime", "onnxscript")


def require_offered(target: Path) -> None:
    """Raise where a file is one of another program that there is no export to.

    Raises:
        UsageError: it is; the way there is named.
    """
    if target.suffix.lower() in _OTHERS:
        why, fix = _OTHERS[target.suffix.lower()]
        raise UsageError(f"an export cannot be written as {target.name}", file=target, why=why, fix=fix)


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
