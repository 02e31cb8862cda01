"""Datasets fetched and converted, and converted into each other."""

from segdata.prepare.conversion import convert, inspect
from segdata.prepare.dataset import Prepared, prepare
from segdata.prepare.job import Report

__all__ = ["Prepared", "Report", "convert", "inspect", "prepare"]
