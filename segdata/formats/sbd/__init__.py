"""The Semantic Boundaries Dataset (SBD): MATLAB files of classes and objects for VOC's photos."""

from segdata.formats.sbd import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
