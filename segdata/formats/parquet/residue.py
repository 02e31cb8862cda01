"""What the pack keeps of Parquet tables for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count columns whose values the sample holds otherwise, such as paths of the machine that wrote the table."""
    for name in sample.extra.get("parquet", {}).get("row", {}):
        findings.drop(f"column {name!r} as it was written", sample.key)
    for name, path in sample.extra.get("parquet", {}).get("paths", {}).items():
        findings.drop(f"paths of column {name!r}", sample.key, int(path is not None))
