"""Whether the extra that training needs is installed."""

from __future__ import annotations

from importlib import util

from segdata.errors import UsageError


def torch(threads: int | None = None) -> None:
    """Raise unless torch, torchvision and safetensors can be imported.

    Args:
        threads: how many processors torch may calculate with from here on.

    Raises:
        UsageError: one is missing; the extra is named.
    """
    missing = [name for name in ("torch", "torchvision", "safetensors") if util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            fix="pip install 'segdata[train]'",
        )
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
