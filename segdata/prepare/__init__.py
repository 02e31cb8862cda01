"""Datasets fetched and converted, and converted into each other."""

from segdata.prepare.checked import Checked, check
from segdata.prepare.conversion import convert, inspect
from segdata.prepare.dataset import Prepared, prepare
from segdata.prepare.job import Report

__all__ = ["Checked", "Prepared", "Report", "check", "convert", "inspect", "prepare"]
