"""Datasets fetched and converted, and converted into each other.

>>> import segdata
>>> done = segdata.prepare("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> segdata.open(done.pack)                                           # doctest: +SKIP
"""

from segdata.conversion.check import Checked, check
from segdata.conversion.convert import convert, inspect
from segdata.conversion.job import Report
from segdata.conversion.prepare import Prepared, prepare
from segdata.conversion.repair import repair

__all__ = ["Checked", "Prepared", "Report", "check", "convert", "inspect", "prepare", "repair"]
