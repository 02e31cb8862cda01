"""What the pack keeps of WebDataset's documents for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count values of the document that the sample holds otherwise."""
    for name in sample.extra.get("webdataset", {}).get("document", {}):
        findings.drop(f"document field {name!r} as it was written", sample.key)
