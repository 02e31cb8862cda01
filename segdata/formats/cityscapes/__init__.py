"""Cityscapes: frames, id maps, polygons."""

from segdata.formats.cityscapes import adapt, format, residue, results

__all__ = ["adapt", "format", "residue", "results"]
