"""An image of SA-1B that a person corrected."""

from __future__ import annotations

from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.formats.contract import Correction
from segdata.formats.correcting import count_unsaid, with_residue


def corrected(correction: Correction, findings: Findings) -> Sample:
    """The image with its records; SA-1B has neither flags nor label maps."""
    count_unsaid(correction, findings)
    return with_residue(correction, "sa1b", correction.after.extra.get("sa1b", {}))
