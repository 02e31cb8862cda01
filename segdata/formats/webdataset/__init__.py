"""WebDataset: tar files of images, a JSON document and a label map each."""

from segdata.formats.webdataset import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
