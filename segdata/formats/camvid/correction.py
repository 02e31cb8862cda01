"""A frame of CamVid whose label map a person corrected."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue

_KEPT = ("label", "mode", "palette", "alpha")
"""What stays of a frame's residue where its label map is another one: the file, and how it is stored."""


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The frame, its label file written anew where the map changed; CamVid has no objects."""
    residue = dict(correction.after.extra.get("camvid", {}))
    objects = correction.after.instances
    findings.drop("objects of the image: there are label maps alone", correction.after.key, len(objects))
    count_unsaid(correction, findings, has_map="label" in residue)
    if correction.has_other_map and "label" in residue:
        residue = {name: residue[name] for name in _KEPT if name in residue}
    return with_residue(correction, "camvid", residue)
