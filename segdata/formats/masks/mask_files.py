"""Files of masks: grey, palette, one-bit or 16-bit values, as numbers of objects and back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import png
from segdata.core.rle import constant_runs
from segdata.errors import InvalidImage, SegdataError
from segdata.formats.shared import verbatim
from segdata.formats.shared.folder import read_bytes


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask as stored.

    Attributes:
        values: (H, W) uint8 or uint16, 0 where there is no object.
        residue: what `encode` takes to give the file back.
    """

    values: npt.NDArray[Any]
    residue: dict[str, Any]

    @cached_property
    def numbers(self) -> list[int]:
        """The values but 0, sorted."""
        present = np.unique(self.values.ravel()[constant_runs(self.values)[0]])
        return [number for number in present.tolist() if number]


def read(root: Path, file: str, max_pixels: int) -> MaskFile:
    """Read a mask.

    Raises:
        InvalidImage: damaged, of a kind that changes values, or in colours.
    """
    data = read_bytes(root, file, "the dataset")
    try:
        raw = png.read_labels(data, max_pixels=max_pixels)
    except SegdataError as error:
        raise error.located(file=root / file) from error
    values = raw.values
    if values.ndim == 3:
        if (values[:, :, 1:3] != values[:, :, :1]).any() or (values[:, :, 3:] != 255).any():
            raise InvalidImage(
                "mask holds colours, where numbers of objects are expected",
                file=root / file,
                why=f"PNG mode {raw.mode}; two objects may have one colour, and one object several",
                fix="save the number of the object of each pixel as a grey PNG (0 for none); where colours are classes: "
                "put images and masks into images/ and masks/, and add --from camvid --classes FILE",
            )
        values = np.ascontiguousarray(values[:, :, 0])
    residue = {"mode": raw.mode, **verbatim.palette_of(raw)}
    if raw.codec != "png":
        residue |= {"codec": raw.codec, "bytes": verbatim.from_bytes(data)}
    return MaskFile(values, residue)


def encode(values: npt.NDArray[Any], residue: Mapping[str, Any]) -> bytes:
    """A mask as the kind of file that it was read from.

    Args:
        values: (H, W) numbers of objects.
    """
    mode = residue["mode"]
    stored = values.astype(np.uint16 if mode == "I;16" or values.max(initial=0) > 255 else np.uint8)
    if "bytes" in residue:
        return _other_kind(stored, residue)
    if mode in ("RGB", "RGBA"):
        opaque = np.full_like(stored, 255)
        return png.encode_png(np.dstack([stored] * 3 + ([opaque] if mode == "RGBA" else [])))
    if mode == "1":
        return png.encode_png(stored, mode="1")
    return verbatim.to_png(stored, residue)


def _other_kind(values: npt.NDArray[Any], residue: Mapping[str, Any]) -> bytes:
    """A BMP, TIFF or GIF: its own bytes where all of its objects are still there."""
    from PIL import Image

    data = verbatim.to_bytes(residue["bytes"])
    before = png.read_labels(data, max_pixels=max(values.size, 1)).values
    if np.array_equal(before if before.ndim == 2 else before[:, :, 0], values):
        return data
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, residue["codec"].upper())
    return buffer.getvalue()
