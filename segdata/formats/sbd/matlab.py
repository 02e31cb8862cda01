"""MATLAB's files of level 5: one structure read and written with SciPy, after its elements were looked through.

    128 bytes    text, version and "IM" (little-endian) or "MI"
    elements     8 bytes (kind, size) and the content; in files since version 7 each is compressed

SciPy trusts sizes and makes whatever objects a file holds. So elements are unpacked here, up to a limit, and must be plain
arrays, cells, structures, texts and sparse matrices that are as large as they say.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.errors import InvalidAnnotation, UsageError

_HEADER = 128
_TEXT = b"MATLAB 5.0 MAT-file, written by segdata".ljust(116)
"""What files begin with, where SciPy would write the time."""

_MOST = 1 << 28
"""Bytes of a file's elements, unpacked."""

_DEPTH = 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _SPARSE = 1, 2, 5
_PLAIN = (4, *range(6, 16))
"""Classes of texts and arrays of numbers."""

_FIX = "restore the original file"


def scipy_io() -> ModuleType:
    """The module `scipy.io`.

    Raises:
        UsageError: SciPy is not installed.
    """
    try:
        import scipy.io
    except ImportError as error:
        raise UsageError("MATLAB files need SciPy, which is not installed", fix="pip install 'segdata[sbd]'") from error
    module: ModuleType = scipy.io
    return module


def read(data: bytes, name: str) -> dict[str, Any]:
    """The fields of the structure that a file holds under a name: arrays as MATLAB has them, cells, sparse matrices.

    Raises:
        InvalidAnnotation: no file of level 5, damaged, too large, with other things than data, or without the structure.
        UsageError: SciPy is not installed.
    """
    scipy = scipy_io()
    plain = _unpacked(data)
    try:
        value = scipy.loadmat(io.BytesIO(plain), mat_dtype=True)[name]
        fields = {field: value[0, 0][field] for field in value.dtype.names}
        for item in fields.values():
            for part in item.ravel() if isinstance(item, np.ndarray) and item.dtype == object else [item]:
                if not isinstance(part, np.ndarray):
                    part.check_format(full_check=True)
    except Exception as error:  # whatever SciPy raises for what is damaged
        raise InvalidAnnotation(
            f"a MATLAB file holds no structure {name}", why=f"{type(error).__name__}: {error}"[:200], fix=_FIX
        ) from error
    return fields


def write(name: str, fields: Mapping[str, Any]) -> bytes:
    """A file with one structure, compressed; equal structures are equal bytes."""
    value = np.empty((1, 1), [(field, object) for field in fields])
    for field, item in fields.items():
        value[field][0, 0] = item
    buffer = io.BytesIO()
    scipy_io().savemat(buffer, {name: value}, do_compression=True)
    return _TEXT + buffer.getvalue()[len(_TEXT) :]


def cells(items: list[Any]) -> npt.NDArray[Any]:
    """A column of cells."""
    column = np.empty((len(items), 1), object)
    for number, item in enumerate(items):
        column[number, 0] = item
    return column


def sparse(mask: npt.NDArray[np.bool_]) -> Any:
    """A mask as a sparse logical matrix."""
    from scipy.sparse import csc_matrix

    return csc_matrix(mask)


# ---------------------------------------------------------------------- looked through


def _unpacked(data: bytes) -> bytes:
    """A file with its elements unpacked; all of them are data of the sizes that they state.

    Raises:
        InvalidAnnotation: see `read`.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if len(data) < _HEADER or order is None:
        raise InvalidAnnotation(
            "this is no MATLAB file of level 5", why=f"it begins with {data[:20]!r}", fix="save it with -v7"
        )
    parts, left, at = [data[:_HEADER]], _MOST, _HEADER
    try:
        while at < len(data):
            kind, size = struct.unpack_from(f"{order}II", data, at)
            element = data[at : at + 8 + size]
            if len(element) < 8 + size:
                raise ValueError("it is cut short")
            at += 8 + size
            if kind == _COMPRESSED:
                element = zlib.decompressobj().decompress(element[8:], left + 1)
            left -= len(element)
            if left < 0:
                raise ValueError(f"it holds more than {_MOST >> 20} MiB")
            _look_through(memoryview(element), order)
            parts.append(element)
    except (ValueError, struct.error, zlib.error) as error:
        raise InvalidAnnotation("a MATLAB file is damaged", why=str(error)[:200], fix=_FIX) from error
    return b"".join(parts)


def _look_through(view: memoryview, order: str, depth: int = 0) -> None:
    """Raise where an element is not plain data, or smaller than it says."""
    kind, content, _ = _element(view, order)
    if kind != _MATRIX or not content:
        return
    if depth == _DEPTH:
        raise ValueError(f"more than {_DEPTH} levels")
    _, flags, at = _element(content, order)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 255
    _, shape, size = _element(content[at:], order)
    at += size
    count = 1
    for number in struct.unpack_from(f"{order}{len(shape) // 4}i", shape):
        if number < 0:
            raise ValueError(f"an array of {number} rows or columns")
        count *= number
    at += _element(content[at:], order)[2]  # the name
    rest = content[at:]
    if kind == _SPARSE:
        count = struct.unpack_from(f"{order}{len(shape) // 4}i", shape)[-1]
    elif kind == _STRUCT:
        _, width, size = _element(rest, order)
        _, names, more = _element(rest[size:], order)
        rest = rest[size + more :]
        count *= len(names) // max(struct.unpack_from(f"{order}i", width)[0], 1)
    elif kind not in (_CELL, *_PLAIN):
        raise ValueError(f"it holds an object of class {kind}, not data")
    if count > len(rest) // (8 if kind in (_CELL, _STRUCT) else 1):
        raise ValueError(f"an array of {count:,} items has {len(rest):,} bytes")
    for _ in range(count if kind in (_CELL, _STRUCT) else 0):
        size = _element(rest, order)[2]
        _look_through(rest, order, depth + 1)
        rest = rest[size:]


def _element(view: memoryview, order: str) -> tuple[int, memoryview, int]:
    """Kind and content of the first element, and its bytes with what fills it up to eight."""
    kind, size = struct.unpack_from(f"{order}II", view)
    if kind >> 16:
        return kind & 0xFFFF, view[4 : 4 + min(kind >> 16, 4)], 8
    content = view[8 : 8 + size]
    if len(content) < size:
        raise ValueError("an element is larger than what holds it")
    return kind, content, 8 + -(-size // 8) * 8
