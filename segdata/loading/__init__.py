"""Loaders over packs: `Loader` needs numpy alone; `segdata.torch` is for PyTorch."""

from segdata.loading.batch import Batch
from segdata.loading.loader import Loader

__all__ = ["Batch", "Loader"]
