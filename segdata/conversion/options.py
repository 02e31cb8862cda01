"""The options of a conversion, as one object on their way through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.pack import layout
from segdata.sources.dataset import Labels, OnError

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The options of `segdata.convert`, which says what each of them means."""

    source_format: str | None = None
    to: str = "pack"
    splits: Sequence[str] = ()
    lists: Mapping[str, Sequence[str]] | None = None
    truth: Path | None = None
    labels: Labels = None
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    min_area: float = 0.0
    crowds: bool = True
    images: layout.Images = "embed"
    limit: int | None = None
    on_error: OnError = "stop"
    fail_fast: bool = False
    allow_loss: bool = False
    decode: bool = False
    workers: int | None = None
    shard_samples: int | None = None
    hang_seconds: float = 600.0
    dry_run: bool = False
    force: bool = False
    clean: bool = False
    wait: float = 0.0
    lock: bool = True
    progress: Progress | None = None

    def recorded(self) -> dict[str, Any]:
        """The options that the result depends on, as packs and folders record them; filters are recorded apart."""
        return {
            "images": self.images,
            "splits": list(self.splits),
            "limit": self.limit,
            "on_error": self.on_error,
            "decode": self.decode,
            "shard_samples": self.shard_samples,
        }
