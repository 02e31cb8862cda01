"""What the pack keeps of SA-1B's documents for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count keys of the document beside `image` and `annotations`."""
    for name in sample.extra.get("sa1b", {}).get("document", {}):
        findings.drop(f"document field {name!r}", sample.key)
