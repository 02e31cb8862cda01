"""An image of a panoptic dataset that a person corrected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.adapting import count_hidden
from segdata.formats.coco_panoptic.segments import LARGEST_ID
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue

_NAME = "coco-panoptic"


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image with segments that have ids of three bytes; of flags there are crowds, and the label map is that of segments."""
    after = correction.after
    count_unsaid(correction, findings, kept={"iscrowd"})
    count_hidden(after, findings)
    ids = after.instances.id.copy()
    for index in np.flatnonzero(ids > LARGEST_ID).tolist():
        ids[index] = next(number for number in range(1, LARGEST_ID + 1) if number not in ids)
    return with_residue(correction, _NAME, after.extra.get(_NAME, {}), replace(after.instances, id=ids))
