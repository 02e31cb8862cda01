"""CamVid: frames and label maps in three layouts."""

from segdata.formats.camvid import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
