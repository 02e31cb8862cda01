"""Check images before they are kept: structure and size, and what is odd about them; nothing is decoded."""

from __future__ import annotations

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.core.sample import Sample
from segdata.errors import InvalidInput


def check_image(sample: Sample, encoded: bytes, findings: Findings) -> image_files.Header:
    """Check the structure and size of a sample's image, without decoding it; returns its header.

    Raises:
        InvalidInput: not an image, cut short, or not of the sample's size.
    """
    header = image_files.probe(encoded, max_pixels=sample.max_pixels)
    if (header.height, header.width) != (sample.height, sample.width):
        why, fix = _other_size(sample, header)
        raise InvalidInput(
            "the image is not of the size that its annotation says",
            why=f"the image has {header.width} × {header.height} pixels, the annotation says "
            f"{sample.width} × {sample.height}{why}",
            fix=fix,
        )
    if header.kind != "RGB":
        findings.remark(f"image is {header.kind}: becomes RGB when it is read", sample.key)
    if header.color == "grey" and header.bits > 8:
        largest = image_files.largest_value(encoded)
        findings.remark(
            f"grey values of {header.bits} bits: {image_files.low_bits(largest)} low bits go, as the largest value asks",
            f"{sample.key}: up to {largest:,}",
        )
    elif header.bits > 8:
        findings.remark(f"colours of {header.bits} bits: the low 8 bits go", sample.key)
    if header.orientation != 1:
        findings.remark(
            f"EXIF orientation {header.orientation}: pixels and annotations are kept as stored (--exif apply turns them)",
            sample.key,
        )
    if header.frames > 1:
        findings.remark("image of several frames: the first one counts", sample.key, header.frames - 1)
    return header


def _other_size(sample: Sample, header: image_files.Header) -> tuple[str, str]:
    """Why an image may be of another size than its annotation says, and what to do."""
    if (header.width, header.height) != (sample.height, sample.width):
        if sample.semantic is None:
            return "", "correct the annotation, or restore the original image"
        return (
            "; the label map has that size",
            "restore the original image or label map, or scale the label map to the image without new values: "
            "Image.open(MASK).resize((WIDTH, HEIGHT), Image.NEAREST).save(MASK)",
        )
    if header.orientation >= 5:
        return (
            f"; the EXIF orientation {header.orientation} of the image explains it: the annotation was made on the "
            "turned picture, segdata uses the pixels as stored",
            "add --exif apply, or turn the files first (exiftran -ai)",
        )
    return (
        "; height and width are swapped, and no EXIF orientation explains it",
        "correct the annotation's width and height, or restore the original image",
    )
