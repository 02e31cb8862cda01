"""CVAT's XML for images, version 1.1."""

from segdata.formats.cvat import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
