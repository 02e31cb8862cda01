"""Exports of Label Studio: JSON lists of tasks."""

from segdata.formats.label_studio import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
