"""Where real sample data and reference results lie, when they are there; nothing from them is part of the project."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared"
SAMPLES = Path(os.environ.get("SEGDATA_SAMPLES") or _BESIDE / "samples")
REFERENCE = Path(os.environ.get("SEGDATA_REFERENCE") or _BESIDE / "reference")

needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="no sample data (set SEGDATA_SAMPLES to a folder that has it)"
)
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="no reference results (set SEGDATA_REFERENCE to a folder that has them)"
)
