"""PASCAL VOC: XML, class and object masks, image sets."""

from segdata.formats.voc import adapt, correction, folders, format, residue, results

__all__ = ["adapt", "correction", "folders", "format", "residue", "results"]
