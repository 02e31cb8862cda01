"""Overlaps that lie in a file: a column is read when it is asked for, and let go with the part."""

from __future__ import annotations

from functools import cached_property

from segdata.core.arrays import FloatArray, IntArray
from segdata.viewer.matching.parts import Record


class Stored:
    """The same columns as `Overlaps`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    @cached_property
    def image(self) -> IntArray:
        """(D,) int64."""
        return self._record.whole("image")

    @cached_property
    def row(self) -> IntArray:
        """(D,) int64."""
        return self._record.whole("row")

    @cached_property
    def category(self) -> IntArray:
        """(D,) int64."""
        return self._record.whole("category")

    @cached_property
    def score(self) -> FloatArray:
        """(D,) float64."""
        return self._record.floats("score")

    @cached_property
    def detection(self) -> IntArray:
        """(C,) int64."""
        return self._record.whole("detection")

    @cached_property
    def truth(self) -> IntArray:
        """(C,) int64."""
        return self._record.whole("truth")

    @cached_property
    def iou(self) -> FloatArray:
        """(C,) float64."""
        return self._record.floats("iou")
