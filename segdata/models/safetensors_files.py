"""Safetensors files, read with distrust: the header is checked before anything is taken from it.

8 bytes       length of the header, little-endian
header        JSON: name → {dtype, shape, data_offsets}; `__metadata__` → texts
tensors       one after another, without gaps
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from segdata.errors import DamagedData
from segdata.system.files import disk_errors
from segdata.system.reading import open_file

if TYPE_CHECKING:
    from torch import Tensor

MOST_HEADER = 16 << 20
"""Bytes of a header; that of a network with a thousand tensors has a hundredth."""

_FIX = "get or make the file again"
_Number = Annotated[int, Meta(ge=0, le=2**62)]
_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}


class _Entry(Struct):
    """A tensor in the header; kinds of numbers that no weights are made of are refused."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[tuple[_Number, ...], Meta(max_length=16)]
    data_offsets: tuple[_Number, _Number]


def decoded(data: bytes, file: Path) -> dict[str, Tensor]:
    """The tensors of a whole file.

    Args:
        file: for messages.

    Raises:
        DamagedData: cut short, too long, or with a header that cannot be.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check(data[: 8 + MOST_HEADER], len(data), file)
    try:
        return load(data)
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(file, str(error)) from error


def read(file: Path) -> dict[str, Tensor]:
    """The tensors in a file.

    Raises:
        NotThere: there is no such file.
        DamagedData: see `decoded`; nothing was read of it into memory then but the header.
    """
    with disk_errors(file), open_file(file) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        head = opened.read(8 + MOST_HEADER)
        _check(head, size, file)
        data = head + opened.read()
    return decoded(data, file)


def some(file: Path, is_wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Some of the tensors in a file, which is mapped into memory.

    Raises:
        NotThere: there is no such file.
        DamagedData: see `decoded`.
    """
    from safetensors import SafetensorError, safe_open

    with disk_errors(file), open_file(file) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        _check(opened.read(8 + MOST_HEADER), size, file)
    try:
        with safe_open(str(file), framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys() if is_wanted(name)}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(file, str(error)) from error


def _check(head: bytes, size: int, file: Path) -> None:
    """Raise unless the header says of each tensor what can be, and the file is as long as that.

    Args:
        head: the beginning of the file, with the whole header.
        size: of the file, in bytes.
    """
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > min(MOST_HEADER, size - 8):
        raise _damaged(file, f"its header would have {length:,} bytes, the file has {size:,}")
    try:
        header: dict[str, msgspec.Raw] = msgspec.json.decode(head[8 : 8 + length], type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in header.items()}
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header: {error}"[:200]) from error
    end = 0
    for name, entry in entries.items():
        begin, stop = entry.data_offsets
        if stop - begin != math.prod(entry.shape) * _BITS[entry.dtype] // 8:
            raise _damaged(file, f"{name} would have the shape {list(entry.shape)} and {stop - begin:,} bytes")
        end = max(end, stop)
    if 8 + length + end != size:
        raise _damaged(file, f"its header speaks of {8 + length + end:,} bytes, the file has {size:,}")


def _damaged(file: Path, why: str) -> DamagedData:
    return DamagedData(
        "the weights file cannot be read",
        file=file,
        why=f"it is cut short, damaged, or no safetensors file: {why}",
        fix=_FIX,
    )


def as_numpy(tensor: Tensor) -> Any:
    """A tensor as a NumPy array of the same shape, in float64: NumPy has no bfloat16."""
    return tensor.double().numpy()
