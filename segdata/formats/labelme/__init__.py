"""Labelme's JSON documents, one an image."""

from segdata.formats.labelme import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
