"""ADE20K (the full dataset of 2021): label maps, objects, parts and hidden pixels."""

from segdata.formats.ade20k import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
