"""Masks that number the objects of their image."""

from segdata.formats.masks import adapt, evidence, format, residue

__all__ = ["adapt", "evidence", "format", "residue"]
