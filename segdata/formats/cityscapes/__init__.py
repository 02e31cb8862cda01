"""Cityscapes: frames, id maps, polygons."""

from segdata.formats.cityscapes import adapt, correction, format, residue, results

__all__ = ["adapt", "correction", "format", "residue", "results"]
