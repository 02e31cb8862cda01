"""Masks that number the objects of their image."""

from segdata.formats.masks import adapt, correction, evidence, format, residue

__all__ = ["adapt", "correction", "evidence", "format", "residue"]
