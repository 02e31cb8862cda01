"""What the pack keeps of YOLO's text for the way back, and what of it other formats drop."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count keypoints behind boxes."""
    is_box = ~sample.instances.has_mask
    for index, extra in enumerate(sample.instances.extra):
        text = extra.get("yolo", {}).get("text", "")
        findings.drop("keypoints", sample.key, int(is_box[index] and len(text.split()) > 5))
