"""PASCAL VOC: XML, class and object masks, image sets."""

from segdata.formats.voc import adapt, format, residue, results

__all__ = ["adapt", "format", "residue", "results"]
