"""Store PNG photos as QOI, which decodes several times as fast, and give them back as PNG; every pixel stays equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segdata.core import images, png
from segdata.core.codecs import qoi
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import DamagedData, SegdataError


@dataclass(frozen=True)
class StoreAsQoi:
    """PNG photos of 8-bit RGB become QOI; other images stay as they are.

    What a PNG says beside its pixels (texts, colour profile) goes, and so do its bytes.
    """

    def space(self, labels: LabelSpace) -> LabelSpace:
        """The label space is unchanged."""
        return labels

    def sample(self, sample: Sample, labels: LabelSpace, findings: Findings) -> Sample:
        """The sample with its photo as QOI.

        Raises:
            InvalidImage: the photo cannot be decoded.
            DamagedData: the QOI image is not equal in every pixel.
        """
        encoded = sample.encoded
        if encoded is None:
            return sample
        try:
            header = images.probe(encoded, max_pixels=sample.max_pixels)
            if header.codec != "png" or header.kind != "RGB" or header.orientation != 1 or header.frames > 1:
                if header.codec != "qoi":
                    findings.remark(f"not recoded: {header.codec} image, {header.kind}", sample.key)
                return sample.with_encoded(encoded)
            pixels = images.decode(encoded, max_pixels=sample.max_pixels)
            recoded = qoi.encode(pixels)
            if not np.array_equal(qoi.decode(recoded), pixels):
                raise DamagedData(
                    "the recoded image is not equal to the photo",
                    why="its QOI image decodes to other pixels",
                    fix="convert without --recode",
                )
        except SegdataError as error:
            raise error.located(key=sample.key, file=sample.file or None) from error
        findings.remark("PNG stored as QOI: equal pixels, not the file's bytes", sample.key)
        return sample.with_encoded(recoded)


def with_file(sample: Sample) -> Sample:
    """The sample as a folder holds it: a photo that is stored as QOI is read as PNG."""
    if not sample.has_image:
        return sample
    return sample.with_encoded(lambda: as_png(sample))


def as_png(sample: Sample) -> bytes | None:
    """The bytes of a sample's image; PNG where they are QOI.

    Raises:
        InvalidImage: the photo cannot be decoded.
    """
    encoded = sample.encoded
    if encoded is None or not encoded.startswith(qoi.MAGIC):
        return encoded
    return png.encode_png(sample.image)
