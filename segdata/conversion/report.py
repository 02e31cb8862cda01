"""What a conversion did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion did.

    Attributes:
        source_format, target_format: "pack" or a format's name.
        target: the folder that was written.
        samples, instances: how many there are in the target.
        splits: name → number of samples.
        problems: what was odd (remarks), dropped (losses) and left out (skipped), by kind with examples.
        was_done: True when the target was already there, made from the same source with the same options.
        is_dry_run: True when nothing was written.
    """

    source_format: str
    target_format: str
    target: Path
    samples: int
    instances: int
    splits: Mapping[str, int]
    problems: Mapping[str, Any]
    was_done: bool = False
    is_dry_run: bool = False

    @classmethod
    def of_pack(
        cls, index: Mapping[str, Any], source_format: str, target: Path, *, was_done: bool = True
    ) -> ConvertReport:
        """The report of the conversion that made a pack with this index."""
        return cls(
            source_format=source_format,
            target_format="pack",
            target=target,
            samples=index["samples"],
            instances=index["instances"],
            splits={split["name"]: split["samples"] for split in index["splits"]},
            problems=index["report"],
            was_done=was_done,
        )

    @property
    def skipped(self) -> int:
        """Items that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target), "splits": dict(self.splits)}
