"""What the pack keeps of ADE20K for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count parts of objects, and objects whose hidden pixels are dropped."""
    residue = sample.extra.get("ade20k", {})
    findings.drop("parts of objects", sample.key, len(residue.get("parts", ())))
    hidden = sum("hidden" in extra.get("ade20k", {}) for extra in sample.instances.extra)
    findings.drop("hidden pixels of objects (the visible ones stay)", sample.key, hidden)
