"""PASCAL VOC: XML, class and object masks, image sets."""

from segdata.formats.voc import adapt, folders, format, residue, results

__all__ = ["adapt", "folders", "format", "residue", "results"]
