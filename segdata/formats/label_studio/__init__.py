"""Exports of Label Studio: JSON lists of tasks."""

from segdata.formats.label_studio import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
