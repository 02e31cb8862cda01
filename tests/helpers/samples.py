"""Where results of official evaluators and real sample data lie.

Small ones are in `tests/fixtures`, and every clone tests with them. Large ones are used when the environment names folders:
`SEGDATA_SAMPLES` real datasets, `SEGDATA_REFERENCE` results of original code. Without them, tests that need them are skipped.
"""

import os
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
METRICS = FIXTURES / "metrics"

_NOWHERE = FIXTURES / "not there"
SAMPLES = Path(os.environ.get("SEGDATA_SAMPLES") or _NOWHERE)
REFERENCE = Path(os.environ.get("SEGDATA_REFERENCE") or _NOWHERE)

needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="no sample data (set SEGDATA_SAMPLES to a folder that has it)"
)
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="no reference results (set SEGDATA_REFERENCE to a folder that has them)"
)
