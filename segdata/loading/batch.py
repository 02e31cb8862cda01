"""`Batch`: decoded images and label maps of some samples, and the columns of their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core.masks import Masks
from segdata.core.reprs import counted, line
from segdata.core.sample import Sample

Images = npt.NDArray[np.uint8] | tuple[npt.NDArray[np.uint8], ...]
"""(B, H, W, 3) where all sizes agree, else a tuple of (H, W, 3); uint8 RGB."""


_NOT_ASKED_FOR: Any = None
"""Not in the types: whoever reads a column has asked for it, and needs no check that it is there."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples; the columns of objects are concatenated over all N objects, and `pointer` says whose they are.

    Attributes:
        samples: the samples themselves.
        indices: (B,) int64, their indices in the pack that is loaded.
        images: uint8 RGB, (B, H, W, 3) where all sizes agree, else a tuple of (H, W, 3); None if not asked for.
        semantic: label maps likewise, (B, H, W) or a tuple (None for samples without); None if not asked for.
        dense: per sample (N_i, H, W) uint8 0/1 masks with `masks="dense"`, else None; read-only with `reuse`.
        items: what the loader's `transform` returned for each sample; None without one.
    """

    samples: Sequence[Sample]
    indices: npt.NDArray[np.int64]
    images: Images = _NOT_ASKED_FOR
    semantic: npt.NDArray[Any] | tuple[npt.NDArray[Any] | None, ...] | None = None
    dense: tuple[npt.NDArray[np.uint8], ...] = _NOT_ASKED_FOR
    items: tuple[Any, ...] = _NOT_ASKED_FOR

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        images = "" if self.images is None else "images of several sizes"
        images = f"images {self.images.shape}" if isinstance(self.images, np.ndarray) else images
        return line(self, counted(len(self), "sample"), images)

    def to(self, device: Any) -> Batch:
        """The same batch, with what the transform made moved to a device: everything in `items` that has a `to`.

        Lightning calls it for every batch. NumPy arrays stay where they are.
        """
        return replace(self, items=None if self.items is None else _moved(self.items, device))

    @property
    def keys(self) -> tuple[str, ...]:
        """The samples' keys."""
        return tuple(sample.key for sample in self.samples)

    @cached_property
    def pointer(self) -> npt.NDArray[np.int64]:
        """(B + 1,) int64: sample i's objects are `pointer[i] … pointer[i + 1] − 1` of every column."""
        pointer = np.zeros(len(self.samples) + 1, np.int64)
        np.cumsum([len(sample.instances) for sample in self.samples], out=pointer[1:])
        return pointer

    @property
    def masks(self) -> tuple[Masks, ...]:
        """Per sample its masks as RLE; `.dense()` decodes them."""
        return tuple(sample.instances.masks for sample in self.samples)

    @cached_property
    def category(self) -> npt.NDArray[np.int64]:
        """(N,) int64 category indices."""
        return self._column("category", np.int64)

    @cached_property
    def boxes(self) -> npt.NDArray[np.float64]:
        """(N, 4) float64 x0 y0 x1 y1 in pixels, x1 and y1 exclusive."""
        return self._column("boxes", np.float64).reshape(-1, 4)

    @cached_property
    def iscrowd(self) -> npt.NDArray[np.bool_]:
        """(N,) bool."""
        return self._column("iscrowd", np.bool_)

    @cached_property
    def difficult(self) -> npt.NDArray[np.bool_]:
        """(N,) bool."""
        return self._column("difficult", np.bool_)

    @cached_property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """(N,) bool."""
        return self._column("truncated", np.bool_)

    @cached_property
    def occluded(self) -> npt.NDArray[np.bool_]:
        """(N,) bool."""
        return self._column("occluded", np.bool_)

    @cached_property
    def has_mask(self) -> npt.NDArray[np.bool_]:
        """(N,) bool, False for objects that were only boxed."""
        return self._column("has_mask", np.bool_)

    @cached_property
    def id(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the source's own ids."""
        return self._column("id", np.int64)

    @cached_property
    def area(self) -> npt.NDArray[np.float64]:
        """(N,) float64 pixels as annotated, NaN where the source gives none."""
        return self._column("area", np.float64)

    @cached_property
    def score(self) -> npt.NDArray[np.float64]:
        """(N,) float64 scores of predictions, NaN in ground truth."""
        return self._column("score", np.float64)

    def _column(self, name: str, dtype: Any) -> npt.NDArray[Any]:
        parts = [getattr(sample.instances, name) for sample in self.samples if len(sample.instances)]
        return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype)


def _moved(value: Any, device: Any) -> Any:
    """A value with all tensors in it, at any depth of lists, tuples and dictionaries, on a device."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value
