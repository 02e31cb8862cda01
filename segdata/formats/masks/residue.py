"""What the pack keeps of masks for the way back, and what of it other formats drop."""

from __future__ import annotations

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count the numbers of objects that are not simply 1 … N."""
    if "masks" in sample.extra:
        numbers = sample.instances.id
        is_other = numbers != np.arange(1, len(numbers) + 1)
        findings.drop("numbers of objects in masks with gaps", sample.key, int(is_other.sum()))
