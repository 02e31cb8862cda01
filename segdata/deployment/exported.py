"""What an export gives: `Exported`, the bytes of a file, and `ExportReport`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segdata.core.reprs import line


class Exported(NamedTuple):
    """A file and what it is like; see `ExportReport`."""

    data: bytes
    agreement: float
    miou_before: float | None = None
    miou_after: float | None = None
    judged: int = 0
    objects: int | None = None
    box_difference: float | None = None
    mask_difference: float | None = None


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
        target: the file.
        bytes: its size.
        model: the network's name.
        precision: "float32" or "int8".
        agreement: share of the photos' pixels that have the same label from the file as from the network; of Mask R-CNN, of
            the objects.
        photos: how many.
        photos_of: where they come from.
        miou_before, miou_after: of the network and of the quantised file, on images of the pack that it was quantised
            with; None where it was not, or where the images have no label maps.
        judged: how many images they are of.
        objects: how many of the network's were compared, of Mask R-CNN; None of others, as the next two.
        box_difference: the largest of a box's corner, in pixels of the photo.
        mask_difference: share of the masks' pixels that are in one of two masks alone.
        remarks: what a user may want to know of the weights.
        seconds: that it took.
    """

    target: Path
    bytes: int
    model: str
    precision: str
    agreement: float
    photos: int
    photos_of: str
    miou_before: float | None
    miou_after: float | None
    judged: int
    objects: int | None
    box_difference: float | None
    mask_difference: float | None
    remarks: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        what = "labels" if self.objects is None else "objects"
        return line(self, repr(str(self.target)), f"{self.bytes:,} bytes", f"{self.agreement:.4%} of the {what} agree")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {**vars(self), "target": str(self.target)}
