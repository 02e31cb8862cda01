"""Annotations and projects of the VGG Image Annotator (VIA)."""

from segdata.formats.via import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
