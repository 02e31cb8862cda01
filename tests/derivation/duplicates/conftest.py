"""A cache of hashes for each test, and packs of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import segdata

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where hashes are kept during this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/segdata/hashes"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a pack: split → key → the bytes of an image, or what `Sample.build` takes with it."""

    def written(name: str, splits: Mapping[str, Mapping[str, Any]], labels: Sequence[str] = ("cat", "dog")) -> Path:
        samples = {
            split: [
                segdata.Sample.build(key, labels=labels, **(value if isinstance(value, dict) else {"image": value}))
                for key, value in rows.items()
            ]
            for split, rows in splits.items()
        }
        segdata.write(samples, tmp_path / name, labels=labels, workers=1)
        return tmp_path / name

    return written
