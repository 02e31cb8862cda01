"""Which picture shapes were drawn on: the image as stored, or upright by its EXIF orientation, as annotation tools show it."""

from __future__ import annotations

from pathlib import Path

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, SegdataError
from segdata.sets.orientation import upright_size


def orientation_of(
    encoded: bytes, stated: tuple[int, int] | None, file: Path, key: str, findings: Findings, *, max_pixels: int
) -> tuple[int, int, int]:
    """Height and width of an image as stored, and the orientation by which its shapes have to be turned back.

    Args:
        stated: (height, width) of the picture that was annotated; None where nothing says it.
        file: the image's, for messages.

    Raises:
        InvalidAnnotation: the annotated picture is of another size; without file and place.
        InvalidImage: the image cannot be read.
    """
    try:
        header = images.probe(encoded, max_pixels=max_pixels)
        images.require_size(header.height, header.width, max_pixels)
    except SegdataError as error:
        raise error.located(file=file, key=key) from error
    stored = header.height, header.width
    if stated in (None, upright_size(header.orientation, *stored)):
        if header.orientation != 1:
            kind = (
                f"EXIF orientation {header.orientation}: shapes of the upright picture, turned into the image as stored"
            )
            findings.remark(kind, key)
        return (*stored, header.orientation)
    if stated == stored:
        findings.remark("shapes are of the image as stored, though EXIF says that it is turned", key)
        return (*stored, 1)
    assert stated is not None
    raise InvalidAnnotation(
        "shapes are of a picture of another size than the image",
        key=key,
        why=f"{stated[1]} × {stated[0]} annotated, {stored[1]} × {stored[0]} in {file.name} (width × height)",
        fix="give the image that was annotated",
    )


def orientation_written(sample: Sample, findings: Findings) -> int:
    """The EXIF orientation by which shapes are turned when they are written for a tool that shows images upright."""
    encoded = sample.encoded
    if encoded is None:
        return 1
    header = images.probe(encoded, max_pixels=sample.max_pixels)
    if header.orientation == 1 or (sample.height, sample.width) != (header.height, header.width):
        return 1
    findings.remark(f"EXIF orientation {header.orientation}: shapes written for the upright picture", sample.key)
    return header.orientation
