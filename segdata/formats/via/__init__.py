"""Annotations and projects of the VGG Image Annotator (VIA)."""

from segdata.formats.via import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
