"""What the pack keeps of SBD's MATLAB files for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count files with boundaries or further fields, and numbers of objects that are not simply 1 … N."""
    for name, item in sample.extra.get("sbd", {}).items():
        findings.drop(f"boundaries and further fields of {name}/", sample.key, int(bool(item["fields"])))
