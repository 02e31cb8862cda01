"""SA-1B, the dataset of Segment Anything: a JSON document beside each image."""

from segdata.formats.sa1b import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
