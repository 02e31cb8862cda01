"""Batches of packs without a framework: `Loader` needs numpy alone; `segdata.torch` is for PyTorch."""

from segdata.loading.balance import repeat_factors
from segdata.loading.batch import Batch
from segdata.loading.loader import Loader, Samples

__all__ = ["Batch", "Loader", "Samples", "repeat_factors"]
