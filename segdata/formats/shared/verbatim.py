"""Arrays, bytes and texts as JSON, for files that are written back exactly."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct, ValidationError, convert

from segdata.core import png
from segdata.core.png import LabelImage
from segdata.errors import DamagedData


def from_array(array: npt.NDArray[Any]) -> dict[str, Any]:
    """An array of uint8 or uint16 as `{shape, dtype, data}`, compressed."""
    import zstandard

    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    packed = zstandard.ZstdCompressor(level=9).compress(data.tobytes())
    return {
        "shape": list(array.shape),
        "dtype": np.dtype(array.dtype).name,
        "data": base64.b64encode(packed).decode(),
    }


class _Array(Struct):
    """An array as `from_array` writes it."""

    shape: Annotated[list[Annotated[int, Meta(ge=0, le=1 << 30)]], Meta(min_length=1, max_length=3)]
    dtype: Literal["uint8", "uint16"]
    data: str


def to_array(document: Any) -> npt.NDArray[Any]:
    """The inverse of `from_array`.

    Raises:
        DamagedData: not what `from_array` writes.
    """
    import zstandard

    try:
        stored = convert(document, _Array)
        dtype = np.dtype(stored.dtype).newbyteorder("<")
        packed = base64.b64decode(stored.data, validate=True)
        size = math.prod(stored.shape) * dtype.itemsize
        if zstandard.frame_content_size(packed) != size:
            raise ValueError(f"it does not hold {size:,} bytes, as its shape says")
        data = zstandard.ZstdDecompressor().decompress(packed)
    except (ValidationError, ValueError, zstandard.ZstdError) as error:
        raise DamagedData("an array that the pack keeps is damaged", why=str(error)[:200]) from error
    return np.frombuffer(data, dtype).reshape(stored.shape).astype(stored.dtype)


def palette_of(raw: LabelImage) -> dict[str, str]:
    """The palette of a label image and how opaque its entries are, where it has any."""
    parts = {"palette": raw.palette, "alpha": raw.alpha}
    return {name: from_bytes(data) for name, data in parts.items() if data is not None}


def to_png(values: npt.NDArray[Any], palette: Mapping[str, Any]) -> bytes:
    """A PNG of label values with what `palette_of` kept."""
    colors, alpha = (to_bytes(palette[name]) if name in palette else None for name in ("palette", "alpha"))
    return png.encode_png(values, palette=colors, alpha=alpha)


def from_bytes(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode()


def to_bytes(text: str) -> bytes:
    """The inverse of `from_bytes`."""
    return base64.b64decode(text)


def from_text(data: bytes) -> dict[str, str]:
    """A text file's bytes: as text where they are UTF-8, else as base64."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": from_bytes(data)}


def to_text(document: dict[str, str]) -> bytes:
    """The inverse of `from_text`."""
    return document["text"].encode() if "text" in document else to_bytes(document["base64"])
