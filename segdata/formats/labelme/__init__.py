"""Labelme's JSON documents, one an image."""

from segdata.formats.labelme import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
