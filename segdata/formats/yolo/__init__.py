"""YOLO's text files, as Ultralytics and Roboflow lay them out."""

from segdata.formats.yolo import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
