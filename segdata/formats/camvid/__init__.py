"""CamVid: frames and label maps in three layouts."""

from segdata.formats.camvid import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
