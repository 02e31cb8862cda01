"""What Cityscapes keeps in `extra` so that files are written back exactly, counted when another format drops it."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Kept


def count_dropped(sample: Sample, findings: Findings, kept: Kept) -> None:
    """Count polygon documents, and label files that do not follow from the labelIds: every target drops them."""
    residue = sample.extra.get("cityscapes", {})
    if "polygons" in residue:
        findings.drop("polygon documents", sample.key)
    if "instance_map" in residue:
        findings.drop("instance maps that disagree with label maps", sample.key)
    for name in ("labelTrainIds", "color"):
        if isinstance(residue.get(name), dict):
            findings.drop(f"{name} files that do not follow from labelIds", sample.key)
