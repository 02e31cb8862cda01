"""Distributed training: rank, world size and device, as `torchrun` sets them, and collective operations."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from segdata.errors import UsageError

_WAIT = datetime.timedelta(minutes=10)
"""Timeout of collective operations."""


@dataclass(frozen=True)
class World:
    """Rank, number of ranks, and device of this process."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """All-reduce: the sum over all ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true on any rank; an all-reduce on the CPU, without a GPU→CPU synchronisation."""
        return bool(self.sum(torch.tensor(float(value))))

    def wait(self) -> None:
        """Barrier: wait for all ranks."""
        if self.size > 1:
            distributed.barrier()


def device_named(name: str | None) -> torch.device:
    """A device by name; by default a GPU where there is one.

    Args:
        name: "cpu", "cuda", or "cuda:1" for the second GPU.

    Raises:
        UsageError: there is no such device here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        return torch.device("cuda" if gpus else "cpu")
    asked = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if asked is None:
        raise UsageError(f"there is no device {name!r}", why="devices are cpu, cuda, cuda:1 …")
    if name != "cpu" and int(asked[1] or 0) >= gpus:
        raise UsageError(f"there is no device {name!r} here", why=f"PyTorch can use {gpus} GPUs", fix="--device cpu")
    return torch.device(name)


def is_good_at_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in questions)


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[World]:
    """The process group that `torchrun` started, or this process alone.

    Args:
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = device_named(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if chosen.index is None else chosen.index)
        torch.cuda.set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen)
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", timeout=_WAIT)
    try:
        yield World(rank, size, chosen)
    finally:
        distributed.destroy_process_group()
