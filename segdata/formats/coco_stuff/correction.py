"""An image of COCO-Stuff whose map a person corrected."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue

_NAME = "coco-stuff"
_KEPT = ("file", "mode", "palette", "alpha")
"""What stays of an image's residue where its map is another one: the file, and how it is stored."""


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image, its map written anew where it changed; the maps have no objects."""
    residue = dict(correction.after.extra.get(_NAME, {}))
    objects = correction.after.instances
    findings.drop("objects of the image: there are label maps alone", correction.after.key, len(objects))
    count_unsaid(correction, findings, has_map="file" in residue)
    if correction.has_other_map and "file" in residue:
        residue = {name: residue[name] for name in _KEPT if name in residue}
    return with_residue(correction, _NAME, residue)
