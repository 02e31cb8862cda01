"""Datasets fetched and converted, and converted into each other.

>>> import segdata
>>> done = segdata.prepare("camvid", accept_license=["camvid"])       # doctest: +SKIP
>>> segdata.open(done.pack)                                           # doctest: +SKIP
"""

import sys
from types import ModuleType
from typing import Any

from segdata.prepare.checked import Checked, check
from segdata.prepare.conversion import convert, inspect
from segdata.prepare.dataset import Prepared, prepare
from segdata.prepare.job import Report
from segdata.prepare.mend import repair

__all__ = ["Checked", "Prepared", "Report", "check", "convert", "inspect", "prepare", "repair"]


class _Callable(ModuleType):
    """`segdata.prepare` is this package and the function of the same name."""

    def __call__(self, *arguments: Any, **options: Any) -> Prepared:
        return prepare(*arguments, **options)


_Callable.__call__.__doc__ = prepare.__doc__
sys.modules[__name__].__class__ = _Callable
