"""ADE20K (the full dataset of 2021): label maps, objects, parts and hidden pixels."""

from segdata.formats.ade20k import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
