"""Shared by all corrections: what a format cannot say of a corrected sample, counted; the sample with its residue."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from segdata.core.findings import Findings
from segdata.core.sample import Instances, Sample
from segdata.formats.adapting import count_flags
from segdata.formats.contract import Correction

ORPHANS = "objects of images that no file of the format describes"
"""What is dropped of images which the source lists without annotations."""


def count_unsaid(
    correction: Correction, findings: Findings, *, kept: Collection[str] = (), has_map: bool = False
) -> None:
    """Count flags that a format does not have, and label maps where it has none that a person could change.

    Args:
        kept: names of flags that it has.
        has_map: whether it has a file for the sample's label map.
    """
    count_flags(correction.after, findings, kept=kept)
    findings.drop("label maps", correction.after.key, int(correction.has_other_map and not has_map))


def with_residue(
    correction: Correction,
    format: str,
    residue: Mapping[str, Any],
    instances: Instances | None = None,
    extra: Sequence[dict[str, Any]] | None = None,
) -> Sample:
    """The corrected sample with its residue, its objects, and what is kept beside them; by default its own."""
    after = correction.after
    objects = after.instances if instances is None else instances
    others = {name: value for name, value in after.extra.items() if name != format}
    return after.with_annotations(
        instances=replace(objects, extra=objects.extra if extra is None else list(extra))
        if after.has_instances
        else None,
        semantic=after.semantic,
        extra={**others, **({format: dict(residue)} if residue else {})},
    )
