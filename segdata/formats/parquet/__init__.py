"""Parquet tables of images and annotations, as Hugging Face's `datasets` reads and writes them."""

from segdata.formats.parquet import adapt, format, residue

__all__ = ["adapt", "format", "residue"]
