"""What CamVid keeps in `extra` so that files are written back exactly, counted when another format drops it."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count pixels whose colours no category has."""
    off_table = sample.extra.get("camvid", {}).get("off_table", ())
    findings.drop("pixels with colours off the table", sample.key, len(off_table))
