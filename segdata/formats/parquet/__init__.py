"""Parquet tables of images and annotations, as Hugging Face's `datasets` reads and writes them."""

from segdata.formats.parquet import adapt, correction, format, residue

__all__ = ["adapt", "correction", "format", "residue"]
