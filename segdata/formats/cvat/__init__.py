"""CVAT's XML for images, version 1.1."""

from segdata.formats.cvat import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
