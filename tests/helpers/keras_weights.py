"""Weights files of the original's layout with reproducible random numbers, made by the reference's own script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.samples import FIXTURES, REFERENCE

MATTERPORT = REFERENCE / "matterport"

UNITS = MATTERPORT if (MATTERPORT / "units.npz").is_file() else FIXTURES / "matterport"
"""What single functions of the original gave; the fixtures hold fewer and smaller cases than the whole reference."""

needs_matterport = pytest.mark.skipif(
    not (MATTERPORT / "make_weights.py").is_file(),
    reason="no outputs of the original model (set SEGDATA_REFERENCE to a folder that has matterport/)",
)


def made(folder: Path, backbone: str) -> Path:
    """The weights that the reference outputs were made with."""
    path = folder / f"{backbone}.h5"
    layout = MATTERPORT / f"layout_{backbone}.json"
    subprocess.run([sys.executable, MATTERPORT / "make_weights.py", layout, path], check=True, capture_output=True)
    return path


def document(name: str) -> Any:
    """A JSON file of the whole reference."""
    return json.loads((MATTERPORT / name).read_text())


def photo(name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.asarray(Image.open(MATTERPORT / "photos" / name).convert("RGB"))


def bits(packed: np.ndarray, shape: tuple[int, ...] | list[int]) -> np.ndarray:
    """Bools that were packed to save room."""
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
