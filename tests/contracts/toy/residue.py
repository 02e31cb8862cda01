"""What the pack keeps of Toy's text file for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count notes on objects."""
    notes = sum("note" in extra.get("toy", {}) for extra in sample.instances.extra)
    findings.drop("notes on objects", sample.key, notes)
