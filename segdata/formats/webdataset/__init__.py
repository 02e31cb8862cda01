"""WebDataset: tar files of images, a JSON document and a label map each."""

from segdata.formats.webdataset import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
