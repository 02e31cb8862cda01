"""The painted tables that the training benches learn from; the figures in docs/benchmarks.md are of these images."""

from .laid_table import laid_table

__all__ = ["laid_table"]
