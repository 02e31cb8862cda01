"""YOLO's text files, as Ultralytics and Roboflow lay them out."""

from segdata.formats.yolo import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
