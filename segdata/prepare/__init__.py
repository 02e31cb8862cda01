"""Datasets and packs converted into each other."""

from segdata.prepare.conversion import convert, inspect
from segdata.prepare.job import Report

__all__ = ["Report", "convert", "inspect"]
